"""What tracking keeps on disk, below `.work/tracking/<key>/<signature>/` of the real repository root.

    training.json   one training: identity, attempt, params, tags, status       written by the stage (`launch`)
    files-<time>/   its files once it has ended, until the server has them      written by the stage (`launch`)
    sent.json       run id and artefact hashes for each server, time stamps     written by the sender, under `lock`
    mirror          how the mirror fares: waiting, starting, ready or behind    written by the sender
    log             what libraries and tracebacks of the sender said

`.work/tracking/boxes/<server>/` holds letters to the courier of one server and, after a failure, its cause (`behind`).

Nothing here is an out, so it may hold times, paths and run ids.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regen import paths


def server() -> str:
    """Tracking URI: `MLFLOW_TRACKING_URI`; empty = no tracking; unset = mlflow.db at the repository root.

    A relative SQLite path is taken from the root too: the working directory may be a copy that `dvc exp` throws away.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db").strip()
    relative = re.fullmatch(r"sqlite:///([^/].*)", uri)
    return f"sqlite:///{paths.root() / relative[1]}" if relative else uri


def shown(uri: str) -> str:
    """Return the URI without a password, to print and to remember."""
    return re.sub(r"//[^/@]*@", "//***@", uri)


def base() -> Path:
    """Folder of all that tracking keeps: of the real repository, also inside `dvc exp run --temp`."""
    return paths.root() / paths.WORK / "tracking"


def folder(key: str, signature: str) -> Path:
    """Folder of one model's trainings with one signature."""
    return base() / key / signature


def folders() -> list[Path]:
    """Folders of all trainings that were noted here."""
    return sorted(path.parent for path in base().glob("*/*/training.json"))


def say(folder: Path, word: str) -> None:
    """Note how a mirror fares: waiting for the end of a stage, starting, ready or behind."""
    if said(folder) != word:
        (folder / "mirror").write_text(word, encoding="utf-8")


def said(folder: Path) -> str:
    """Return how a mirror fares."""
    path = folder / "mirror"
    return path.read_text(encoding="utf-8") if path.exists() else "starting"


def box() -> Path:
    """The courier's letter box: of one server and one place to work in, so that its own environment holds for all letters."""
    environment = sorted((name, value) for name, value in os.environ.items() if name.startswith("MLFLOW_"))
    told = json.dumps([server(), os.getcwd(), os.environ.get("DVC_EXP_NAME"), environment])
    return base() / "boxes" / hashlib.sha256(told.encode()).hexdigest()[:16]


def problem() -> str | None:
    """Return why the courier's last delivery failed; None if it did not."""
    path = box() / "behind"
    return path.read_text(encoding="utf-8") if path.exists() else None


def clone() -> str:
    """Random name of this clone: tells our RUNNING runs from a teammate's on a shared server."""
    path = base() / "clone"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = path.with_name(f"clone.{uuid.uuid4().hex}")
        mine.write_text(uuid.uuid4().hex, encoding="utf-8")
        with suppress(FileExistsError):
            os.link(mine, path)  # atomic: of several processes that start at once, one names the clone
        mine.unlink()
    return path.read_text(encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Return a JSON object, or {} where there is none (yet)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)


def restored(key: str) -> dict[str, Any]:
    """Return what models/<key>/model.json says of the training that made it; {} where there is none."""
    model = read(paths.model(key) / "model.json")
    params = model.get("config", {})
    if not model.get("signature"):
        return {}
    return {"key": key, "signature": model["signature"], "params": params, "dataset": params.get("dataset", "")}


def note_restored(folder: Path, run: dict[str, Any]) -> None:
    """Note a model that was trained elsewhere: which MLflow run that was, the server knows (or does not)."""
    write(folder / "training.json", {"training": None, "status": "FINISHED", "run": run, "tags": {}})


def milliseconds() -> int:
    """Now, as MLflow counts time."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Source:
    """Where one training's files lie; any of them may be missing."""

    history: Path
    progress: Path
    metrics: Path
    figures: Path

    @staticmethod
    def of(path: Path) -> Source:
        """Files below a trainer's work folder, a model's folder or a snapshot."""
        return Source(path / "history.csv", path / "progress", path / "metrics.json", path / "figures")

    @staticmethod
    def workspace(key: str) -> Source:
        """Files of a finished model: the outs of its stages."""
        return Source(paths.model(key) / "history.csv", paths.model(key) / "progress", paths.metrics(key), paths.figures(key))

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield (epoch or iteration, {column: number}) of each whole line of the history; one being written waits."""
        try:
            text = self.history.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            counter = "epoch" if "epoch" in row else "iteration"  # of a fit in closed form
            if not str(row.get(counter)).isdigit():
                continue
            values = {}
            for column, cell in row.items():
                with suppress(TypeError, ValueError):
                    values[column] = float(cell)
            del values[counter]
            yield int(row[counter]), values

    def pictures(self) -> dict[int, Path]:
        """Collages of the training by epoch, e.g. {1: progress/epoch_0001.png}."""
        numbered = ((re.search(r"(\d+)\.png$", path.name), path) for path in sorted(self.progress.glob("*.png")))
        return {int(match[1]): path for match, path in numbered if match}

    def measures(self) -> dict[str, float]:
        """Metrics of the evaluation, e.g. {"eval/psnr": 21.3, "error/psnr": 0.1, "baseline/psnr": 20.0}."""
        beside = read(paths.context(self.metrics))
        return {
            f"{part}/{measure}": float(number)
            for measure, value in sorted(read(self.metrics).items())
            for part, number in sorted({"eval": value, **beside.get(measure, {})}.items())
            if isinstance(number, int | float)
        }


def snapshots(state: Path) -> list[Path]:
    """Copies of an ended training's files that the server may not have yet, oldest first."""
    return sorted(state.glob("files-*"))


def snapshot(state: Path, source: Source) -> None:
    """Keep a copy of `source` until it was sent: the next experiment replaces the outs, and a work folder is cleaned."""
    partial = state / f"partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    target = Source.of(partial)
    paths.context(target.metrics).parent.mkdir()
    for file, copy in (
        (source.history, target.history),
        (source.metrics, target.metrics),
        (paths.context(source.metrics), paths.context(target.metrics)),
    ):
        with suppress(FileNotFoundError):
            shutil.copy2(file, copy)
    for files, copies in ((source.progress, target.progress), (source.figures, target.figures)):
        copies.mkdir()
        for file in sorted(files.glob("*.png")):
            shutil.copy2(file, copies)
    earlier = snapshots(state)
    partial.rename(state / f"files-{time.time_ns()}")
    for path in earlier:  # the new one holds all that they hold
        shutil.rmtree(path, ignore_errors=True)
