"""The cells of a study as runs of MLflow, below one of their study: noted when they are done, sent by the courier."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regen.tracking import courier, launch, lineage, state


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
            run = {
                "key": model,
                "signature": found[place]["training"],
                "params": dict(params),
                "dataset": dataset,
                "study": study,
            }
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
    trained = state.Source.of(place / "model")
    state.snapshot(folder, replace(trained, metrics=place / "metrics.json", figures=place / "figures"))
    note = {"attempt": 1, "status": "FINISHED", "clone": state.clone(), "work": "", "run": run, "tags": tags}
    state.write(folder / "training.json", note | kept | {"evaluation": evaluation})
    return True
