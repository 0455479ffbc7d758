"""Trainings that only write what a training writes, an epoch at a word, and so last as long as a test wants."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

EPOCHS = 40
TRAINER = f"""
import sys, time
from pathlib import Path
from PIL import Image
from regen.tracking import launch
key = sys.argv[1]
work = Path(".work/train") / key / "s1"
(work / "progress").mkdir(parents=True)
with launch.mirrored(key, "s1", {{"beta": 1.0}}, "punks", "cpu", after=0):
    for epoch in range(1, {EPOCHS} + 1):
        with (work / "history.csv").open("a") as file:
            file.write(("epoch,loss\\n" if epoch == 1 else "") + f"{{epoch}},{{1 / epoch}}\\n")
        if epoch & (epoch - 1) == 0:
            Image.new("RGB", (8, 8), (epoch, 0, 0)).save(work / "progress" / f"epoch_{{epoch:04d}}.png")
        while not Path(f"go{{epoch}}").exists():
            time.sleep(0.1)
"""


@dataclass
class Trainings:
    """Trainings of one user, at work side by side.

    Attributes:
        folder: the user's.
        environment: says where the server is, and who the user is.
    """

    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @contextmanager
    def of(self, *keys: str) -> Iterator[None]:
        """A training of each model, until the end of the block at the latest."""
        self.folder.mkdir()
        for name in ("params.yaml", "dvc.yaml"):
            (self.folder / name).touch()
        command = [sys.executable, "-c", TRAINER]
        try:
            for key in keys:
                self.started.append(
                    subprocess.Popen([*command, key], cwd=self.folder, env=self.environment, text=True, stderr=subprocess.PIPE)
                )
            yield
        finally:
            for trainer in self.started:
                trainer.kill()

    def go(self, first: int, last: int) -> None:
        """Let them do the epochs from `first` to before `last`."""
        for epoch in range(first, last):
            (self.folder / f"go{epoch}").touch()
            time.sleep(0.5)

    def end(self) -> None:
        """Wait for their ends, which are as if nothing had been."""
        for trainer in self.started:
            _, said = trainer.communicate()
            assert trainer.returncode == 0, said
            assert "Traceback" not in said

    def sync(self) -> subprocess.CompletedProcess[str]:
        """`regen sync`."""
        command = [sys.executable, "-m", "regen.cli", "sync"]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)

    def synced(self) -> bool:
        """Whether the server now has all; false while mirrors are at work."""
        done = self.sync()
        return done.returncode == 0 and "is being mirrored" not in done.stdout


def until(true: Callable[[], bool], seconds: float = 600) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.5)
