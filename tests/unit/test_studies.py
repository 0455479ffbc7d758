"""Studies: which cells there are, which of them run, and what the table says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from regen.blocks import StudyConfig
from regen.data import arrays
from regen.errors import UserError
from regen.params import Params
from regen.studies import cell, cells, executors
from tests.conftest import block, toy_images

MODEL = {"dataset": "toy", "family": "vae", "epochs": 3}


def given(**vary):
    block = {"model": "toy_vae", "vary": vary, "show": ["mse"]}
    return Params(
        seed=0, precision="fp32", threads=1, checkpoint_seconds=1.0, launcher="python",
        datasets={}, models={"toy_vae": MODEL}, studies={"toy": block},
    )  # fmt: skip


def run(params):
    return cells.run("toy", StudyConfig(**params.studies["toy"]), params)


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A workspace with a trained toy_vae; cells note what they do, and measure epochs + seed."""
    monkeypatch.chdir(tmp_path)
    publish(Path(), 3)
    prepared("abc")
    Path("models/none").write_text("no classifier\n")
    done: list[tuple[str, str]] = []

    def start(cell_, signature):
        if not cell.trained(cell_.work, signature):
            done.append((cell_.name, "train"))
            (cell_.work / cell.TRAINED).write_text(signature)
        done.append((cell_.name, "evaluate"))
        publish(cell_.work, cell_.block["epochs"] + cell_.params.seed)

    monkeypatch.setattr(cells, "_start", start)
    return done


def prepared(sha256, **more):
    Path("data/prepared/toy").mkdir(parents=True, exist_ok=True)
    content = {"splits": {}, "shape": [3, 16, 16], "sha256": {"train.npy": sha256}, **more}
    Path("data/prepared/toy/statistics.json").write_text(json.dumps(content))


def publish(folder, mse):
    for path in ("models/toy_vae", "metrics/context", "figures/toy_vae"):
        (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "models/toy_vae/model.json").write_text('{"signature": "abc"}')
    (folder / "metrics/toy_vae.json").write_text(json.dumps({"mse": mse}))
    (folder / "metrics/context/toy_vae.json").write_text(json.dumps({"mse": {"bound": 1.0}}))


def test_the_nth_cell_takes_the_nth_value_of_every_list():
    params = given(epochs=[1, 2], seed=[5, 6])
    found = cells.cells("toy", StudyConfig(**params.studies["toy"]), params)
    assert [(cell.block["epochs"], cell.params.seed) for cell in found] == [(1, 5), (2, 6)]
    assert [cell.name for cell in found] == ["epochs=1,seed=5", "epochs=2,seed=6"]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"epochs": [1, 2], "seed": [5]}, "expected lists of one length, a value for each cell; epochs has 2, seed has 1"),
        ({"epochs": []}, "epochs has 0"),
        ({"epochs": [1, 1]}, "the same cell stands there twice"),
        ({"dataset": ["other"]}, "studies.toy: dataset: a study keeps its model's dataset, family, classifier; add a block"),
    ],
)
def test_lists_that_make_no_cells_are_refused(vary, message):
    params = given(**vary)
    with pytest.raises(UserError, match=message):
        cells.cells("toy", StudyConfig(**params.studies["toy"]), params)


@pytest.mark.parametrize(
    "value",
    ["../../etc", "..", "a/b", "x" * 400, "\u00e4" * 200, list(range(100)), "new\nline", "nul\0", "C:\\x", {"a": 1}, "\ud800"],
)
def test_a_cell_s_name_is_a_folder_s_in_its_place_whatever_the_value(value, tmp_path):
    params = given(channels=[value])
    (found,) = cells.cells("toy", StudyConfig(**params.studies["toy"]), params)
    folder = tmp_path / found.name
    (tmp_path / f".{found.name}.part").mkdir()  # as it is written
    folder.mkdir()
    assert folder.resolve().parent == tmp_path
    assert not found.name.startswith(".")


def test_values_that_need_other_names_keep_them_apart():
    names = [cells.Cell("toy", "toy_vae", {"x": value}, given()).name for value in ("a/b", "a_b", "a b", "x" * 300, "x" * 301)]
    assert len(set(names)) == 5
    assert names[1] == "x=a_b"
    assert cells.Cell("toy", "toy_vae", {"channels": [8, 16]}, given()).name == "channels=[8,16]"


def test_a_cell_that_is_the_model_itself_is_not_run_again(workshop):
    assert run(given(epochs=[3])) == [{"values": {"epochs": 3}, "metrics": {"mse": {"value": 3, "bound": 1.0}}}]
    assert workshop == []


def test_a_changed_cell_runs_alone(workshop):
    run(given(epochs=[1, 2]))
    assert sorted(workshop) == [("epochs=1", "evaluate"), ("epochs=1", "train"), ("epochs=2", "evaluate"), ("epochs=2", "train")]
    workshop.clear()
    rows = run(given(epochs=[1, 7]))
    assert workshop == [("epochs=7", "train"), ("epochs=7", "evaluate")]
    assert [row["metrics"]["mse"]["value"] for row in rows] == [1, 7]
    assert sorted(path.name for path in Path("studies/toy").iterdir()) == ["epochs=1", "epochs=7"]
    assert not Path(".work/studies/toy").exists()


