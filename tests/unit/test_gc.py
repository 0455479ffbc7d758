"""`make gc` with real git and DVC: what anybody's branch, tag or experiment names stays, on the remote as well."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from regen.commands import gc
from regen.errors import UserError
from tests import smoke

EXPERIMENT = f"refs/exps/{'a' * 2}/{'b' * 38}/wide"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose remote has, beyond its own, somebody's branch and experiment; on the storage lies also what nobody names."""
    for name, value in smoke.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    from dvc.repo import Repo

    first, origin, mine = tmp_path / "first", tmp_path / "origin.git", tmp_path / "mine"
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(first))
    monkeypatch.chdir(first)
    Repo.init().close()
    remote = f"[core]\nremote = store\nanalytics = false\n['remote \"store\"']\nurl = {tmp_path}/store\n"
    (first / ".dvc/config").write_text(remote)
    for name in ("orphan", "tag", "theirs", "experiment", "branch", "main"):
        (first / "data.txt").write_text(name)
        with Repo() as repo:
            repo.add("data.txt")
            repo.push()
        if name != "orphan":
            git(first, "checkout", "--quiet", "--orphan", f"of_{name}")
            git(first, "add", "--all")
            git(first, "commit", "--quiet", "--message", name)
    git(first, "tag", "kept", "of_tag")
    git(first, "update-ref", EXPERIMENT, "of_experiment")
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    git(first, "push", "--quiet", str(origin), "of_main:main", "of_branch:mine", "kept", EXPERIMENT)
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(origin), str(mine))
    git(mine, "branch", "--quiet", "mine", "origin/mine")
    git(first, "push", "--quiet", str(origin), "of_theirs:theirs")  # after I have cloned
    monkeypatch.chdir(mine)
    return mine


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def stored(clone: Path) -> set[str]:
    return {path.read_text() for path in (clone.parent / "store/files/md5").rglob("*") if path.is_file()}


def test_on_the_remote_what_anybody_names_stays(clone: Path) -> None:
    assert stored(clone) == {"orphan", "tag", "theirs", "experiment", "branch", "main"}
    before = git(clone, "for-each-ref", "refs/heads", "refs/exps")
    gc.collect(cloud=True, more=["--force", "--quiet"])
    assert stored(clone) == {"tag", "theirs", "experiment", "branch", "main"}
    assert git(clone, "for-each-ref", "refs/heads", "refs/exps") == before


def test_nothing_is_removed_where_a_remote_cannot_be_asked(clone: Path) -> None:
    (clone.parent / "origin.git").rename(clone.parent / "gone.git")
    before = stored(clone)
    with pytest.raises(UserError, match=r"git fetch: .* nothing was removed"):
        gc.collect(cloud=True, more=["--force", "--quiet"])
    assert stored(clone) == before


def test_the_remote_is_left_alone_unless_asked_for(clone: Path) -> None:
    before = stored(clone)
    gc.collect(more=["--force", "--quiet"])
    assert stored(clone) == before
