"""python -m regen.tracking sync: bring the MLflow server up to date. (`mirror` is what stages start.)"""

from __future__ import annotations

import argparse
from pathlib import Path

import regen.process  # noqa: F401
from regen.errors import reported
from regen.tracking.follow import follow
from regen.tracking.sync import sync


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(prog="python -m regen.tracking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sync", help="send what is missing, link restored models, close orphaned runs")
    mirror = commands.add_parser("mirror", help="(started by stages) mirror one training or evaluation while it runs")
    mirror.add_argument("folder", type=Path)
    mirror.add_argument("mode", choices=["train", "evaluate"])
    mirror.add_argument("box", type=Path)
    mirror.add_argument("after", type=float)
    given = parser.parse_args()
    if given.command == "sync":
        with reported():
            sync()
    else:
        follow(given.folder, given.mode, given.box, given.after)


if __name__ == "__main__":
    main()
