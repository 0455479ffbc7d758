"""A checkout that may be read and not written, such as somebody else's: each command works, or says in a line what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import smoke

RIGHTS = "-dac_override,-dac_read_search,-fowner"  # by which root writes what nobody may
BESIDE = f"{Path(sys.executable).parent}/"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository that may not be written."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv (Debian: util-linux)")
    folder = tmp_path_factory.mktemp("read_only") / "regen"
    smoke.copy(folder)
    kept = {path: path.stat().st_mode for path in (folder, *folder.rglob("*")) if not path.is_symlink()}
    for path, mode in kept.items():
        path.chmod(mode & ~0o222)
    yield folder
    for path, mode in kept.items():
        path.chmod(mode)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    unprivileged = ["setpriv", "--bounding-set", RIGHTS, "--inh-caps", RIGHTS] if os.geteuid() == 0 else []
    environment = smoke.environment(folder) | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*unprivileged, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_the_checkout_cannot_be_written(checkout: Path) -> None:
    assert run(checkout, "touch", "here").returncode == 1


@pytest.mark.parametrize("command", ["check", "machine", "verify", "--help"])
def test_what_only_reads_works(checkout: Path, command: str) -> None:
    done = run(checkout, f"{BESIDE}regen", command)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "regen repro letters", "regen report", "regen sync", "python stages/check.py", "python stages/download.py letters",
    ],
)  # fmt: skip
def test_what_writes_says_in_a_line_where_it_may_not(checkout: Path, command: str) -> None:
    done = run(checkout, *f"{BESIDE}{command}".split(" "))
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "ermission denied" in done.stderr
