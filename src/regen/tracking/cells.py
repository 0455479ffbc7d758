"""The cells of a study as runs of MLflow, below one of their study: noted when they are done, sent by the courier."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from regen.tracking import courier, launch, lineage, secrets, state

if TYPE_CHECKING:
    from mlflow import MlflowClient


def report(study: str, model: str, dataset: str, cells: Mapping[Path, Mapping[str, Any]]) -> None:
    """Note the finished cells that were not noted before and have them sent; never raises, never waits for a server.

    Args:
        study: its key in params.yaml.
        model: key of the model that its cells vary.
        dataset: what they are trained on.
        cells: {folder of a finished cell: the params that it was trained with}.
    """
    try:
        if not launch.wanted():
            return
        tags = launch.tags(f"study@{study}", "stages/study.py") | {"regen.study": study}
        found = {place: state.read(place / "cell.json") for place in cells}
        noted = []
        for place, params in cells.items():
            run = {"key": model, "signature": found[place]["training"], "params": dict(params), "dataset": dataset}
            if _note(place, run | {"study": study}, tags | {"regen.cell": place.name}, found[place]["evaluation"]):
                noted.append(state.folder(model, run["signature"]))
        if not noted:
            return
        data = lineage.of_training({"dataset": dataset})
        for folder in noted[:-1]:
            courier.post(state.box(), folder, "train", data)
        child = launch.spawn(noted[-1], "train", math.inf)  # posts the last letter, and delivers all
        if child and child.stdin:
            child.stdin.close()
    except Exception as error:
        launch.say(f"{launch.reason(error)}; the cells of {study} are not mirrored")


def _note(place: Path, run: dict[str, Any], tags: dict[str, str], evaluation: str) -> bool:
    """Note one cell as a training that has ended; returns whether there was anything new of it."""
    folder = state.folder(run["key"], run["signature"])
    before = state.training(folder)
    if before.get("evaluation") == evaluation and state.ours(before):
        return False
    now = state.milliseconds()
    identity = {"training": uuid.uuid4().hex, "started": now, "ended": now}
    kept = {name: before[name] for name in identity} if before and state.ours(before) else identity
    _keep(folder, place)
    note = {"attempt": 1, "status": "FINISHED", "clone": state.clone(), "work": "", "run": run, "tags": tags}
    state.write(folder / "training.json", note | kept | {"evaluation": evaluation, "cell": str(place)})
    return True


def again(folder: Path, note: Mapping[str, Any]) -> bool:
    """Keep the files of a noted cell once more, for a server that has nothing of it. Returns whether they are still there."""
    place = Path(note["cell"])
    there = bool(state.read(place / "cell.json").get("training") == note["run"]["signature"])
    if there:
        _keep(folder, place)
    return there


def _keep(folder: Path, place: Path) -> None:
    trained = state.Source.of(place / "model")
    state.snapshot(folder, replace(trained, metrics=place / "metrics.json", figures=place / "figures"))


def parent(client: MlflowClient, experiment: str, study: str) -> str:
    """Return the id of the run of a study of this clone, below which its cells stand; it is made where there is none."""
    of = f"{state.clone()} {study}"
    with FileLock(state.base() / ".studies.lock", timeout=120):  # a courier and a `sync` make one of them
        if found := client.search_runs([experiment], f"tags.`regen.study_of` = '{of}'", max_results=1):
            return str(found[0].info.run_id)
        tags = {"regen.study_of": of, "mlflow.source.name": "stages/study.py", **secrets.sent({"mlflow.user": secrets.user()})}
        created = client.create_run(experiment, None, tags, study)
        client.set_terminated(created.info.run_id)
        return str(created.info.run_id)
