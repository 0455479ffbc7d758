"""The stages' side of tracking: note on disk what is trained, start the mirror, never raise, never wait for a server.

with launch.mirrored(key, signature, params, dataset, device):    # stages/train.py
    ...train, write models/<key>; the work folder still stands...
with launch.report(key):                                          # stages/evaluate.py
    ...evaluate, write metrics and figures...
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import regen
from regen import errors, paths
from regen.tracking import state
from regen.tracking.secrets import clean, shown

AFTER = 20.0  # seconds of training from which on it can be watched in MLflow
REASONS = (
    ("refused", "connection refused"),
    ("timed out", "no answer in time"),
    ("resolve", "unknown host"),
    ("Remote end closed", "connection closed"),
    ("Connection aborted", "connection closed"),
    ("error code 401", "user or password refused (HTTP 401)"),
    ("error code 403", "not allowed (HTTP 403)"),
    ("PERMISSION_DENIED", "not allowed (HTTP 403)"),
)
PATIENCE = 3.0  # seconds that `finish` gives a mirror that has reached its server and is not behind


class Mirror:
    """A child process that tells MLflow about one training or evaluation; inert where tracking is off.

    The child reads a pipe that only this process holds: when it closes, by `finish` or because this process was killed,
    the child sends the rest and ends.
    """

    def __init__(
        self, folder: Path | None = None, source: state.Source | None = None, mode: str = "train", after: float = AFTER
    ) -> None:
        """Start the child for the training noted in `folder`; nothing without one."""
        self.folder, self.source, self.mode = folder, source, mode
        self.noted = state.training(folder) if folder else {}
        self.child: subprocess.Popen[bytes] | None = None
        if folder:
            state.say(folder, "waiting")
            try:
                self.child = spawn(folder, mode, after)
            except OSError as error:  # no process or memory to spare: `finish` still keeps all for `sync`
                say(f"{error}; `make mlflow-sync` sends this run later")

    def finish(self, status: str = "FINISHED") -> None:
        """End the run as FINISHED, FAILED or KILLED. Returns within a few seconds; `sync` sends what is left then."""
        folder, self.folder = self.folder, None
        if folder is None or self.source is None:
            return
        try:
            if self.mode == "train" or status == "FINISHED":
                state.snapshot(folder, self.source)
            if self.mode == "train":
                noted = state.training(folder) or self.noted
                state.write(folder / "training.json", noted | {"status": status, "ended": state.milliseconds()})
        except Exception as error:
            say(f"{reason(error)}; this run stays incomplete in MLflow")
        try:
            self._let_go(folder)
        except Exception as error:
            say(f"{reason(error)}; `make mlflow-sync` sends what is missing")

    def _let_go(self, folder: Path) -> None:
        """Tell the child that the stage has ended, and give it a moment."""
        if self.child is None or self.child.stdin is None:
            return
        said = state.said(folder)
        self.child.stdin.close()
        uri = state.server()
        if said == "waiting":  # the courier's from here on; how it fared with the last letters, it has noted
            if problem := state.problem():
                say(f"{shown(uri)}: {problem}; `make mlflow-sync` sends what is missing")
            return
        try:
            self.child.wait(timeout=PATIENCE if said == "ready" else 0.2)  # a server that is slow now stays slow
        except subprocess.TimeoutExpired:
            if said != "behind" and not uri.startswith("sqlite:"):  # a file does not go away
                say(f"still sending to {shown(uri)}; should that fail, `make mlflow-sync` sends the rest")

    def __enter__(self) -> Mirror:
        """Return the mirror; leaving the block finishes it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish as FINISHED, as KILLED after Ctrl-C, as FAILED after any other exception (which goes on)."""
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.finish("FINISHED" if kind is None else "KILLED" if stopped else "FAILED")


def mirrored(key: str, signature: str, params: Mapping[str, Any], dataset: str, device: str, after: float = AFTER) -> Mirror:
    """Note one training and start its mirror; one that did not succeed before is continued in the same MLflow run.

    A training that ends within `after` seconds is sent when it has ended.

    The trainer's files are looked for in `.work/train/<key>/<signature>/`, its lock beside that folder (`.lock`).
    """
    try:
        if not wanted():
            return Mirror()
        folder = state.folder(key, signature)
        before = state.training(folder)
        if before.get("status", "FINISHED") == "FINISHED" or not state.ours(before):  # none, a complete one, another clone's
            before = {"training": uuid.uuid4().hex, "attempt": 0, "started": state.milliseconds()}
            (folder / "pace.csv").unlink(missing_ok=True)  # of another training
        work = (paths.training(key) / signature).resolve()
        attempt = before["attempt"] + 1
        training = {
            "training": before["training"],
            "attempt": attempt,
            "started": before["started"],
            "status": None,
            "clone": state.clone(),
            "work": str(work),
            "run": {"key": key, "signature": signature, "params": dict(params), "dataset": dataset},
            "tags": tags(f"train@{key}", "stages/train.py") | {"device": device, "attempt": str(attempt)},
        }
        state.write(folder / "training.json", training)
        state.write(folder.parent / "current.json", {"signature": signature})
        return Mirror(folder, state.Source.of(work), after=after)
    except Exception as error:
        say(f"{reason(error)}; this training is not mirrored")
        return Mirror()


def report(key: str) -> Mirror:
    """Start the mirror of one evaluation: on leaving, metrics and figures go to the run that trained the model."""
    try:
        run = state.restored(key)
        if not run or not wanted():
            return Mirror()
        folder = state.folder(key, run["signature"])
        if not state.training(folder):
            state.note_restored(folder, run)
        return Mirror(folder, state.Source.workspace(key), "evaluate")
    except Exception as error:
        say(f"{reason(error)}; this evaluation is not mirrored")
        return Mirror()


def wanted() -> bool:
    """Whether anything is to be mirrored, and can be."""
    if not state.server():
        return False
    if importlib.util.find_spec("mlflow") is None:
        say("mlflow is not installed, so nothing is mirrored")
        return False
    return True


def tags(stage: str, script: str) -> dict[str, str]:
    """Return what a run is told of the stage that made it, and of the code."""
    environment = os.environ
    found = {
        "dvc.stage": environment.get("DVC_STAGE") or stage,
        "dvc.exp_name": environment.get("DVC_EXP_NAME"),
        "dvc.exp_baseline_rev": environment.get("DVC_EXP_BASELINE_REV"),
        "mlflow.source.name": script,
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "torch": importlib.metadata.version("torch"),
    }
    made = [f":(exclude){path}" for path in ("dvc.lock", "metrics", "docs")]  # what a run changes itself
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", *made)
    if changes is not None:
        found["git.dirty"] = str(bool(changes)).lower()
    return {name: value for name, value in found.items() if value}


def git(*arguments: str) -> str | None:
    """Return what git says, or None where it can't say anything."""
    try:
        answer = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def spawn(folder: Path, mode: str, after: float) -> subprocess.Popen[bytes]:
    """Start the child that sends what is noted in `folder`, once the pipe to it is closed or after some seconds."""
    return subprocess.Popen(
        [sys.executable, "-m", "regen.tracking", str(folder), mode, str(state.box()), str(after)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": _python_path(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C reaches the stage, which decides how the run ends
    )


def _python_path() -> str:
    own = str(Path(regen.__file__).resolve().parents[1])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def reason(error: Exception) -> str:
    """Return what went wrong in a few words, without what opens the server."""
    text = clean(str(error), state.server())
    for sign, words in REASONS:
        if sign in text:
            return words
    return errors.shown(f"{type(error).__name__}: {' '.join(text.split())}")[:200]  # a server may say what a terminal would obey


def say(line: str) -> None:
    """Print one line of tracking."""
    with suppress(OSError, ValueError):  # a terminal that is gone, a log on a full disk
        print(f"tracking: {line}", file=sys.stderr, flush=True)
