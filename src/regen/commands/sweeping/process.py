"""One experiment, in the process of its copy: `python -m regen.commands.sweeping.process LOCK JOBS [NAME ...]`."""

from __future__ import annotations

import sys

from filelock import FileLock

import regen.process  # noqa: F401
from regen import host, paths, schedule
from regen.errors import UserError, reported

LAID_OUT = paths.WORK / "laid_out"


def run(jobs: int, names: list[str]) -> None:
    """Take what has been run from DVC's cache, by links, and run the rest; with names, only these and what they need."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if not LAID_OUT.exists():
        try:
            with Repo() as repo:
                repo.checkout(force=True, allow_missing=True)
        except DvcException as error:
            raise UserError(f"dvc: {' '.join(str(error).split())}") from None
        LAID_OUT.parent.mkdir(exist_ok=True)
        LAID_OUT.touch()
    schedule.repro(jobs, names)


if __name__ == "__main__":
    with reported():
        host.settle()
        with FileLock(sys.argv[1]):
            run(int(sys.argv[2]), sys.argv[3:])