def test_other_data_rerun_every_cell(workshop):
    run(given(epochs=[1]))
    workshop.clear()
    prepared("other")
    run(given(epochs=[1]))
    assert workshop == [("epochs=1", "train"), ("epochs=1", "evaluate")]


def test_other_settings_of_the_same_arrays_rerun_every_cell(workshop):
    prepared("abc", sampler="by_pixel")
    run(given(epochs=[1]))
    workshop.clear()
    prepared("abc", sampler="equal")
    run(given(epochs=[1]))
    assert workshop == [("epochs=1", "train"), ("epochs=1", "evaluate")]


def test_another_decoder_of_the_data_evaluates_again(workshop):
    run(given(epochs=[1]))
    workshop.clear()
    Path("data/prepared/toy/decoder").mkdir()
    Path("data/prepared/toy/decoder/model.json").write_text('{"sha256": "other"}')
    run(given(epochs=[1]))
    assert workshop == [("epochs=1", "evaluate")]


def test_what_regen_did_not_write_stays_and_is_named(workshop):
    for place in ("studies/toy/notes.md", "studies/toy/epochs=1/mine.txt"):
        Path(place).parent.mkdir(parents=True)
        Path(place).write_text("gold")
        with pytest.raises(UserError, match=r"studies/toy/(notes.md|epochs=1): regen did not write it"):
            run(given(epochs=[1]))
        assert Path(place).read_text() == "gold"
        shutil.rmtree("studies")
    assert workshop == []


def test_a_kill_while_an_unwanted_cell_is_removed_leaves_nothing_in_the_way(workshop, monkeypatch):
    run(given(epochs=[1, 2]))

    def killed(path):
        next(Path(path).glob("*.json")).unlink()  # half of it is gone
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(cells.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            run(given(epochs=[1]))
    run(given(epochs=[1]))
    assert [path.name for path in Path("studies/toy").iterdir() if path.is_dir()] == ["epochs=1"]


def test_a_link_in_a_study_s_folder_is_not_followed(workshop, tmp_path):
    Path("precious").mkdir()
    Path("precious/cell.json").write_text("{}")
    Path("studies/toy").mkdir(parents=True)
    Path("studies/toy/old").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="regen did not write it"):
        run(given(epochs=[1]))
    assert Path("precious/cell.json").exists()


@pytest.mark.parametrize("name", ["..", "../src", ".", "", "/tmp", "a/../../b"])
def test_a_study_removes_nothing_where_its_name_leads_out_of_its_folder(workshop, name, tmp_path):
    Path("studies").mkdir()
    before = set(tmp_path.rglob("*"))
    params = given(epochs=[1])
    with pytest.raises(UserError, match=r"studies: expected a name: letters, digits and _"):
        cells.run(name, StudyConfig(**params.studies["toy"]), params)
    assert set(tmp_path.rglob("*")) == before


def test_a_damaged_note_runs_the_cell_again(workshop):
    run(given(epochs=[1]))
    workshop.clear()
    Path("studies/toy/epochs=1/cell.json").write_text('{"trai')
    run(given(epochs=[1]))
    assert workshop == [("epochs=1", "train"), ("epochs=1", "evaluate")]


@pytest.mark.parametrize(
    ("module", "again"),
    [
        (cells.training, ["train", "evaluate"]),
        (cells.evaluation, ["evaluate"]),
    ],
)
def test_changed_code_reruns_what_it_does(workshop, monkeypatch, module, again):
    run(given(epochs=[1]))
    workshop.clear()
    monkeypatch.setattr(module, "code", lambda *arguments: ["regen.report.page"])  # as if it imported something else
    run(given(epochs=[1]))
    assert workshop == [("epochs=1", step) for step in again]


def test_another_classifier_evaluates_again_and_trains_no_more(workshop):
    params = given(epochs=[1])
    params = params.model_copy(update={"models": {"toy_vae": {**MODEL, "classifier": "reader"}}})
    Path("models/reader").mkdir()
    for weights, again in (("first", ["train", "evaluate"]), ("first", []), ("second", ["evaluate"])):
        workshop.clear()
        description = {"signature": "same", "sha256": weights, "config": {"family": "classifier"}}
        Path("models/reader/model.json").write_text(json.dumps(description))
        run(params)
        assert workshop == [("epochs=1", step) for step in again]


def test_another_number_of_processes_trains_again(workshop):
    run(given(epochs=[1]))
    workshop.clear()
    run(given(epochs=[1]).model_copy(update={"launcher": "torchrun --nproc_per_node 2"}))
    assert workshop == [("epochs=1", "train"), ("epochs=1", "evaluate")]


