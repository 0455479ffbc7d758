"""The child process beside a stage: tail its files, send what is new, end when it ends. Nothing here can hurt the stage."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from filelock import FileLock

from regen.tracking import lineage, state

POLL = 1.0  # seconds between two looks at the files
SLOWEST_POLL = 30.0  # while the server does not answer
GRACE = 120  # seconds after the stage's end; what is not sent by then is left to `sync`


def quieten(timeout: int) -> None:
    """Set MLflow's environment, before it is imported: bounded waits, no own retries, nothing sent anywhere else.

    MLflow would repeat a request whose answer was lost, and so store a point twice; we ask what arrived first.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ |= {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def follow(folder: Path, mode: str) -> None:
    """Mirror one training (mode `train`) or evaluation (mode `evaluate`) until the stage that started this ends."""
    os.nice(10)
    quieten(timeout=10)
    voice = _own_voice(folder / "log")
    parent, ended = os.getppid(), threading.Event()
    threading.Thread(target=_watch, args=(ended, voice), daemon=True).start()
    with FileLock(folder / "lock"):  # a mirror of an earlier attempt may still be sending
        _Follower(folder, mode, voice).run(parent, ended)


class _Follower:
    def __init__(self, folder: Path, mode: str, voice: TextIO) -> None:
        self.folder, self.training, self.voice = folder, mode == "train", voice
        self.said = False

    def run(self, parent: int, ended: threading.Event) -> None:
        from regen.tracking.mirror import Sender, connect

        uri = state.server()
        tags = self._tags()
        sender, delay = None, POLL
        while True:
            last = ended.is_set()
            try:
                if sender is None:
                    sender = Sender(*connect(uri), uri, self.folder)
                    sender.describe(tags)
                    if self.training:
                        sender.reopen()
                    else:
                        sender.link()
                if last:
                    sender.deliver()
                elif self.training:
                    sender.send(state.Source.of(Path(sender.training["work"])))
                state.say(self.folder, "ready")
                delay = POLL
            except Exception as error:
                traceback.print_exc()
                state.say(self.folder, "behind")
                self._say(f"{state.shown(uri)}: {reason(error)}; the work goes on, `make mlflow-sync` sends what is missing")
                sender, delay = None, min(2 * delay, SLOWEST_POLL)
            if last:
                return
            ended.wait(delay)
            if os.getppid() != parent:  # killed, while a process that it forked keeps the pipe open
                _end(ended, self.voice)

    def _tags(self) -> dict[str, str]:
        noted = state.read(self.folder / "training.json")
        if not self.training:
            return lineage.of_model(str(noted["run"]["key"]))
        tags = lineage.of_training(noted["run"])
        state.write(self.folder / "lineage.json", tags)  # by the time of a `sync`, dvc.lock may tell of another data set
        return {**tags, **noted["tags"]}

    def _say(self, line: str) -> None:
        if not self.said:
            self.said = True
            with suppress(OSError, ValueError):  # the stage has ended, or nobody reads its stderr
                print(f"tracking: {line}", file=self.voice, flush=True)


def reason(error: Exception) -> str:
    """Return the cause of a failed call in a few words."""
    text = str(error)
    for sign, words in (
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("resolve", "unknown host"),
        ("Remote end closed", "connection closed"),
        ("Connection aborted", "connection closed"),
    ):
        if sign in text:
            return words
    return f"{type(error).__name__}: {' '.join(text.split())[:160]}"


def _own_voice(log: Path) -> TextIO:
    """Send what libraries print to a log, and return the stage's stderr for lines of our own."""
    voice = os.fdopen(os.dup(2), "w")
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    return voice


def _watch(ended: threading.Event, voice: TextIO) -> None:
    """Wait for the end of the stage: only it holds the other end of our stdin."""
    os.read(0, 1)
    _end(ended, voice)


def _end(ended: threading.Event, voice: TextIO) -> None:
    """Let go of the stage's stderr, as a reader of it would wait for us, and end soon in any case."""
    signal.alarm(GRACE)  # its default action ends the process, also one that hangs in a call
    voice.close()
    ended.set()
