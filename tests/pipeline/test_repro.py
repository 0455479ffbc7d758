"""`dvc repro`: from the downloads to the report, the same bytes each time, and only what a change concerns."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from regen.evaluation import figures
from tests import smoke

pytestmark = pytest.mark.timeout(3600)  # the first test waits for two whole runs


def test_the_run_ends_with_a_page_that_needs_no_network(copy):
    pages = {path: path.read_text() for path in copy.glob("reports/**/index.html")}
    for key in yaml.safe_load((copy / "params.yaml").read_text())["models"]:
        assert sum(f'id="{key}"' in page for page in pages.values()) == 2  # a row of the overview, and on its data set's page
    for path, page in pages.items():
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
        assert all((path.parent / source).is_file() for source in re.findall(r'<img src="([^"]+)"', page))


def test_every_model_has_metrics_pictures_and_a_history(copy):
    for key, block in yaml.safe_load((copy / "params.yaml").read_text())["models"].items():
        metrics = json.loads((copy / f"metrics/{key}.json").read_text())
        assert metrics
        assert all(isinstance(value, int | float) for value in metrics.values())  # numbers alone: DVC reads them as a table
        assert (
            figures.read(copy / f"metrics/{key}.json").keys() == metrics.keys()
        )  # what they are held against stands beside them
        assert list((copy / f"figures/{key}").glob("*.png"))
        history = copy / f"models/{key}/history.csv"
        if not history.exists():  # a closed form without iterations
            assert "epochs" not in block
            continue
        rows = list(csv.DictReader(history.open()))
        assert "epochs" not in block or [row["epoch"] for row in rows] == [str(n + 1) for n in range(len(rows))]


def test_a_study_measures_every_cell(copy):
    rows = list(csv.DictReader((copy / "studies/arithmetic_fractions_as_published/table.csv").open()))
    assert [row["train_fraction"] for row in rows] == ["0.9", "0.1"]
    assert len({row["cross_entropy"] for row in rows}) == 2
    assert 'id="study-arithmetic_fractions_as_published"' in (copy / "reports/arithmetic/index.html").read_text()


def test_a_killed_study_goes_on_with_the_cells_it_was_in_to_the_same_table(copy, tmp_path):
    key = "arithmetic_fractions_as_published"
    command, table = ("python", "stages/study.py", key), copy / f"studies/{key}/table.csv"
    before = (copy / "params.yaml").read_text()
    shutil.copytree(copy / f"studies/{key}", tmp_path / key)
    smoke.apply(copy, f"studies.{key}.fixed.epochs=60", "checkpoint_seconds=0.1")
    try:
        killed = subprocess.Popen(command, cwd=copy, env=smoke.environment(copy), start_new_session=True)
        while not list(copy.glob(".work/studies/*/*/.work/train/*/*/checkpoint.safetensors")):
            assert killed.poll() is None
            time.sleep(0.02)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        again, told = subprocess.Popen(command, cwd=copy, env=smoke.environment(copy)), ""
        while again.poll() is None:
            told += "".join(log.read_text() for log in copy.glob(".work/studies/*/*/cell.log"))
            time.sleep(0.1)
        assert again.returncode == 0
        assert "resumes at step" in told
        resumed = table.read_bytes()
        shutil.rmtree(table.parent)
        smoke.run(copy, *command)
        assert table.read_bytes() == resumed
    finally:
        (copy / "params.yaml").write_text(before)
        shutil.rmtree(table.parent, ignore_errors=True)
        shutil.copytree(tmp_path / key, table.parent)


def test_a_second_run_reruns_nothing(copy):
    assert "Running stage" not in smoke.run(copy, "dvc", "repro").stdout


def test_another_run_from_nothing_writes_the_same_bytes(copies):
    first, second = (yaml.safe_load((folder / "dvc.lock").read_text()) for folder in copies)
    assert first == second
    assert (
        smoke.run(copies[0], "git", "rev-parse", "HEAD^{tree}").stdout
        == smoke.run(copies[1], "git", "rev-parse", "HEAD^{tree}").stdout
    )


def test_a_forced_run_of_a_model_writes_the_same_bytes(copy):
    smoke.run(copy, "dvc", "repro", "--force", "--single-item", "train@punks_vae", "evaluate@punks_vae", MLFLOW_TRACKING_URI="")
    assert smoke.run(copy, "git", "status", "--porcelain").stdout == ""


def reruns(folder, *change):
    """Stages that a change of params.yaml concerns; what hangs on their outs, a dry run cannot foresee."""
    before = (folder / "params.yaml").read_text()
    smoke.apply(folder, *change)
    try:
        planned = smoke.run(folder, "dvc", "repro", "--dry").stdout
    finally:
        (folder / "params.yaml").write_text(before)
    return set(re.findall(r"Running stage '([^']+)'", planned))


def test_a_changed_model_reruns_that_model_alone(copy):
    assert reruns(copy, "models.punks_vae.beta=4") == {"check", "train@punks_vae", "report"}


def test_changed_code_of_a_family_reruns_its_models_alone(copy):
    source = copy / "src/regen/models/gan.py"
    before = source.read_text()
    try:
        for change, planned in (
            ("# a comment", {"check"}),
            ("UNUSED = 1", {"check", "train@punks_gan", "evaluate@punks_gan", "export@punks_gan"}),
        ):
            source.write_text(f"{before}\n{change}\n")
            smoke.run(copy, "python", "stages/check.py")  # writes down which code each stage runs; a dry run can't
            assert set(re.findall(r"Running stage '([^']+)'", smoke.run(copy, "dvc", "repro", "--dry").stdout)) == planned
    finally:
        source.write_text(before)
        smoke.run(copy, "python", "stages/check.py")


def test_a_changed_data_set_reruns_its_models_alone(copy):
    planned = reruns(copy, "datasets.mnist.examples=1024")
    assert planned == {"check", "download@mnist", "prepare@mnist", "report"}


def test_how_often_checkpoints_are_written_reruns_no_training(copy):
    assert reruns(copy, "checkpoint_seconds=5") == {"check"}


def test_the_checked_params_stop_a_wrong_experiment_before_any_work(copy):
    before = (copy / "params.yaml").read_text()
    smoke.apply(copy, "models.punks_vae.beta=-4", "models.punks_gan.channels=[]")
    try:
        done = smoke.run(copy, "dvc", "repro", check=False)
    finally:
        (copy / "params.yaml").write_text(before)
    assert done.returncode != 0
    assert "error: params.yaml: models.punks_vae.beta: expected greater than or equal to 0, got -4" in done.stdout
    assert "error: params.yaml: models.punks_gan.channels" in done.stdout
    assert "Traceback" not in done.stdout
    assert re.findall(r"Running stage '([^']+)'", done.stdout) == ["check"]


def test_the_library_samples_from_a_trained_model(copy):
    code = "import regen; x = regen.load('models/punks_vae').sample(5); print(*x.shape, bool(0 <= x.min() <= x.max() <= 1))"
    assert smoke.run(copy, "python", "-c", code).stdout.split("\n")[0] == "5 3 64 64 True"


@pytest.mark.parametrize("damage", ["cut", "altered", "missing"])
def test_a_damaged_model_is_one_clear_line(copy, damage, tmp_path):
    from regen import families
    from regen.errors import UserError

    folder = tmp_path / "punks_vae"
    shutil.copytree(copy / "models/punks_vae", folder)
    weights = folder / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    else:
        content = weights.read_bytes()
        weights.write_bytes(content[:-100] if damage == "cut" else b"x" * 64 + content[64:])
    with pytest.raises(UserError, match="punks_vae") as error:
        families.load(folder)
    assert "\n" not in str(error.value)


def test_the_stages_need_neither_dvc_nor_mlflow(copy, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('dvc', 'mlflow'):\n    sys.modules[name] = None  # any import of it fails\n"
    )
    path = f"{tmp_path}:{copy / 'src'}"
    for command in (["stages/check.py"], ["stages/train.py", "punks_autoencoder"], ["stages/evaluate.py", "punks_autoencoder"]):
        done = smoke.run(copy, "python", *command, check=False, PYTHONPATH=path)
        assert done.returncode == 0, done.stdout
    assert smoke.run(copy, "git", "status", "--porcelain").stdout == ""


def test_two_processes_train_to_the_same_loss(copy, tmp_path):
    losses, signatures = {}, set()
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        for name in ("params.yaml", "stages", "src"):
            (folder / name).symlink_to(copy / name)
        (folder / "data").symlink_to(copy / "data")
        launcher = ["torchrun", "--standalone", "--nproc_per_node", "2"] if processes == 2 else ["python"]
        done = smoke.run(folder, *launcher, "stages/train.py", "punks_autoencoder", check=False, MLFLOW_TRACKING_URI="")
        assert done.returncode == 0, done.stdout
        rows = list(csv.DictReader((folder / "models/punks_autoencoder/history.csv").open()))
        losses[processes] = float(rows[-1]["loss"])
        signatures.add(json.loads((folder / "models/punks_autoencoder/model.json").read_text())["signature"])
    assert len(signatures) == 2  # of which the number of processes is a part
    # Batch normalisation sees half a batch in each process, and bf16 sums are rounded in another order: 1 %.
    assert losses[2] == pytest.approx(losses[1], rel=0.01)
