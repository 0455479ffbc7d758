"""How many examples a second a training takes: seen by the process beside it, noted below .work, and sent from there.

A time must be in no out of DVC, so it stands in no history.csv. The note, `pace.csv`, has a line an epoch; of those that are over
before the process looks again, one for all of them. It is there without any server, and what a server missed is sent later.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from regen.tracking import state

COLUMN = "examples_per_second"


def noted(folder: Path) -> state.Source:
    """Return where the pace of the training in a folder of notes is read, as a history is."""
    return state.Source.of(folder, history="pace.csv")


class Pace:
    """Looks at the history of one training, which may have been interrupted before."""

    def __init__(self, folder: Path) -> None:
        self.note = noted(folder).history
        self.last = max((epoch for epoch, _ in noted(folder).rows()), default=0)
        self.seen: tuple[float, float] | None = None  # examples, and seconds, when the history was last written

    def look(self, source: state.Source) -> None:
        """Note how many examples a second were taken since the last look, if an epoch has ended since."""
        with suppress(OSError):
            written = os.stat(source.history).st_mtime
            epoch, examples = max(((epoch, row.get("examples", 0.0)) for epoch, row in source.rows()), default=(0, 0.0))
            before, self.seen = self.seen, (examples, written)
            if before and examples > before[0] and written > before[1] and epoch > self.last:
                with self.note.open("a", encoding="utf-8") as file:
                    file.write(f"epoch,{COLUMN}\n" * (file.tell() == 0))
                    file.write(f"{epoch},{(examples - before[0]) / (written - before[1]):.6g}\n")
                self.last = epoch
