"""Studies: which cells there are, which of them run, and what the table says."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from regen.blocks import StudyConfig
from regen.errors import UserError
from regen.params import Params
from regen.studies import cells

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
    """A workspace with a trained toy_vae; cells note which scripts they run, and measure epochs + seed."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("stages").mkdir()
    for name in ("train", "evaluate"):
        Path(f"stages/{name}.py").write_text("pass\n")
    publish(Path(), 3)
    Path("models/none").write_text("no classifier\n")
    scripts: list[tuple[str, str]] = []

    def script(cell, name):
        scripts.append((cell.name, name))
        publish(cell.work, cell.block["epochs"] + cell.params.seed)

    monkeypatch.setattr(cells, "_script", script)
    return scripts


def publish(folder, mse):
    for path in ("models/toy_vae", "metrics", "figures/toy_vae"):
        (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "models/toy_vae/model.json").write_text('{"signature": "abc"}')
    (folder / "metrics/toy_vae.json").write_text(json.dumps({"mse": {"value": mse, "limit": 1.0}}))


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
    ],
)
def test_lists_that_make_no_cells_are_refused(vary, message):
    params = given(**vary)
    with pytest.raises(UserError, match=message):
        cells.cells("toy", StudyConfig(**params.studies["toy"]), params)


def test_a_cell_that_is_the_model_itself_is_not_run_again(workshop):
    assert run(given(epochs=[3])) == [{"values": {"epochs": 3}, "metrics": {"mse": {"value": 3, "limit": 1.0}}}]
    assert workshop == []


def test_a_changed_cell_runs_alone(workshop):
    run(given(epochs=[1, 2]))
    assert sorted(workshop) == [("epochs=1", "evaluate"), ("epochs=1", "train"), ("epochs=2", "evaluate"), ("epochs=2", "train")]
    workshop.clear()
    rows = run(given(epochs=[1, 7]))
    assert workshop == [("epochs=7", "train"), ("epochs=7", "evaluate")]
    assert [row["metrics"]["mse"]["value"] for row in rows] == [1, 7]
    assert sorted(path.name for path in Path("studies/toy").iterdir()) == ["epochs=1", "epochs=7"]


def test_another_model_of_the_same_name_reruns_every_cell(workshop):
    run(given(epochs=[1]))
    workshop.clear()
    Path("models/toy_vae/model.json").write_text('{"signature": "other data or code"}')
    run(given(epochs=[1]))
    assert workshop == [("epochs=1", "train"), ("epochs=1", "evaluate")]


def test_a_changed_stage_script_reruns_what_it_does(workshop):
    run(given(epochs=[1]))
    for name, again in (("evaluate", ["evaluate"]), ("train", ["train", "evaluate"])):
        workshop.clear()
        Path(f"stages/{name}.py").write_text("print()\n")
        run(given(epochs=[1]))
        assert workshop == [("epochs=1", script) for script in again]


def test_no_cell_is_begun_after_ctrl_c(workshop, monkeypatch):
    def stopped(cell, name):
        workshop.append((cell.name, name))
        time.sleep(0.3 * (len(workshop) - 1))  # the study hears of the first one while the second runs
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "_script", stopped)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0}, raising=False)
    with pytest.raises(KeyboardInterrupt):
        run(given(epochs=[1, 2, 4, 5, 6]))
    assert len(workshop) < 4


def test_a_study_that_was_stopped_keeps_what_is_finished_and_trained(workshop, monkeypatch):
    script = cells._script

    def stops(cell, name):
        if (cell.name, name) == ("epochs=2", "evaluate"):
            raise UserError("no room")
        script(cell, name)

    monkeypatch.setattr(cells, "_script", stops)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0}, raising=False)  # one cell after the other
    with pytest.raises(UserError, match="no room"):
        run(given(epochs=[1, 2]))
    workshop.clear()
    monkeypatch.setattr(cells, "_script", script)
    run(given(epochs=[1, 2]))
    assert workshop == [("epochs=2", "evaluate")]


def test_as_many_cells_run_at_a_time_as_their_threads_leave_cores_for(workshop, monkeypatch):
    script, together = cells._script, threading.Barrier(2)

    def meets(cell, name):
        if name == "train":
            together.wait(timeout=20)  # breaks where the other cell is not running
        script(cell, name)

    monkeypatch.setattr(cells, "_script", meets)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    params = given(epochs=[1, 2]).model_copy(update={"threads": 2})
    config = StudyConfig(**params.studies["toy"], fixed={"threads": 1})
    assert [row["metrics"]["mse"]["value"] for row in cells.run("toy", config, params)] == [1, 2]
