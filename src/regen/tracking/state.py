"""What tracking keeps on disk, below `.work/tracking/<key>/<signature>/` of the real repository root.

    training.json   one training: identity, attempt, params, tags, status       written by the stage (`launch`)
    files-<time>/   its files once it has ended, until the server has them      written by the stage (`launch`)
    sent.json       run id and what was sent to each server, time stamps        written by the sender, under `lock`
    pace.csv        examples a second, an epoch a line                          written by the mirror
    mirror          how the mirror fares: waiting, starting, ready or behind    written by the sender
    log             what libraries and tracebacks of the sender said

`.work/tracking/.boxes/<server>/` holds letters to the courier of one server and, after a failure, its cause (`behind`).

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
from urllib.parse import unquote

from filelock import FileLock, Timeout

from regen import paths
from regen.blocks import is_name
from regen.tracking import secrets

STATUSES = ("FINISHED", "FAILED", "KILLED")


def server() -> str:
    """Tracking URI: `MLFLOW_TRACKING_URI`; empty = no tracking; unset = mlflow.db at the repository root.

    A relative SQLite path is taken from the root too: the working directory may be a copy that `dvc exp` throws away.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db").strip()
    relative = re.fullmatch(r"sqlite:///([^/].*)", uri)
    root = str(paths.root()).replace("%", "%25").replace("?", "%3F")  # as an address of SQLAlchemy has it
    return f"sqlite:///{root}/{relative[1]}" if relative else uri


def database(uri: str) -> Path | None:
    """Return the file of a SQLite database; None for any other address."""
    found = re.match(r"sqlite:///([^?]*)", uri)
    return Path(unquote(found[1])) if found else None


def store(uri: str) -> str:
    """Return an address of a database as MLflow takes it: it makes a folder of the name as it is escaped, if it may."""
    path = database(uri)
    return f"sqlite:///{os.path.relpath(path)}" if path and "%" in uri else uri


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
    return _text(folder / "mirror") or "starting"


def box() -> Path:
    """The courier's letter box: of one server and one place to work in, so that its own environment holds for all letters."""
    chosen = (name for name in os.environ if name.startswith("MLFLOW_") or name == secrets.PRIVATE)
    environment = sorted((name, secrets.clean(os.environ[name], server())) for name in chosen if name not in secrets.SECRETS)
    told = json.dumps([secrets.shown(server()), os.getcwd(), os.environ.get("DVC_EXP_NAME"), environment])
    return base() / ".boxes" / hashlib.sha256(told.encode()).hexdigest()[:16]


def problem() -> str | None:
    """Return why the courier's last delivery failed; None if it did not."""
    return _text(box() / "behind")


def clone() -> str:
    """Random name of this clone: tells our RUNNING runs from a teammate's on a shared server.

    Beside it stand the numbers that the file system gave the folder and the file: a copy of them has others, and so is a clone of
    its own, whose notes on running trainings are the original's.
    """
    path = base() / ".clone"  # with a dot, as no model's key has one
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".clone.lock")):  # of several processes that start at once, one names the clone
        name, place = f"{_text(path) or ''} ".split(" ")[:2]
        if not name or place != f"{path.parent.stat().st_ino}.{path.stat().st_ino}":
            name, mine = uuid.uuid4().hex, path.with_name(".clone.part")
            mine.touch()
            mine.write_text(f"{name} {path.parent.stat().st_ino}.{mine.stat().st_ino}", encoding="utf-8")
            mine.replace(path)
    return name


def _text(path: Path) -> str | None:
    """Return what stands in a small file; None where there is none, or it is damaged."""
    try:
        return path.read_text(encoding="utf-8") or None
    except (OSError, ValueError):
        return None


