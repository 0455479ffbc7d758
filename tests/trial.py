"""A trial in no time, in the place of `regen.commands.sweeping.process`: its training and its figure are formulas of its params.

It notes in the workspace's `.work/ran` that it begins and that it ends. Of the trials that a variable names, those of WAITING
wait in the middle of their training until they are ended, those of DIVERGING say there that their loss is not finite, those
of SILENT leave no history.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import yaml

EPOCHS, MIDDLE = 8, 5
LONGEST = 100.0  # seconds that a trial waits where nobody ends it


def note(what: str) -> None:
    """Write a line for the test."""
    with (Path(os.environ["DVC_ROOT"]) / ".work/ran").open("a") as file:
        file.write(f"{what} {os.environ['DVC_EXP_NAME']} {os.getpid()}\n")


def named(variable: str) -> bool:
    """Whether this trial's name stands in a variable."""
    return os.environ["DVC_EXP_NAME"] in os.environ.get(variable, "").split()


def main() -> None:
    """Train, epoch by epoch, and measure."""
    note("begins")
    block = yaml.safe_load(Path("params.yaml").read_text())["models"]["lstm"]
    worth = abs(block["hidden"] - 20) + 100 * block["learning_rate"]
    work, model = Path(".work/train/lstm/0123"), Path("models/lstm")
    work.mkdir(parents=True, exist_ok=True)
    model.mkdir(parents=True, exist_ok=True)
    lines = ["epoch,step,examples,learning_rate,loss"]
    for epoch in range(1, EPOCHS + 1):
        lines.append(f"{epoch},{epoch},{epoch},{block['learning_rate']},{worth * (1 + 1 / epoch):.6g}")
        (work / "part").write_text("\n".join(lines) + "\n")
        (work / "part").replace(work / "history.csv")
        if epoch == MIDDLE and named("DIVERGING"):
            sys.exit("error: lstm: the loss is not finite")
        last = time.monotonic() + LONGEST
        while epoch == MIDDLE and named("WAITING") and time.monotonic() < last:
            time.sleep(0.1)
    if not named("SILENT"):
        (work / "history.csv").replace(model / "history.csv")
    shutil.rmtree(work)
    Path("metrics/lstm.json").write_text(json.dumps({"nats_per_pixel": worth}))
    note("ends")


if __name__ == "__main__":
    main()
