"""python -m regen.tracking FOLDER MODE BOX AFTER: mirror one training or evaluation while it runs. Stages start it."""

from __future__ import annotations

import sys
from pathlib import Path

import regen.process  # noqa: F401
from regen.tracking.follow import follow

if __name__ == "__main__":
    folder, mode, box, after = sys.argv[1:]
    follow(Path(folder), mode, Path(box), float(after))
