"""A merge conflict in dvc.lock, stage by stage: of each stage the side that ran it, so that neither side's work is run again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from regen import params, paths
from regen.commands.revisions import git
from regen.documents import parsed
from regen.errors import UserError

BASE, OURS, THEIRS = 1, 2, 3  # git's numbers of the three files of a conflict
WRITTEN = (str(paths.METRICS), "docs/showcase.png")  # by stages: they follow from what is run


def resolve() -> None:
    """Merge dvc.lock, run what is left to run, and stage the outcome for the commit of the merge.

    Raises:
        UserError: there is no conflict in dvc.lock, other files are in conflict too, or a stage fails.
    """
    unmerged = (git("diff", "--name-only", "--relative", "--diff-filter=U") or "").splitlines()
    if str(paths.LOCK) not in unmerged:
        raise UserError("dvc.lock: no merge conflict to resolve; a merge makes one where both sides ran something")
    if other := [name for name in unmerged if name != str(paths.LOCK) and not name.startswith(WRITTEN)]:
        raise UserError(f"{', '.join(other)}: in conflict, too; resolve that first and `git add` it, then run this again")
    params.read()  # a wrong name may lead out of this folder, where DVC's checkout would remove what is there
    merged = merge(*(_side(number) for number in (BASE, OURS, THEIRS)))
    for name in unmerged:
        if name != str(paths.LOCK):
            git("checkout", "--ours", "--", name)
    paths.LOCK.write_text(yaml.safe_dump(merged, sort_keys=False, allow_unicode=True), encoding="utf-8")
    _run("checkout", "--allow-missing", "--force")
    asked = subprocess.run([sys.executable, "-m", "dvc", "config", "core.remote"], capture_output=True, check=False)
    shared = asked.returncode == 0 and bool(asked.stdout.strip())
    if shared:
        _run("pull", "--run-cache", "--allow-missing")
    _run("repro", *(["--pull"] if shared else []))
    git("add", "--", str(paths.LOCK), *(name for name in WRITTEN if Path(name).exists()))


def merge(base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lock with, of each stage, what the side says that changed it; ours where both did."""
    stages = {}
    before, mine, other = (side.get("stages") or {} for side in (base, ours, theirs))
    for name in [*mine, *(name for name in other if name not in mine)]:
        changed = mine.get(name) != before.get(name)
        found = mine.get(name) if changed else other.get(name)
        if found is not None:
            stages[name] = found
    return {**{name: value for name, value in ours.items() if name != "stages"}, "stages": stages}


def _side(number: int) -> Mapping[str, Any]:
    content = parsed(git("show", f":{number}:./{paths.LOCK}") or "{}", f"{paths.LOCK} of side {number}")
    if not isinstance(content, dict) or not isinstance(content.get("stages", {}), dict):
        raise UserError(f"{paths.LOCK}: one side of the merge is damaged; take the other: git checkout --ours dvc.lock")
    return content


def _run(*arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", "dvc", *arguments], check=False).returncode:
        raise UserError(
            f"dvc {' '.join(arguments)}: failed, for the reason above; dvc.lock is merged: run it again once that is mended"
        )
