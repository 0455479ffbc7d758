"""One rule for names, and nothing made from a text that is none: no path, no command, no page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from regen import blocks, params, paths, trained
from regen.errors import UserError
from regen.tracking import state
from tests.hostile.names import HOSTILE, RIGHT

ROOT = Path(__file__).parents[2]
TOP = {"seed": 0, "precision": "auto", "threads": 2, "checkpoint_seconds": 20, "launcher": "python", "datasets": {}, "models": {}}
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
OF_A_NAME = [paths.raw, paths.prepared, paths.model, paths.metrics, paths.figures, paths.study, paths.training]


def written(folder: Path, **changes: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({**TOP, **changes}, sort_keys=False))
    return path


def refused(path: Path) -> list[str]:
    with pytest.raises(UserError) as error:
        params.read(path)
    return str(error.value).removeprefix(f"{path}: ").split(f"\n{path}: ")


@pytest.mark.parametrize("name", RIGHT)
def test_a_name_is_letters_digits_and_underscores(name):
    assert blocks.is_name(name)


@pytest.mark.parametrize("name", [*HOSTILE, None, True, 1, 1.0, b"a", ["a"]], ids=lambda name: ascii(name)[:30])
def test_no_other_text_is_a_name_and_no_path_is_made_of_it(name):
    for path in (*OF_A_NAME, lambda name: paths.code("train", name)) if name else OF_A_NAME:
        with pytest.raises(UserError) as error:
            path(name)
        assert str(error.value).isprintable()  # one line, and no escape sequence reaches the terminal
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("group", params.GROUPS)
@pytest.mark.parametrize(
    "name", ["x; touch pwned", "../../precious", "", "-h", "my letters", "letters_v0.5", "x" * 300, 1, None, True]
)
def test_a_wrong_name_in_params_yaml_is_one_clear_line(tmp_path, group, name):
    (line,) = refused(written(tmp_path, **{group: {name: {}}}))
    assert "expected a" in line
    assert line.isprintable()
    if isinstance(name, str):
        assert line == f"{group}: expected {blocks.RULE}, got {blocks.shown(name)}"


@pytest.mark.parametrize("group", params.GROUPS)
@pytest.mark.parametrize("content", [["a"], "a", None, 1, {"a": ["b"]}, {"a": None}])
def test_a_group_that_is_no_block_of_blocks_is_refused(tmp_path, group, content):
    assert all(line.startswith(group) and "valid dictionary" in line for line in refused(written(tmp_path, **{group: content})))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"datasets": {"a": {}}, "encodings": {"a": {}}},
            "encodings.a: has the name of datasets.a, and both would",
        ),
        ({"datasets": {"a": {}}, "queries": {"a": {}}}, "queries.a: has the name of datasets.a, and both would be one folder"),
        ({"datasets": {"a": {}, "A": {}}}, "datasets.A: differs in capitals alone from datasets.a, and both would"),
        ({"queries": {"aB": {}}, "encodings": {"Ab": {}}}, "encodings.Ab: differs in capitals alone from queries.aB"),
        ({"models": {"none": {}}}, "models.none: has the name of none, which stands for no classifier"),
        ({"models": {"None": {}}}, "models.None: differs in capitals alone from none, which stands for no classifier"),
        ({"studies": {"a": {}, "A": {}}}, "studies.A: differs in capitals alone from studies.a"),
    ],
)
def test_two_names_that_would_be_one_folder_are_refused(tmp_path, changes, line):
    (said,) = refused(written(tmp_path, **changes))
    assert said.startswith(line)


def test_a_model_may_have_the_name_of_a_data_set(tmp_path):
    same = {"a": {}}
    assert params.read(written(tmp_path, datasets=same, models=same, studies=same)).models == same


def test_no_command_of_the_pipeline_holds_a_text_of_params_yaml():
    commands = {name: stage.get("do", stage)["cmd"] for name, stage in PIPELINE.items()}
    assert {name: command for name, command in commands.items() if "$" in command} == {}


def test_every_stage_waits_for_the_check():
    checked = str(paths.CHECKED)
    assert [name for name, stage in PIPELINE.items() if checked not in stage.get("do", stage)["deps"]] == ["check"]


@pytest.mark.parametrize(
    ("script", "stage", "key"),
    [
        ("train", "train@a", "a"),
        ("train", "../dvc.yaml:train@a", "a"),
        ("train", "evaluate@a", None),
        ("train", "train", None),
        ("train", "", None),
        ("train", "train@b@a", None),
        ("train", "train@../a", None),
        ("train", "train@-h", None),
        ("train", "train@b", None),
    ],
)
def test_a_script_takes_its_key_from_dvc_s_stage(tmp_path, monkeypatch, script, stage, key):
    written(tmp_path, models={"a": {}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", stage)
    monkeypatch.setattr(sys, "argv", [f"stages/{script}.py"])
    if key:
        assert params.chosen("models", None)[0] == key
    else:
        with pytest.raises(UserError):
            params.chosen("models", None)


@pytest.mark.parametrize(
    "launcher",
    [
        "torchrun --no-python rm", "torchrun --no-python /bin/rm", "torchrun -m antigravity", "torchrun --module pickle",
        "torchrun --log-dir ../../x", "torchrun other.py", "torchrun --nproc_per_node 4 other.py",
        "torchrun --nproc_per_node --no-python", "torchrun --nproc_per_node=$(id)", "torchrun --nproc_per_node 4\n",
        "torchrun\t--standalone", "torchrun --rdzv_id 'a b'", "Torchrun", "python -c \"1\" && touch pwned #",
        "python stages/train.py", "python ", " python", "torchrun" + " --standalone" * 100, None, ["python"], "/tmp/torchrun",
        "torchrun --nproc_per_node \u0664",
    ],
)  # fmt: skip
def test_a_launcher_that_could_start_something_else_is_refused(tmp_path, launcher):
    (line,) = refused(written(tmp_path, launcher=launcher))
    assert line.startswith("launcher: expected ")


@pytest.mark.parametrize(
    "launcher",
    [
        "python", "torchrun --nproc_per_node 4", "torchrun --standalone --nproc-per-node=2",
        "torchrun --nnodes 2 --node_rank 1 --rdzv_id 7 --rdzv-backend c10d --rdzv-endpoint gpu-1.local:29400",
    ],
)  # fmt: skip
def test_a_launcher_is_a_program_and_its_arguments(tmp_path, launcher):
    start = params.read(written(tmp_path, launcher=launcher)).start
    assert start[0] == sys.executable
    assert start[1:] == ([] if launcher == "python" else ["-m", "torch.distributed.run", *launcher.split()[1:]])


@pytest.mark.parametrize("signature", ["../../x", "/tmp/x", "", "a' or '1'='1", 7, None, ["a"], "x" * 65])
def test_a_model_of_somebody_else_s_leads_the_mirror_nowhere(tmp_path, monkeypatch, signature):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/a").mkdir(parents=True)
    (tmp_path / "models/a/model.json").write_text(json.dumps({"config": {"dataset": "mnist"}, "signature": signature}))
    assert state.restored("a") == {}


@pytest.mark.parametrize("name", ["..x", "x" * 300, "x" * 100_000, "a/b", "a b", "nul\0"])
def test_a_model_that_is_asked_for_by_what_is_no_name_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="models: expected a name"):
        trained.load(name)
