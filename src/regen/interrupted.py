"""What a kill or a full disk leaves of files that DVC writes in place, put right before a run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml

from regen import paths
from regen.data import folders
from regen.errors import UserError

WHOLE = paths.WORK / "dvc.lock"  # the last one that was whole
LOCKED = Path(".dvc", "tmp", "rwlock")  # in it DVC's processes write down which paths they read and write


def mend() -> None:
    """Put DVC's files right; what was run is not run again.

    Raises:
        UserError: dvc.lock holds a merge in conflict, or half of it is left and there is no whole one to take.
    """
    _lock()
    _paths_in_use()


def _lock() -> None:
    """Put dvc.lock back to the last whole one where half of it is left."""
    for source in (paths.LOCK, WHOLE):
        text = source.read_text(encoding="utf-8", errors="replace") if source.exists() else None
        if text and re.search("^(<<<<<<<|>>>>>>>)", text, re.MULTILINE):
            raise UserError(f"{paths.LOCK}: a merge that is not resolved; take either side, `git checkout --ours {paths.LOCK}`, "
                            "and run again: DVC's run-cache makes it quick")  # fmt: skip
        if text is not None and not _is_whole(text):
            text = None
        if text is not None or not paths.LOCK.exists():
            break
    else:
        raise UserError(f"{paths.LOCK}: cut short; restore it with `git checkout {paths.LOCK}` and run again")
    if text is not None:
        if source != paths.LOCK:
            print(f"{paths.LOCK}: cut short; the last whole one is taken", file=sys.stderr, flush=True)
            folders.write(paths.LOCK, text)
        WHOLE.parent.mkdir(exist_ok=True)
        folders.write(WHOLE, text)


def _is_whole(text: str) -> bool:
    """Whether all of dvc.lock is there."""
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
    except yaml.YAMLError:
        return False
    stages = content.get("stages") if isinstance(content, dict) else None
    entries = list(stages.values()) if isinstance(stages, dict) else []
    return bool(entries) and text.endswith("\n") and all(isinstance(entry, dict) and "cmd" in entry for entry in entries)


def _paths_in_use() -> None:
    """Remove DVC's file of the paths in use where half of it is left: DVC would refuse every command.

    What it said of processes that still run is lost with it; a killed process wrote it last, and the rest is in no danger from
    a second run, as stages hold locks of their own.
    """
    if _is_json(LOCKED):
        return
    from dvc.lock import make_lock

    with make_lock(f"{LOCKED}.lock", wait=True):  # whoever writes it holds this one
        if not _is_json(LOCKED):
            print(f"{LOCKED}: cut short; removed", file=sys.stderr, flush=True)
            LOCKED.unlink()


def _is_json(path: Path) -> bool:
    """Whether a file is whole, or not there."""
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True
