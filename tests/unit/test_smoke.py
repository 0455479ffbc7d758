"""The copy of the smoke run: it takes the place of an earlier copy, and of nothing else."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from regen.errors import UserError
from tests import smoke


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository that is copied."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("a")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    monkeypatch.setattr(smoke, "ROOT", root)
    return root


def test_an_earlier_copy_gives_way(repository, tmp_path):
    folder = tmp_path / "work/copy"
    for _ in range(2):
        smoke.copy(folder)
        assert (folder / "a.txt").read_text() == "a"
        assert not (folder / "left").exists()
        (folder / "left").touch()


def test_where_git_lists_nothing_it_says_why(repository, tmp_path):
    shutil.rmtree(repository / ".git")
    with pytest.raises(UserError, match="git ls-files: fatal: not a git repository"):
        smoke.copy(tmp_path / "copy")


def test_a_copy_that_was_killed_gives_way(repository, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    with monkeypatch.context() as patch:
        patch.setattr(smoke.shutil, "copy2", lambda *files: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            smoke.copy(folder)
    smoke.copy(folder)
    assert (folder / "a.txt").exists()


@pytest.mark.parametrize("place", ["home", "home/git", "root"])
def test_a_folder_of_somebody_s_own_is_refused_and_stays(repository, tmp_path, place):
    for name in ("home/precious", "home/git/.git/config"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("gold")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="expected a new or empty folder"):
        smoke.copy(tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before
