"""`regen figures`, `changes`, `best`, `verify`, `sample`, `check` and `machine`, in a repository with one experiment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from regen import families
from regen.commands import compare, machine, text
from regen.params import Params
from regen.training.distributed import Devices
from tests.conftest import build, shell

ROOT = Path(__file__).parents[2]
PARAMS = """seed: 0
precision: auto
threads: 1
checkpoint_seconds: 1
launcher: python
datasets: {}
models:
  a_vae: {beta: 1.0}
  b_vae: {beta: 1.0}
"""
PIPELINE = """stages:
  evaluate:
    foreach: ${models}
    do:
      cmd: python measure.py ${key}
      params: [seed, "models.${key}"]
      metrics: [{"metrics/${key}.json": {cache: false}}]
      outs: [{"metrics/context/${key}.json": {cache: false}}]
"""
MEASURE = """import json, os, sys, yaml
key = sys.argv[1]
beta = yaml.safe_load(open("params.yaml"))["models"][key]["beta"]
os.makedirs("metrics/context", exist_ok=True)
json.dump({"mse": 2 * beta, "frechet_distance": 10 / beta, "rate": 5.0}, open(f"metrics/{key}.json", "w"))
beside = {"mse": {"error": 0.1, "baseline": 3.0}, "frechet_distance": {"real": 1.0}, "rate": {}}
json.dump(beside, open(f"metrics/context/{key}.json", "w"))
"""


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A small repository whose figures are committed, with the finished experiment `four` (models.a_vae.beta=4)."""
    folder = tmp_path_factory.mktemp("repository") / "toy"
    folder.mkdir()
    for name, content in {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "measure.py": MEASURE}.items():
        (folder / name).write_text(content)
    shell(folder, "git init -q && dvc init -q && dvc repro -q && git add -A && git commit -qm run")
    shell(folder, "dvc exp run -q -n four -S models.a_vae.beta=4 && git checkout -q . && dvc checkout -q")
    return folder


def measure(key, **figures):
    """Overwrite one model's figures: `name=(value, error)`."""
    Path(f"metrics/{key}.json").write_text(json.dumps({name: value for name, (value, _) in figures.items()}))
    Path(f"metrics/context/{key}.json").write_text(json.dumps({name: {"error": error} for name, (_, error) in figures.items()}))


def test_figures_stand_beside_those_of_head_and_of_experiments(repository, command):
    said, code = command("figures", "a_vae")
    assert code == 0
    assert [line.split() for line in said.splitlines()] == [
        ["a_vae", "workspace", "HEAD", "four", "held", "against"],
        ["frechet_distance", "10", "10", "2.5", "real", "1", "lower", "is", "better"],
        ["mse", "2", "±", "0.1", "2", "±", "0.1", "8", "±", "0.1", "baseline", "3", "lower", "is", "better"],
        ["rate", "5", "5", "5"],
    ]
    assert "four" not in command("figures", "a_vae", "--last", "0")[0]


def test_what_changed_between_an_experiment_and_head_is_said_with_what_is_better(repository, command):
    said, code = command("changes", "HEAD", "four")
    assert code == 0
    assert [line.split() for line in said.splitlines()[1:]] == [
        ["models.a_vae.beta", "1.0", "->", "4"],
        ["a_vae.frechet_distance", "10", "->", "2.5", "better", "(lower", "is", "better)"],
        ["a_vae.mse", "2", "±", "0.1", "->", "8", "±", "0.1", "worse", "(lower", "is", "better)"],
    ]


def test_a_distance_that_does_not_count_is_marked_wherever_it_stands(repository, command):
    Path("metrics/a_vae.json").write_text(json.dumps({"frechet_distance": 5.0, "near_copies": 0.9}))
    context = {"frechet_distance": {"real": 1.0}, "near_copies": {"error": 0.1, "real": 0.05}}
    Path("metrics/context/a_vae.json").write_text(json.dumps(context))
    row = command("figures", "a_vae")[0].splitlines()[1]
    assert re.split("  +", row) == ["frechet_distance", "5, does not count", "10", "2.5", "real 1", "lower is better"]
    row = command("changes")[0].splitlines()[1]
    assert re.split("  +", row) == ["a_vae.frechet_distance", "10", "->", "5, does not count", "better (lower is better)"]
    ranked = command("best", "frechet_distance", "--model", "a_vae")[0].splitlines()
    assert [line.split()[0] for line in ranked if line.endswith("5, does not count")] == ["workspace"]