def read(path: Path) -> dict[str, Any]:
    """Return a JSON object, or {} where there is none (yet)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
        raise


def training(folder: Path) -> dict[str, Any]:
    """Return the note of one training, `training.json`; {} where there is none, or it is half of one.

    What it lacks stands there afterwards, so that nobody has to ask: work, started, attempt, clone, ended.
    """
    note = read(folder / "training.json")
    run, tags = note.get("run"), note.get("tags")
    sound = (
        isinstance(run, dict)
        and is_name(run.get("key"))
        and isinstance(run.get("signature"), str)
        and isinstance(run.get("params"), dict)
        and (run.get("dataset") == "" or is_name(run.get("dataset")))
        and (run.get("study", "") == "" or is_name(run["study"]))
        and isinstance(tags, dict)
        and all(isinstance(value, str) for value in tags.values())
        and isinstance(note.get("training"), str | None)
        and note.get("status", "") in (None, *STATUSES)
        and all(isinstance(note.get(name, 0), int | None) for name in ("attempt", "started", "ended"))
        and all(isinstance(note.get(name, ""), str) for name in ("work", "cell"))
    )
    return {"work": "", "attempt": 0, "started": None, "ended": None, "clone": None} | note if sound else {}


def sendings(folder: Path, training: str | None) -> dict[str, Any]:
    """Return what was noted of earlier sendings of this training, or a fresh note: what the server has, it is asked."""
    note = read(folder / "sent.json")
    times, servers = note.get("times"), note.get("servers")
    sound = (
        note.get("training", "") == training
        and isinstance(times, dict)
        and all(isinstance(time, int) for time in times.values())
        and isinstance(servers, dict)
        and all(isinstance(server, dict) and isinstance(server.get("figures", {}), dict) for server in servers.values())
        and all(isinstance(step, int) for server in servers.values() for step in server.get("images", ()))
    )
    return note if sound else {"training": training, "times": {}, "servers": {}}


def ours(note: dict[str, Any]) -> bool:
    """Whether a training was noted by this clone, not by the one that this is a copy of. Notes of before tell nothing."""
    return note.get("clone") in (None, clone())


def restored(key: str) -> dict[str, Any]:
    """Return what models/<key>/model.json says of the training that made it; {} where there is none.

    Anybody may have written that file: what becomes a path or a query is let through by its form alone.
    """
    model = read(paths.model(key) / "model.json") if is_name(key) else {}
    params, signature = model.get("config"), model.get("signature")
    if not isinstance(params, dict) or not is_name(params.get("dataset")):
        return {}
    if not isinstance(signature, str) or not re.fullmatch("[0-9A-Za-z]{1,64}", signature):
        return {}
    return {"key": key, "signature": signature, "params": params, "dataset": params["dataset"]}


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
    def of(path: Path, history: str = "history.csv") -> Source:
        """Files below a trainer's work folder, a model's folder or a snapshot."""
        return Source(path / history, path / "progress", path / "metrics.json", path / "figures")

    @staticmethod
    def workspace(key: str) -> Source:
        """Files of a finished model: the outs of its stages."""
        return Source(paths.model(key) / "history.csv", paths.model(key) / "progress", paths.metrics(key), paths.figures(key))

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield (epoch or iteration, {column: number}) of each whole line of the history; one being written waits."""
        try:
            text = self.history.read_text(encoding="utf-8", errors="replace").replace("\0", "")
        except (FileNotFoundError, NotADirectoryError):
            return
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            counter = "epoch" if "epoch" in row else "iteration"  # of a fit in closed form
            if not re.fullmatch("[0-9]{1,15}", str(row.get(counter))):
                continue
            values = {}
            for column, cell in row.items():
                with suppress(TypeError, ValueError):
                    values[str(column)] = float(cell)
            del values[counter]
            yield int(row[counter]), values

    def pictures(self) -> dict[int, Path]:
        """Collages of the training by epoch, e.g. {1: progress/epoch_0001.png}."""
        numbered = ((re.search(r"([0-9]{1,15})\.png$", path.name), path) for path in sorted(self.progress.glob("*.png")))
        return {int(match[1]): path for match, path in numbered if match}

    def measures(self) -> dict[str, float]:
        """Metrics of the evaluation, e.g. {"eval/psnr": 21.3, "error/psnr": 0.1, "baseline/psnr": 20.0}."""
        found, beside = {}, read(paths.context(self.metrics))
        for measure, value in sorted(read(self.metrics).items()):
            context = beside.get(measure)
            for part, number in sorted({**(context if isinstance(context, dict) else {}), "eval": value}.items()):
                with suppress(OverflowError):
                    if isinstance(number, int | float):
                        found[f"{part}/{measure}"] = float(number)
        return found


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
    last = max((int(path.name.partition("-")[2]) for path in earlier), default=0)
    partial.rename(state / f"files-{max(time.time_ns(), last + 1)}")  # later than those, whatever became of the clock
    with suppress(Timeout), FileLock(state / "lock", timeout=0):  # else one of them is being sent, and its sender drops it
        for path in earlier:  # the new one holds all that they hold
            shutil.rmtree(path, ignore_errors=True)
