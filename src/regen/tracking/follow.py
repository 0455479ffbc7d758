"""The child process beside a stage: tail a long training's files and send what is new. Nothing here can hurt the stage."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from filelock import FileLock

from regen.tracking import courier, lineage, state
from regen.tracking.connection import connect, quieten
from regen.tracking.courier import GRACE
from regen.tracking.launch import reason
from regen.tracking.pace import Pace
from regen.tracking.secrets import CleanLog, shown

POLL = 1.0  # seconds between two looks at the files
SLOWEST_POLL = 30.0  # while the server does not answer


def follow(folder: Path, mode: str, box: Path, after: float) -> None:
    """Mirror one training or evaluation of a stage.

    A training is followed from `after` seconds on, until the stage that started this ends. A shorter one, and an evaluation,
    waits for its end and goes with the courier: most of what it takes to send them is importing mlflow.
    """
    if hasattr(os, "nice"):
        os.nice(10)
    quieten(timeout=10)
    voice = _own_voice(folder / "log")
    parent, ended = os.getppid(), threading.Event()
    threading.Thread(target=_watch, args=(ended, voice), daemon=True).start()
    tags = _tags(folder, mode)
    if mode == "train" and not _end_within(after, ended, parent):
        state.say(folder, "starting")
        with FileLock(folder / "lock"):  # a mirror of an earlier attempt may still be sending
            _Follower(folder, tags, voice).run(parent, ended)
    else:
        _end_within(math.inf, ended, parent)
        _end(ended, voice)
        courier.post(box, folder, mode, tags)
        courier.carry(box)


def _end_within(seconds: float, ended: threading.Event, parent: int) -> bool:
    """Wait for the end of the stage; returns whether it came."""
    last = time.monotonic() + seconds
    while not ended.wait(min(POLL, max(last - time.monotonic(), 0))):
        if os.getppid() != parent:  # killed, while a process that it forked keeps the pipe open
            return True
        if time.monotonic() >= last:
            return False
    return True


def _tags(folder: Path, mode: str) -> dict[str, str]:
    noted = state.training(folder)
    if not noted:
        raise ValueError(f"{folder}: no note of a training, or half of one")
    if mode == "evaluate":
        return lineage.of_model(str(noted["run"]["key"]))
    tags = lineage.of_training(noted["run"])
    state.write(folder / "lineage.json", tags)  # by the time of a `sync`, dvc.lock may tell of another data set
    return {**tags, **noted["tags"]}


class _Follower:
    def __init__(self, folder: Path, tags: dict[str, str], voice: TextIO) -> None:
        self.folder, self.tags, self.voice = folder, tags, voice
        self.source = state.Source.of(Path(state.training(folder).get("work", "")))
        self.said = False
        self.pace = Pace(folder)

    def run(self, parent: int, ended: threading.Event) -> None:
        from regen.tracking.machine import Machine, watched
        from regen.tracking.mirror import Sender

        uri = state.server()
        sender, machine, delay = None, None, POLL
        while True:
            last = ended.is_set()
            self.pace.look(self.source)
            try:
                if sender is None:
                    sender = Sender(*connect(uri), uri, self.folder)
                    sender.describe(self.tags)
                    sender.reopen()
                    if machine:  # of before an outage: two would send everything twice
                        machine.end()
                    machine = Machine(sender.client, sender.run.info.run_id) if watched() and not last else None
                if machine and last:
                    machine.end()
                if last:
                    sender.deliver()
                else:
                    sender.send(self.source)
                state.say(self.folder, "ready")
                delay = POLL
            except Exception as error:
                traceback.print_exc()
                with suppress(OSError):  # a full disk
                    state.say(self.folder, "behind")
                self._say(f"{shown(uri)}: {reason(error)}; the work goes on, `make mlflow-sync` sends what is missing")
                sender, delay = None, min(2 * delay, SLOWEST_POLL)
            if last:
                return
            ended.wait(delay)
            if os.getppid() != parent:  # killed, while a process that it forked keeps the pipe open
                _end(ended, self.voice)

    def _say(self, line: str) -> None:
        if not self.said:
            self.said = True
            with suppress(OSError, ValueError):  # the stage has ended, or nobody reads its stderr
                print(f"tracking: {line}", file=self.voice, flush=True)


def _own_voice(log: Path) -> TextIO:
    """Send what libraries print to a log, and return the stage's stderr for lines of our own."""
    voice = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    sys.stderr = clean = CleanLog(log, state.server())
    os.dup2(clean.fileno(), 2)
    return voice


def _watch(ended: threading.Event, voice: TextIO) -> None:
    """Wait for the end of the stage: only it holds the other end of our stdin."""
    os.read(0, 1)
    _end(ended, voice)


def _end(ended: threading.Event, voice: TextIO) -> None:
    """Let go of the stage's stderr, as a reader of it would wait for us, and end soon in any case."""
    courier.alarm(GRACE)
    with suppress(OSError):
        voice.close()
    ended.set()