def test_by_default_the_workspace_is_compared_with_head(repository, command):
    assert command("changes") == ("nothing changed in params and figures between HEAD and workspace\n", 0)
    Path("params.yaml").write_text(PARAMS.replace("b_vae: {beta: 1.0}", "b_vae: {beta: 1.0, latent_dim: 2}"))
    measure("b_vae", mse=(2.05, 0.1), elbo=(1.0, 0.1))
    assert [line.split() for line in command("changes")[0].splitlines()[1:]] == [
        ["models.b_vae.latent_dim", "-", "->", "2"],
        ["b_vae.elbo", "-", "->", "1", "±", "0.1", "new"],
        ["b_vae.frechet_distance", "10", "->", "-", "gone"],
        ["b_vae.mse", "2", "±", "0.1", "->", "2.05", "±", "0.1", "within", "errors"],
        ["b_vae.rate", "5", "->", "-", "gone"],
    ]


def test_the_best_of_a_sweep_comes_first_with_its_params(repository, command):
    said, code = command("best", "frechet_distance", "--model", "a_vae")
    assert code == 0
    assert [line.split() for line in said.splitlines()[1:]] == [["four", "2.5", "models.a_vae.beta=4"], ["HEAD", "10"]]
    assert [line.split()[0] for line in command("best", "mse")[0].split("\n\n")[0].splitlines()[1:]] == ["HEAD", "four"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["figures", "a_va"], "figures: unknown model 'a_va' (did you mean a_vae?)"),
        (["changes", "fou"], "revision: unknown revision 'fou' (did you mean four?)"),
        (["changes", "HEAD~9"], "revision: unknown revision 'HEAD~9'"),
        (["changes", "--", "--all"], "revision: unknown revision '--all'"),
        (["best", "frechet"], "figure: unknown figure 'frechet' (did you mean"),
        (["best", "rate"], "rate: neither more nor less of it is better; `regen figures MODEL` shows it"),
        (["best", "ssim"], "ssim: no figure of that name in metrics/"),
        (["best", "mse", "--model", "c"], "figures: unknown model 'c' (there is: a_vae, b_vae)"),
        (["sample", "a_vae"], "models/a_vae: no such model"),
        (["sample", "a_vae", "--out", "a.jpg"], "--out a.jpg: expected a name that ends in .png"),
        (
            ["sample", "a_vae", "--n", "0"],
            "Invalid value for '--n': 0 is not in the range 1<=x<=10000; see",
        ),
        (["check"], "params.yaml: models.a_vae.family: missing"),
        (["machine"], "benchmarks/times.json: no such file"),
        (["figurs"], "No such command 'figurs' (did you mean figures?); see `regen --help`"),
        (["figures"], "Missing argument 'MODEL'; see `regen figures --help`"),
        (["best", "mse", "--modl", "a"], "No such option"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_1(repository, command, arguments, said):
    told, code = command(*arguments)
    assert code == 1
    lines = told.splitlines()
    assert lines[0].startswith(f"error: {said}")
    assert all(line.startswith("error: ") for line in lines)
    assert len(lines) == (4 if arguments == ["check"] else 1)


@pytest.mark.parametrize(
    "arguments", [["figures", "a"], ["changes"], ["best", "mse"], ["verify"], ["check"], ["sync"], ["machine"]]
)
def test_outside_a_repository_that_is_said(tmp_path, monkeypatch, arguments, command):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == (
        f"error: {tmp_path}: not a regen repository (no params.yaml and dvc.yaml); run in the root of one\n",
        1,
    )


def test_in_a_folder_of_a_repository_its_root_is_named(repository, monkeypatch, command):
    monkeypatch.chdir(repository / "metrics")
    assert command("verify") == (f"error: {repository}/metrics: not the root of the repository; run: cd {repository}\n", 1)


def test_damaged_figures_are_one_line(repository, command):
    Path("metrics/a_vae.json").write_text("{")
    assert command("figures", "a_vae") == ("error: metrics/a_vae.json: damaged in workspace; restore it with `dvc repro`\n", 1)


def test_before_the_first_commit_there_is_nothing_to_hold_figures_against(tmp_path, monkeypatch, command):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text("{}")
    shell(tmp_path, "git init -q")
    monkeypatch.chdir(tmp_path)
    said, code = command("verify")
    assert (said.startswith("error: revision: unknown revision 'HEAD'"), code) == (True, 1)
    assert command("figures", "a_vae") == ("error: figures: no model has any yet; `dvc repro` measures them\n", 1)


def test_equal_figures_are_verified(repository, command):
    assert command("verify") == ("6 figures equal those of HEAD, 0 agree within their errors, 0 do neither\n", 0)


def test_figures_within_their_errors_are_verified(repository, command):
    measure("a_vae", mse=(2.28, 0.1), frechet_distance=(10.0, 0.0), rate=(5.0, 0.0))  # 2 sqrt(0.1^2 + 0.1^2) = 0.283
    assert command("verify") == ("5 figures equal those of HEAD, 1 agree within their errors, 0 do neither\n", 0)


def test_other_figures_are_listed_and_fail(repository, command):
    measure("a_vae", mse=(2.29, 0.1), frechet_distance=(10.1, 0.0), extra=(1.0, 0.0))
    said, code = command("verify")
    assert code == 1
    assert said.splitlines() == [
        "metrics/a_vae.json: extra: 1 ± 0 here, - in HEAD",
        "metrics/a_vae.json: frechet_distance: 10.1 ± 0 here, 10 in HEAD",
        "metrics/a_vae.json: mse: 2.29 ± 0.1 here, 2 ± 0.1 in HEAD",
        "metrics/a_vae.json: rate: - here, 5 in HEAD",
        "3 figures equal those of HEAD, 0 agree within their errors, 4 do neither",
        "on another kind of machine than HEAD's a training comes out as with another seed: README.md, Stop and go on",
    ]


def test_a_model_that_was_taken_out_is_gone_whatever_files_it_left(repository, command):
    Path("params.yaml").write_text(PARAMS.replace("  b_vae: {beta: 1.0}\n", ""))
    assert Path("metrics/b_vae.json").exists()
    said, code = command("verify")
    assert code == 0
    assert said.splitlines()[0] == "models.b_vae: not in params.yaml here"
    assert said.splitlines()[-1].startswith("3 figures equal")
    gone = [line.split() for line in command("changes")[0].splitlines() if line.startswith("b_vae.")]
    assert [(line[0], line[-1]) for line in gone] == [(f"b_vae.{name}", "gone") for name in ("frechet_distance", "mse", "rate")]
    assert command("figures", "b_vae")[0].split()[:2] == ["b_vae", "HEAD"]  # not the workspace
    assert "workspace" not in command("best", "mse", "--model", "b_vae")[0]


def test_missing_files_are_one_line_each_and_new_ones_fail_nothing(repository, command):
    Path("metrics/a_vae.json").rename("metrics/c_vae.json")
    with Path("params.yaml").open("a") as file:
        file.write("  c_vae: {beta: 1.0}\n")
    said, code = command("verify")
    assert code == 1
    assert said.splitlines() == [
        "metrics/a_vae.json: missing; `dvc repro evaluate@a_vae` writes it",
        "metrics/c_vae.json: not in HEAD",
        "3 figures equal those of HEAD, 0 agree within their errors, 0 do neither",
    ]
    shutil.copy("metrics/c_vae.json", "metrics/a_vae.json")
    assert command("verify")[1] == 0


def test_figures_of_commits_that_kept_all_in_one_file_are_read(repository, command):
    Path("metrics/a_vae.json").write_text(json.dumps({"mse": {"value": 2.1, "error": 0.1, "limit": 3.0}}))
    Path("metrics/context/a_vae.json").unlink()
    assert command("changes")[0].splitlines()[2].split()[:7] == ["a_vae.mse", "2", "±", "0.1", "->", "2.1", "±"]


@pytest.mark.parametrize(
    ("x", "y", "found"),
    [
        ({"value": 1.0}, {"value": 1.0}, "equal"),
        ({"value": 1.0}, {"value": 1.0 + 1e-9}, "neither"),
        ({"value": 0.0, "error": 3.0}, {"value": 10.0, "error": 4.0}, "within errors"),
        ({"value": 0.0, "error": 3.0}, {"value": 10.1, "error": 4.0}, "neither"),
        ({"value": 0.0}, None, "neither"),
    ],
)
def test_two_standard_errors_of_the_difference_decide(x, y, found):
    assert compare.verdict(x, y) == found


def test_a_picture_of_new_images_is_written_the_same_each_time(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("models/toy_vae").mkdir(parents=True)
    families.save(build("vae"), Path("models/toy_vae"))
    assert command("sample", "toy_vae", "--n", "12", "--out", "a.png") == ("a.png: 12 of toy_vae\n", 0)
    assert command("sample", "models/toy_vae", "--n", "12", "--out", "b.png")[1] == 0
    assert command("sample", "toy_vae", "--n", "12", "--out", "c.png", "--seed", "1")[1] == 0
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert (a == b, a == c) == (True, False)
    assert Image.open("a.png").width > 4 * 64
    assert command("sample", "toi_vae")[0].startswith("error: models/toi_vae: no such model (did you mean toy_vae?)")
    Path("folder").touch()
    assert command("sample", "toy_vae", "--out", "folder/a.png")[0].startswith("error: --out folder/a.png: ")
    families.save(build("autoencoder"), Path("models/toy_vae"))
    assert command("sample", "toy_vae")[0].startswith("error: models/toy_vae: the family autoencoder draws no images")


def test_the_repository_s_own_params_are_ok(monkeypatch, command):
    monkeypatch.chdir(ROOT)
    assert command("check") == ("ok\n", 0)


def given(**changes):
    top = {"seed": 0, "precision": "auto", "threads": 1, "checkpoint_seconds": 1.0, "launcher": "python"}
    return Params(**{**top, "datasets": {}, "models": {}, **changes})


def test_half_the_speed_is_twice_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("benchmarks").mkdir()
    one = {"products": "fp32", "processor": "a processor", "rate": 200.0, "repro_seconds": 2900, "smoke_seconds": 30}
    fast = {**one, "processor": "a fast one", "rate": 500.0}
    Path("benchmarks/times.json").write_text(json.dumps([fast, one, {**one, "products": "bf16", "processor": "another"}]))
    monkeypatch.setattr(machine, "rate", lambda devices: 100.0)
    said = machine.describe(given(precision="fp32"))
    assert "about 97 minutes from nothing" in said
    assert "about 60 seconds" in said
    assert "fp32 (params.yaml: precision: fp32)" in said
    assert "100 images/s of a small network; 200 on a processor" in said
    assert "make smoke takes about 60 seconds" in machine.describe(given(precision="fp32"), "smoke")
    assert "100 images/s of a small network; 200 on another" in machine.describe(given(precision="bf16"))
    assert len(machine.describe(given(), "repro").splitlines()) == 1
    monkeypatch.setattr(machine, "rate", lambda devices: 400.0)  # nearer to 500 than to 200, as ratios go
    assert "about 60 minutes from nothing" in machine.describe(given(precision="fp32"))


def test_the_speed_is_measured_in_one_thread():
    assert machine.rate(Devices("fp32", 1), seconds=0.1) > 0
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"products": "fp32", "processor": "a", "rate": 0, "repro_seconds": 1, "smoke_seconds": 1}]',
        '[{"products": "fp32", "processor": "a", "rate": 1, "repro_seconds": 1}]',
    ],
)
def test_a_damaged_record_of_times_is_one_line(tmp_path, content):
    path = tmp_path / "times.json"
    path.write_text(content)
    with pytest.raises(
        machine.UserError,
        match="expected runs with fp32: products, processor, rate, repro_seconds and smoke_seconds; restore it with",
    ) as error:
        machine.times("fp32", 1.0, path)
    assert "\n" not in str(error.value)


def test_the_repository_records_a_run():
    for products in ("bf16", "fp32"):
        assert machine.times(products, 1.0, ROOT / machine.TIMES)["rate"] > 0


@pytest.mark.parametrize(("seconds", "said"), [(40, "40 seconds"), (1680, "28 minutes"), (12_600, "3.5 hours")])
def test_times_are_rounded_for_people(seconds, said):
    assert text.minutes(seconds) == said


def test_help_imports_no_torch():
    code = "import sys; from regen.cli import main; main(); print({'torch', 'dvc', 'mlflow'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "set()"
    for name in ("answer", "sample", "serve", "check", "sync", "figures", "changes", "compare", "best", "machine", "verify"):
        assert f"\n  {name} " in done.stdout


def test_a_repository_is_found_and_a_sync_begun_without_torch():
    code = "import sys; from regen import cli; from regen.tracking import sync; cli._here(); print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    assert done.stdout == "False\n"


def test_what_somebody_else_wrote_reaches_no_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    text.say("a\x1b]0;owned\x07 ± 1\nb")
    assert capsys.readouterr().out == "a\\x1b]0;owned\\x07 ± 1\nb\n"
