from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from regen.errors import UserError
from regen.tracking import cells as tracked
from regen.tracking import courier, launch, lineage, state
from regen.tracking import sync as syncing
from regen.tracking.connection import connect
from regen.tracking.machine import watched
from regen.tracking.mirror import Sender
from regen.tracking.pace import Pace
from regen.tracking.sync import sync

SOURCES = str(Path(launch.__file__).parents[2])
TRAINER = """
import sys, time
from pathlib import Path
from regen.tracking import launch
key, pause = sys.argv[1], float(sys.argv[2])
work = Path(".work/train") / key / "s1"
work.mkdir(parents=True)
with launch.mirrored(key, "s1", {"beta": 1.0}, "punks", "cpu", after=float(sys.argv[3])):
    for epoch in (1, 2):
        with (work / "history.csv").open("a") as file:
            file.write(("epoch,examples,loss\\n" if epoch == 1 else "") + f"{epoch},{epoch * 100},{1 / epoch}\\n")
        print("trained", flush=True)
        time.sleep(pause if epoch == 2 else min(pause, 2))
"""


@pytest.fixture
def root(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "DVC_ROOT",
        "DVC_STAGE",
        "DVC_EXP_NAME",
        "DVC_EXP_BASELINE_REV",
    ):
        monkeypatch.delenv(name, raising=False)
    shutil.copyfile(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def childless(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root where no mirror gets off the ground: all is left to `sync`."""
    monkeypatch.setattr(launch, "spawn", lambda folder, mode, after: None)
    return root


def work(key: str = "vae", signature: str = "s1") -> Path:
    return Path(".work/train") / key / signature


def write_outputs(folder: Path, epochs: int) -> None:
    (folder / "progress").mkdir(parents=True, exist_ok=True)
    lines = [f"{epoch},{epoch * 10},{1 / epoch:.6g}" for epoch in range(1, epochs + 1)]
    (folder / "history.csv").write_text("\n".join(["epoch,step,loss", *lines]) + "\n")
    for epoch in range(1, epochs + 1, 2):
        Image.new("RGB", (8, 8), (epoch, 0, 0)).save(folder / "progress" / f"epoch_{epoch:04d}.png")


def train(epochs: int = 3, key: str = "vae", signature: str = "s1", status: str | None = "FINISHED") -> None:
    """A training to its end, or (status None) to a SIGKILL."""
    mirror = launch.mirrored(key, signature, {"dataset": "punks", "beta": 4.0, "layers": {"width": 8}}, "punks", "cpu")
    write_outputs(work(key, signature), epochs)
    if status is None:
        return
    if status == "FINISHED":
        publish(key, signature, epochs)
    mirror.finish(status)
    if status == "FINISHED":
        shutil.rmtree(work(key, signature))


def publish(key: str = "vae", signature: str = "s1", epochs: int = 3) -> None:
    write_outputs(Path("models") / key, epochs)
    description = {"config": {"dataset": "punks", "beta": 4.0}, "signature": signature}
    (Path("models") / key / "model.json").write_text(json.dumps(description))


def evaluate(psnr: float = 21.5, key: str = "vae") -> None:
    with launch.report(key):
        Path("metrics/context").mkdir(exist_ok=True, parents=True)
        Path(f"metrics/{key}.json").write_text(json.dumps({"psnr": psnr}))
        Path(f"metrics/context/{key}.json").write_text(json.dumps({"psnr": {"baseline": 24.0}}))
        Path(f"figures/{key}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(f"figures/{key}/samples.png")


def lock(key: str = "vae", data: str = "d" * 32 + ".dir") -> None:
    """Write dvc.lock as DVC does after training and evaluating."""
    model = {"path": f"models/{key}", "hash": "md5", "md5": lineage.directory_md5(Path("models") / key)}
    stages: dict[str, Any] = {
        "prepare@punks": {"outs": [{"path": "data/prepared/punks", "md5": data}]},
        f"train@{key}": {"deps": [{"path": "data/prepared/punks", "md5": data}], "outs": [model]},
    }
    metrics = Path(f"metrics/{key}.json")
    if metrics.exists():
        stages[f"evaluate@{key}"] = {"deps": [model], "outs": [{"path": str(metrics), "md5": lineage.file_md5(metrics)}]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def trained(run: Run) -> Counter[tuple[str, int]]:
    """The points of its history; of its machine, there may be others."""
    return Counter({point: count for point, count in points(run).items() if point[0].startswith("train/")})


def client() -> MlflowClient:
    return MlflowClient(tracking_uri=state.server())


def runs() -> list[Run]:
    experiment = client().get_experiment_by_name("regen")
    return list(client().search_runs([experiment.experiment_id])) if experiment else []


def points(run: Run) -> Counter[tuple[str, int]]:
    """How many points the server has for each (measure, step)."""
    return Counter((p.key, p.step) for key in run.data.metrics for p in client().get_metric_history(run.info.run_id, key))


def history(epochs: int) -> Counter[tuple[str, int]]:
    return Counter((f"train/{name}", epoch) for name in ("step", "loss") for epoch in range(1, epochs + 1))


def images(run: Run) -> list[int]:
    names = [file.path for file in client().list_artifacts(run.info.run_id, "images")]
    return sorted(int(re.findall(r"step\+(\d+)", name)[0]) for name in names if name.endswith(".png"))


def sender() -> Sender:
    return Sender(*connect(state.server()), state.server(), state.folder("vae", "s1"))


def test_a_training_becomes_one_run_with_params_tags_history_images_and_data_set(childless: Path) -> None:
    train(epochs=3)
    lock()
    sync()
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "vae"
    assert run.data.params == {"dataset": "punks", "beta": "4.0", "layers.width": "8"}
    assert points(run) == history(3)
    assert [p.value for p in client().get_metric_history(run.info.run_id, "train/loss")] == [1.0, 0.5, 0.333333]
    assert images(run) == [1, 3]
    expected = {
        "dvc.stage": "train@vae",
        "dvc.signature": "s1",
        "dvc.model.md5": lineage.directory_md5(Path("models/vae")),
        "dvc.dep.data/prepared/punks.md5": "d" * 32 + ".dir",
        "attempt": "1",
        "device": "cpu",
    }
    assert expected.items() <= run.data.tags.items()
    assert [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs] == [("punks", "d" * 32 + ".dir")]


def test_a_second_sync_sends_nothing(childless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(epochs=3)
    sync()
    capsys.readouterr()
    sync()
    assert "up to date" in capsys.readouterr().out
    (run,) = runs()
    assert points(run) == history(3)
    assert images(run) == [1, 3]


def test_of_trainings_that_were_sent_a_sync_reads_the_note_once(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for signature in ("s1", "s2", "s3"):
        train(signature=signature)
    sync()
    seen, real = Counter[str](), state.read

    def read(path: Path) -> dict[str, Any]:
        seen[f"{path.parent.name}/{path.name}"] += 1
        return real(path)

    monkeypatch.setattr(state, "read", read)
    sync()
    noted = {name: count for name, count in seen.items() if name.startswith(("s1/", "s2/"))}  # s3 lies in the workspace
    assert noted == {"s1/training.json": 1, "s2/training.json": 1}


def test_a_training_that_takes_another_s_place_during_a_sync_has_its_own_run(
    childless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(epochs=3)
    sync()
    real = syncing._runs

    def then(*given: Any) -> dict[str, Any]:
        found = real(*given)
        train(epochs=2)
        return found

    monkeypatch.setattr(syncing, "_runs", then)
    sync()
    assert sorted(len(points(run)) for run in runs()) == [4, 6]


def test_points_are_not_doubled_when_the_note_of_what_was_sent_is_lost(childless: Path) -> None:
    train(epochs=3, status=None)
    sender().send(state.Source.of(work()))
    (state.folder("vae", "s1") / "sent.json").unlink()
    sync()
    (run,) = runs()
    assert points(run) == history(3)
    assert images(run) == [1, 3]


def test_points_are_not_doubled_when_the_server_still_hides_those_of_a_lost_request(childless: Path) -> None:
    train(epochs=3, status=None)
    sender().send(state.Source.of(work()))
    again = sender()
    again.latest = {}  # as a server answers that has not finished storing them
    again.send(state.Source.of(work()))
    (run,) = runs()
    assert points(run) == history(3)


def test_points_are_not_doubled_when_the_answer_is_lost(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(epochs=3)
    real, calls = MlflowClient.log_batch, []

    def stored_then_lost(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        calls.append(kwargs)
        if kwargs.get("metrics") and sum(bool(call.get("metrics")) for call in calls) == 1:
            raise ConnectionError("Remote end closed connection without response")

    monkeypatch.setattr(MlflowClient, "log_batch", stored_then_lost)
    sync()
    (run,) = runs()
    assert points(run) == history(3)


def test_a_resumed_training_continues_its_run_and_replayed_rows_are_not_doubled(childless: Path) -> None:
    train(epochs=3, status=None)
    sender().send(state.Source.of(work()))
    sync()
    assert [run.info.status for run in runs()] == ["KILLED"]
    mirror = launch.mirrored("vae", "s1", {"dataset": "punks"}, "punks", "cpu")
    write_outputs(work(), 2)  # from the checkpoint: the third row is gone, and comes again
    resumed = sender()
    resumed.reopen()
    resumed.send(state.Source.of(work()))
    assert [run.info.status for run in runs()] == ["RUNNING"]
    write_outputs(work(), 5)
    mirror.finish()
    sync()
    (run,) = runs()
    assert (run.info.status, run.data.tags["attempt"]) == ("FINISHED", "2")
    assert points(run) == history(5)
    assert images(run) == [1, 3, 5]


def test_a_training_forced_again_after_success_is_a_run_of_its_own(childless: Path) -> None:
    train()
    sync()
    train()
    sync()
    assert [points(run) for run in runs()] == [history(3)] * 2


def test_a_failed_training_ends_as_failed(childless: Path) -> None:
    write_outputs(work(), 1)
    with pytest.raises(ValueError, match="NaN"), launch.mirrored("vae", "s1", {}, "punks", "cpu"):
        raise ValueError("NaN")
    sync()
    assert [run.info.status for run in runs()] == ["FAILED"]


def test_a_run_whose_trainer_is_gone_is_closed_as_killed(childless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(status=None)
    sender()
    assert [run.info.status for run in runs()] == ["RUNNING"]
    with filelock.FileLock(work().with_suffix(".lock")):
        sync()
        assert [run.info.status for run in runs()] == ["RUNNING"]
    assert "is being trained" in capsys.readouterr().out
    sync()
    assert [run.info.status for run in runs()] == ["KILLED"]
    assert "closed as KILLED" in capsys.readouterr().out


def test_only_orphans_of_this_clone_are_closed(childless: Path) -> None:
    train()
    server, experiment = connect(state.server())
    ours = server.create_run(experiment, tags={"regen.clone": state.clone()}).info.run_id
    theirs = server.create_run(experiment, tags={"regen.clone": "a teammate's"}).info.run_id
    sync()
    assert (server.get_run(ours).info.status, server.get_run(theirs).info.status) == ("KILLED", "RUNNING")


def test_metrics_and_figures_of_the_evaluation_belong_to_the_run_of_the_training(childless: Path) -> None:
    train()
    sync()
    evaluate(21.5)
    sync()
    (run,) = runs()
    assert {"eval/psnr": 21.5, "baseline/psnr": 24.0}.items() <= run.data.metrics.items()
    figures = [file.path for file in client().list_artifacts(run.info.run_id, "figures")]
    assert figures == ["figures/progress.png", "figures/samples.png"]


def test_a_figure_measured_anew_is_the_next_step_and_an_unchanged_one_is_sent_once(childless: Path) -> None:
    train()
    for psnr in (21.5, 21.5, 22.0):
        evaluate(psnr)
        sync()
    (run,) = runs()
    assert [(p.step, p.value) for p in client().get_metric_history(run.info.run_id, "eval/psnr")] == [(0, 21.5), (1, 22.0)]
    assert len(client().get_metric_history(run.info.run_id, "baseline/psnr")) == 1


def test_metrics_of_an_earlier_model_are_not_sent_to_the_new_ones_run(childless: Path) -> None:
    train(signature="s1")
    evaluate()
    lock()
    train(signature="s2", epochs=4)  # and no evaluation yet
    sync()
    measured = {run.data.tags["dvc.signature"]: "eval/psnr" in run.data.metrics for run in runs()}
    assert measured == {"s1": True, "s2": False}


def test_what_was_not_sent_survives_the_next_experiment(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(epochs=3, signature="s1")
    train(epochs=5, signature="s2")
    sync()
    assert {run.data.tags["dvc.signature"]: points(run) for run in runs()} == {"s1": history(3), "s2": history(5)}
    assert not list(Path(".work/tracking").glob("*/*/files-*"))


def test_a_copy_that_is_being_sent_is_left_to_its_sender(childless: Path) -> None:
    train()
    (folder,) = state.folders()
    (sent,) = state.snapshots(folder)
    with filelock.FileLock(folder / "lock"):  # as the courier holds it while it sends what the training left
        evaluate()
        assert sent in state.snapshots(folder)
        assert len(state.snapshots(folder)) == 2
    evaluate()
    assert len(state.snapshots(folder)) == 1  # nobody sends: the newest has all that the others have
    sync()
    (run,) = runs()
    assert trained(run) == history(3)
    assert run.data.metrics["eval/psnr"] == 21.5
    assert state.snapshots(folder) == []


def test_a_later_copy_is_the_later_one_whatever_the_clock_says(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    (folder,) = state.folders()
    monkeypatch.setattr(time, "time_ns", lambda: 1)  # the clock was set back
    with filelock.FileLock(folder / "lock"):
        evaluate()
    assert [state.Source.of(copy).measures().get("eval/psnr") for copy in state.snapshots(folder)] == [None, 21.5]


def set_back(patch: pytest.MonkeyPatch) -> None:
    """Let the clock that tells the date go back by a day at every look."""
    now = [time.time_ns()]

    def earlier() -> int:
        now[0] -= 86_400 * 10**9
        return now[0]

    patch.setattr(time, "time_ns", earlier)
    patch.setattr(time, "time", lambda: earlier() / 1e9)


def told() -> list[Any]:
    """What the server has of each run, but for dates and numbers that are drawn."""
    found = []
    for run in runs():
        tags = {name: value for name, value in run.data.tags.items() if name in ("dvc.restored", "dvc.signature", "attempt")}
        found.append((run.info.run_name, run.info.status, run.data.params, run.data.metrics, points(run), images(run), tags))
    return sorted(found, key=repr)


@pytest.mark.parametrize("back", [False, True])
def test_a_clock_that_goes_back_sends_the_same(childless: Path, back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed training, its second attempt, an evaluation and another one, each a day before the one before."""
    if back:
        set_back(monkeypatch)
    train(2, status=None)
    sync()
    train(3)
    evaluate(21.5)
    lock()
    sync()
    evaluate(22.5)
    os.utime("metrics/vae.json", (0, 0))
    lock()
    sync()
    ((name, status, _, metrics, sent, pictures, tags),) = told()
    assert (name, status, tags["attempt"], pictures) == ("vae", "FINISHED", "2", [1, 3])
    assert set(sent.values()) == {1}
    assert metrics["eval/psnr"] == 22.5  # the later one
    assert metrics["train/loss"] == pytest.approx(1 / 3, abs=1e-6)


def test_letters_are_delivered_to_the_same_end_though_the_clock_goes_back(
    childless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation's letter then looks older than that of its training."""
    monkeypatch.setattr(courier, "LINGER", 0.1)
    monkeypatch.setattr(courier, "POLL", 0.05)
    found = []
    for key, back in (("a", False), ("b", True)):
        with monkeypatch.context() as patch:
            if back:
                set_back(patch)
            for mode in ("train", "evaluate"):
                train(key=key) if mode == "train" else evaluate(key=key)
                courier.post(state.box(), state.folder(key, "s1"), mode, {})
            assert [state.read(path)["mode"] for path in courier.letters(state.box())] == (
                ["evaluate", "train"] if back else ["train", "evaluate"]
            )
        courier.carry(state.box())
        found.append([one[1:] for one in told() if one[0] == key])
    assert found[0] == found[1]
    assert found[0][0][0] == "FINISHED"
    assert found[0][0][2]["eval/psnr"] == 21.5


def test_what_a_server_says_reaches_no_terminal_raw() -> None:
    assert launch.reason(OSError("no: \x1b]0;owned\x07")) == "OSError: no: \\x1b]0;owned\\x07"


def test_an_address_that_is_none_is_one_line(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@[::1")
    with pytest.raises(UserError, match="the tracking server can't be used") as error:
        sync()
    assert "secret" not in str(error.value)


def test_a_restored_model_is_linked_to_the_run_that_trained_it(
    childless: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train()
    lock()
    sync()
    shutil.rmtree(".work")  # another clone, after `dvc pull`
    monkeypatch.setenv("DVC_EXP_NAME", "rosy-lamp")
    sync()
    assert "linked" in capsys.readouterr().out
    (run,) = runs()
    assert run.data.tags["dvc.restored"] == "rosy-lamp"
    assert points(run) == history(3)


def test_a_model_that_goes_back_to_an_earlier_training_is_linked_to_its_run(
    childless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(signature="s1")
    train(signature="s2")
    publish(signature="s1")  # out of the run-cache
    monkeypatch.setenv("DVC_EXP_NAME", "rosy-lamp")
    sync()
    assert {run.data.tags["dvc.signature"]: run.data.tags.get("dvc.restored") for run in runs()} == {
        "s1": "rosy-lamp",
        "s2": None,
    }


def test_a_restored_model_without_a_run_on_this_server_gets_one(childless: Path) -> None:
    publish(epochs=3)
    Path("metrics").mkdir()
    Path("metrics/vae.json").write_text(json.dumps({"psnr": 21.5}))
    lock()
    sync()
    sync()
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert points(run) == history(3) + Counter([("eval/psnr", 0)])
    assert images(run) == [1, 3]


def test_a_run_that_somebody_deleted_stays_deleted(childless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train()
    sync()
    client().delete_run(runs()[0].info.run_id)
    sync()
    assert "deleted on the server" in capsys.readouterr().out
    assert runs() == []


def test_a_line_being_written_waits_for_its_end(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.2")
    assert list(state.Source.of(tmp_path).rows()) == [(1, {"loss": 0.5})]


def test_the_iterations_of_a_closed_form_are_rows_too(tmp_path):
    (tmp_path / "history.csv").write_text("iteration,log_likelihood\n0,-5\n1,-2.5\n")
    assert list(state.Source.of(tmp_path).rows()) == [(0, {"log_likelihood": -5.0}), (1, {"log_likelihood": -2.5})]


def test_cells_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss,note\n1,,warm\n2,nan,\n")
    (first, second) = state.Source.of(tmp_path).rows()
    assert first == (1, {})
    assert second[1].keys() == {"loss"}


def test_not_a_number_and_infinity_are_sent_once(childless: Path) -> None:
    train(status=None)
    (work() / "history.csv").write_text("epoch,loss\n1,nan\n2,inf\n")
    sender().send(state.Source.of(work()))
    sync()
    (run,) = runs()
    assert points(run) == Counter([("train/loss", 1), ("train/loss", 2)])


@pytest.mark.parametrize("key", ["clone", "boxes"])
def test_a_model_of_any_name_has_a_folder_of_its_own(root: Path, key: str) -> None:
    state.folder(key, "s1").mkdir(parents=True)
    assert state.clone() == state.clone()
    assert not state.box().is_relative_to(state.base() / key)


def test_the_hash_of_a_folder_is_the_one_that_dvc_writes(tmp_path: Path) -> None:
    write_outputs(tmp_path / "model", 3)
    (tmp_path / "model" / "Zeta ü.json").write_text("{}")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*dvc, "add", "-q", "model"], cwd=tmp_path, check=True)
    assert lineage.directory_md5(tmp_path / "model") == yaml.safe_load((tmp_path / "model.dvc").read_text())["outs"][0]["md5"]


def finished_cells(root: Path, epochs: int = 3, psnr: float = 21.0, evaluation: str = "e1") -> dict[Path, dict[str, Any]]:
    """Two cells of the study `betas`, as its stage keeps them."""
    cells = {}
    for beta in (1, 2):
        place = root / "studies/betas" / f"beta={beta}"
        write_outputs(place / "model", epochs)
        note = {"values": {"beta": beta}, "training": f"t{beta}", "evaluation": evaluation}
        (place / "cell.json").write_text(json.dumps(note))
        (place / "metrics.json").write_text(json.dumps({"psnr": psnr + beta}))
        cells[place] = {"seed": 0, "beta": beta}
    return cells


def test_the_cells_of_a_study_are_runs_below_one_of_their_study(childless: Path) -> None:
    for _ in range(2):  # a study that runs again, without a change, is sent once
        tracked.report("betas", "vae", "punks", finished_cells(childless))
        sync()
    by_name = {run.info.run_name: run for run in runs()}
    assert sorted(by_name) == ["betas", "vae beta=1", "vae beta=2"]
    for beta in (1, 2):
        run = by_name[f"vae beta={beta}"]
        assert run.data.tags["mlflow.parentRunId"] == by_name["betas"].info.run_id
        assert run.data.params["beta"] == str(beta)
        assert run.data.metrics["eval/psnr"] == 21.0 + beta
        assert points(run)[("train/loss", 3)] == 1
        assert run.info.status == "FINISHED"
    tracked.report("betas", "vae", "punks", finished_cells(childless, psnr=30.0, evaluation="e2"))
    sync()
    assert len(runs()) == 3
    changed = {run.info.run_name: points(run) for run in runs()}["vae beta=2"]
    assert (changed[("eval/psnr", 0)], changed[("eval/psnr", 1)], changed[("train/loss", 3)]) == (1, 1, 1)


def test_the_cells_of_a_study_are_sent_to_another_server_too(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = finished_cells(childless)
    tracked.report("betas", "vae", "punks", cells)
    sync()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///another.db")
    shutil.rmtree(max(cells))  # what is gone from the study is not sent
    for _ in range(2):
        sync()
    assert sorted(run.info.run_name for run in runs()) == ["betas", "vae beta=1"]
    assert [points(run)[("train/loss", 3)] for run in runs() if run.info.run_name != "betas"] == [1]


def test_a_study_s_cells_are_sent_by_the_courier(root: Path) -> None:
    tracked.report("betas", "vae", "punks", finished_cells(root))
    wanted = {"betas": "FINISHED", "vae beta=1": "FINISHED", "vae beta=2": "FINISHED"}
    assert eventually(lambda: {run.info.run_name: run.info.status for run in runs()} == wanted)
    assert eventually(lambda: sum(points(run)[("train/loss", 3)] for run in runs()) == 2)


def test_a_cell_whose_note_is_damaged_harms_no_study(childless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = finished_cells(childless)
    (next(iter(cells)) / "cell.json").write_text("{")
    tracked.report("betas", "vae", "punks", cells)
    assert "tracking: KeyError: 'training'; the cells of betas are not mirrored" in capsys.readouterr().err


def test_an_empty_tracking_uri_means_nothing_at_all(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    train()
    evaluate()
    assert not Path(".work/tracking").exists()
    assert capsys.readouterr() == ("", "")


def test_without_mlflow_one_line_is_said_and_nothing_is_done(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    train()
    assert capsys.readouterr().err == "tracking: mlflow is not installed, so nothing is mirrored\n"
    assert not Path(".work/tracking").exists()


def test_a_work_folder_that_cannot_be_written_does_not_stop_the_stage(root: Path, capsys: Any) -> None:
    Path(".work").write_text("a file")
    with launch.mirrored("vae", "s1", {}, "punks", "cpu"):
        pass
    assert re.fullmatch(r"tracking: .*this training is not mirrored\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:////real/mlflow.db"),
        ("sqlite:///own.db", "sqlite:////real/own.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_a_relative_database_lies_at_the_real_repository_root(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", "/real")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert state.server() == expected


def test_sync_names_a_server_that_refuses_in_one_line_without_its_password(
    childless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError) as raised:
        sync()
    assert re.fullmatch(
        r"http://\*\*\*@127.0.0.1:9: the tracking server can't be used \(connection refused\); .*", str(raised.value)
    )


def test_no_stage_imports_mlflow() -> None:
    code = (
        "import sys, regen.tracking.launch; sys.exit('mlflow' in sys.modules or 'yaml' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": SOURCES})


def start_trainer(root: Path, key: str, pause: float, after: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": SOURCES}
    command = [sys.executable, "-c", TRAINER, key, str(pause), str(after)]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def eventually(condition: Callable[[], bool], seconds: float = 300) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@pytest.mark.parametrize("after", [0, 20])  # a mirror each, and one courier for all
def test_four_mirrors_that_start_at_once_share_a_fresh_database(after: float, root: Path) -> None:
    (root / "mlflow.db").unlink()
    trainers = [start_trainer(root, key, pause=0, after=after) for key in ("a", "b", "c", "d")]
    for trainer in trainers:
        trainer.communicate(timeout=300)
        assert trainer.returncode == 0
    locks = [root / ".work/tracking" / key / "s1" for key in ("a", "b", "c", "d")]
    assert eventually(lambda: not any(list(folder.glob("files-*")) for folder in locks))  # all of them delivered
    assert sorted((run.info.run_name, run.info.status) for run in runs()) == [(key, "FINISHED") for key in ("a", "b", "c", "d")]
    assert all(
        trained(run) == Counter((f"train/{name}", step) for name in ("examples", "loss") for step in (1, 2)) for run in runs()
    )


def test_one_courier_delivers_what_several_short_stages_leave(root: Path) -> None:
    train(key="a")
    train(key="b")
    evaluate(key="b")
    boxes = root / ".work/tracking/.boxes"
    assert eventually(lambda: {run.info.run_name: run.info.status for run in runs()} == {"a": "FINISHED", "b": "FINISHED"})
    assert eventually(lambda: any(run.data.metrics.get("eval/psnr") == 21.5 for run in runs()))
    assert {run.info.run_name: points(run)[("train/loss", 3)] for run in runs()} == {"a": 1, "b": 1}
    (box,) = boxes.iterdir()
    assert eventually(lambda: {path.name for path in box.iterdir()} <= {"lock"})


def test_the_machine_is_watched_while_a_model_trains(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    wanted = {"system/cpu_utilization_percentage", "system/system_memory_usage_percentage"}
    trainer = start_trainer(root, "vae", pause=900, after=0)
    assert eventually(lambda: any(wanted <= set(run.data.metrics) for run in runs()))
    trainer.kill()
    trainer.communicate()
    assert eventually(lambda: [run.info.status for run in runs()] == ["KILLED"])
    (run,) = runs()
    assert trained(run)[("train/loss", 2)] == 1
    sync()  # asks for what the run has, and finds what nobody sent from a file


def test_examples_a_second_are_noted_without_a_server_and_sent_once(childless: Path) -> None:
    made, experiment = connect(state.server())
    assert made.get_experiment(experiment).tags["mlflow.experimentKind"] == "custom_model_development"
    train(status=None)
    folder, source = state.folder("vae", "s1"), state.Source.of(work())
    for last in (3, 4):  # the second one after an interruption: it goes on from where the first was
        looking = Pace(folder)
        for epoch, seconds in ((1, 1000), (2, 1000), (3, 1010), (4, 1015))[:last]:
            source.history.write_text("epoch,examples\n" + "".join(f"{n},{n * 100}\n" for n in range(1, epoch + 1)))
            os.utime(source.history, (seconds, seconds))
            looking.look(source)
    assert (folder / "pace.csv").read_text() == "epoch,examples_per_second\n3,10\n4,20\n"  # of the second, the time is not known
    assert runs() == []
    sync()
    sync()
    (run,) = runs()
    found = made.get_metric_history(run.info.run_id, "system/examples_per_second")
    assert [(point.step, point.value) for point in found] == [(3, 10.0), (4, 20.0)]
    train()
    train()
    assert not (folder / "pace.csv").exists()  # another training's


@pytest.mark.parametrize(("said", "expected"), [(None, True), ("true", True), ("False", False), ("0", False)])
def test_watching_can_be_switched_off(said: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", raising=False)
    if said is not None:
        monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", said)
    assert watched() is expected


def test_a_mirror_ends_when_its_trainer_is_killed_and_closes_the_run(root: Path) -> None:
    trainer = start_trainer(root, "vae", pause=900, after=0)
    assert eventually(lambda: any(run.data.metrics.get("train/loss") == 0.5 for run in runs()))
    assert [run.info.status for run in runs()] == ["RUNNING"]
    trainer.send_signal(signal.SIGKILL)
    trainer.communicate()  # also waits until the mirror has let go of stderr
    assert eventually(lambda: [run.info.status for run in runs()] == ["KILLED"])
    with filelock.FileLock(root / ".work/tracking/vae/s1/lock", timeout=300):  # free when the mirror has ended
        pass
