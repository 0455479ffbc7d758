"""Two runs of the smoke preset that the tests of this folder share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import filelock
import pytest

from tests import smoke


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two copies of the repository with the smoke preset, run at the same time from the downloads to the report.

    One by `dvc repro`, one by `regen repro`. Where tests run in several processes, the first one makes them for all; no test
    changes them.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folders, done = [base / "smoke/regen", base / "smoke_again/regen"], base / "smoke_done"
    with filelock.FileLock(base / "smoke.lock"):
        if not done.exists():
            done.write_text("failed")
            _run(folders)
            done.write_text("ok")
    assert done.read_text() == "ok", "the smoke runs failed in another process"
    return folders


def _run(folders: list[Path]) -> None:
    for folder in folders:
        folder.parent.mkdir()
        smoke.copy(folder)
        smoke.apply(folder, *smoke.overrides("smoke"))
    with (folders[1] / ".git/run.log").open("w") as log:
        environment = smoke.environment(folders[1]) | {"MLFLOW_TRACKING_URI": ""}
        second = subprocess.Popen(["regen", "repro", "--jobs", "1"], cwd=folders[1], env=environment, stdout=log, stderr=log)
        try:
            first = smoke.run(folders[0], "dvc", "repro", check=False, MLFLOW_TRACKING_URI="")
            second.wait()
        finally:
            second.kill()  # where the first one took too long: it would go on for minutes
    assert first.returncode == 0, first.stdout[-4000:]
    assert second.returncode == 0, (folders[1] / ".git/run.log").read_text()[-4000:]
    for folder in folders:
        smoke.run(folder, "git", "add", "--all")
        smoke.run(folder, "git", "commit", "--quiet", "--message", "run")


@pytest.fixture(scope="module")
def copy(copies: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the first of them, for the tests of one file."""
    folder = tmp_path_factory.mktemp("copy") / "regen"
    shutil.copytree(copies[0], folder, symlinks=True)
    return folder