def test_no_cell_is_begun_after_ctrl_c(workshop, monkeypatch):
    def stopped(cell, signature):
        workshop.append((cell.name, signature))
        time.sleep(0.3 * (len(workshop) - 1))  # the study hears of the first one while the second runs
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "_start", stopped)
    monkeypatch.setattr(executors, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        run(given(epochs=[1, 2, 4, 5, 6]))
    assert len(workshop) < 4


def test_a_study_that_was_stopped_keeps_what_is_finished_and_trained(workshop, monkeypatch):
    start = cells._start

    def stops(cell_, signature):
        start(cell_, signature)
        if cell_.name == "epochs=2":
            raise UserError("no room")

    monkeypatch.setattr(cells, "_start", stops)
    monkeypatch.setattr(executors, "cores", lambda: 1)  # one cell after the other
    with pytest.raises(UserError, match="no room"):
        run(given(epochs=[1, 2]))
    workshop.clear()
    monkeypatch.setattr(cells, "_start", start)
    run(given(epochs=[1, 2]))
    assert workshop == [("epochs=2", "evaluate")]


def test_as_many_cells_run_at_a_time_as_their_threads_leave_cores_for(workshop, monkeypatch):
    start, together = cells._start, threading.Barrier(2)

    def meets(cell, signature):
        together.wait(timeout=200)  # breaks where the other cell is not running
        start(cell, signature)

    monkeypatch.setattr(cells, "_start", meets)
    monkeypatch.setattr(executors, "cores", lambda: 2)
    params = given(epochs=[1, 2]).model_copy(update={"threads": 2})
    config = StudyConfig(**params.studies["toy"], fixed={"threads": 1})
    assert [row["metrics"]["mse"]["value"] for row in cells.run("toy", config, params)] == [1, 2]


def test_cells_of_several_processes_run_one_after_another(workshop, monkeypatch):
    start, running = cells._start, []

    def alone(cell, signature):
        running.append(cell.name)
        time.sleep(0.05)
        assert running == [cell.name]
        start(cell, signature)
        running.clear()

    monkeypatch.setattr(cells, "_start", alone)
    monkeypatch.setattr(executors, "cores", lambda: 8)
    run(given(epochs=[1, 2, 4]).model_copy(update={"launcher": "torchrun --nproc_per_node 2"}))
    assert len(workshop) == 6


@pytest.fixture
def cell_folder(tmp_path):
    """The folder of a cell that trains a small VAE for one epoch."""
    model = block("vae", epochs=1, dataset="toy")
    content = given().model_dump() | {"models": {"toy_vae": model}, "studies": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    x = toy_images()["x"]
    description = {"kind": "toy", "shape": [3, 16, 16], "labels": []}
    arrays.write(tmp_path / "data/prepared/toy", {"train": x, "test": np.ascontiguousarray(x[:, ::-1])}, description)
    return tmp_path


@pytest.mark.parametrize("processes", [1, 2])
def test_a_cell_s_process_trains_and_evaluates(cell_folder, monkeypatch, processes):
    monkeypatch.chdir(cell_folder.parent)
    launcher = "python" if processes == 1 else "torchrun --standalone --nproc_per_node 2"
    params = Params(**yaml.safe_load((cell_folder / "params.yaml").read_text())).model_copy(update={"launcher": launcher})
    found = cells.Cell("toy", "toy_vae", {}, params)
    monkeypatch.setattr(cells.Cell, "work", cell_folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    cells._start(found, "abc")
    said = (cell_folder / "cell.log").read_text()
    assert "toy_vae: epoch 1/1" in said
    assert (cell_folder / "trained").read_text() == "abc"
    assert cells.figures.read(cell_folder / "metrics/toy_vae.json")["mse"]["value"] > 0
    assert list((cell_folder / "figures/toy_vae").glob("*.png"))
    assert not list(cell_folder.rglob("mlflow.db"))
    weights = (cell_folder / "models/toy_vae/model.safetensors").stat().st_mtime_ns
    (cell_folder / "metrics/toy_vae.json").unlink()
    cells._start(found, "abc")  # killed while it was evaluated: it trains no more
    assert (cell_folder / "metrics/toy_vae.json").exists()
    assert (cell_folder / "models/toy_vae/model.safetensors").stat().st_mtime_ns == weights


def test_a_cell_that_fails_says_why_in_one_line(cell_folder, monkeypatch):
    monkeypatch.chdir(cell_folder.parent)
    params = Params(**yaml.safe_load((cell_folder / "params.yaml").read_text()))
    monkeypatch.setattr(cells.Cell, "work", cell_folder)
    (cell_folder / "data/prepared/toy/statistics.json").unlink()
    with pytest.raises(UserError) as error:
        cells._start(cells.Cell("toy", "toy_vae", {"x": 1}, params), "abc")
    assert str(error.value).startswith("studies.toy: cell x=1 failed: data/prepared/toy/statistics.json: no such file;")
    assert "\n" not in str(error.value)


def test_a_cell_is_started_as_a_module_by_the_launcher():
    said = subprocess.run([sys.executable, "-m", "regen.studies.cell", "--help"], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(Path(cells.__file__).parents[2])})  # fmt: skip
    assert said.stdout.startswith("usage: python -m regen.studies.cell")
