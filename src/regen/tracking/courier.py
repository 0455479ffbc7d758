"""Deliver what short trainings and evaluations left: one process for all of them, as importing mlflow takes seconds.

A stage's child that has something to send puts a letter into the letter box, then tries to become the courier. There is one
courier a box. A child that finds another one at work can end: that one looks into the box once more after it has stepped down.
"""

from __future__ import annotations

import signal
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from regen.tracking import launch, state
from regen.tracking.connection import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLL = 0.5  # seconds between two looks into the box
LINGER = 15.0  # seconds that a courier waits for the next stage's letter
GRACE = 120  # seconds for one delivery; what is not sent by then is left to `sync`


def post(box: Path, folder: Path, mode: str, tags: dict[str, str]) -> None:
    """Ask for the delivery of one training (mode `train`) or evaluation (mode `evaluate`) that has ended."""
    letter = {"folder": str(folder), "mode": mode, "tags": tags}
    state.write(box / f"{time.time_ns()}-{folder.parent.name}.json", letter)


def carry(box: Path) -> None:
    """Deliver all letters, unless a courier is at work already."""
    while letters(box):
        try:
            with FileLock(box / "lock", timeout=0):
                _serve(box)
        except Timeout:
            return


def alarm(seconds: int) -> None:
    """End this process after some seconds, also one that hangs in a call; 0 takes that back. Windows has no such thing."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)  # its default action ends the process


def letters(box: Path) -> list[Path]:
    """Letters that nobody has delivered, oldest first."""
    return sorted(box.glob("*.json"))


def _serve(box: Path) -> None:
    courier, last = _Courier(box), time.monotonic()
    while time.monotonic() - last < LINGER:
        for path in letters(box):
            alarm(GRACE)  # ends a process that hangs in a call: the next stage's child takes over
            letter = state.read(path)
            path.unlink(missing_ok=True)  # tried once: after a failure `sync` sends it
            courier.deliver(letter)
            last = time.monotonic()
        alarm(0)
        time.sleep(POLL)


class _Courier:
    def __init__(self, box: Path) -> None:
        self.box = box
        self.connection: tuple[MlflowClient, str] | None = None

    def deliver(self, letter: dict[str, Any]) -> None:
        from regen.tracking import registry
        from regen.tracking.mirror import Sender

        uri = state.server()
        try:
            folder, mode, tags = Path(letter["folder"]), letter["mode"], letter["tags"]
            with FileLock(folder / "lock"):  # a mirror of an earlier attempt may still be sending
                self.connection = self.connection or connect(uri)
                sender = Sender(*self.connection, uri, folder)
                sender.describe(tags)
                if mode == "evaluate":
                    sender.link()
                measures = [state.Source.of(copy).measures() for copy in state.snapshots(folder)[-1:]]
                sender.deliver()
                if mode == "evaluate" and measures:
                    registry.register(sender, measures[0])
            with suppress(FileNotFoundError):
                (self.box / "behind").unlink()
        except Exception as error:
            traceback.print_exc()
            self.connection = None
            with suppress(OSError):  # a full disk
                (self.box / "behind").write_text(launch.reason(error), encoding="utf-8")
