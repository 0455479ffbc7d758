"""The machine at hand."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

from regen import paths


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settle() -> None:
    """Give this process, and those that it starts, a name and a home where there is none: DVC does not start without them.

    So it is in a container that runs under a number.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["USER"] = f"user{os.getuid()}" if hasattr(os, "getuid") else "user"
    try:
        home = Path.home()
        if home.is_dir() and (home != Path(home.anchor) or os.access(home, os.W_OK)):
            return
    except (RuntimeError, OSError):
        pass
    folder = (paths.WORK / "home").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a checkout that cannot be written
        folder = Path(tempfile.mkdtemp(prefix="regen-home-"))
    os.environ["HOME"] = str(folder)
