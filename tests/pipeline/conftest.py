"""Two runs of the smoke preset that the tests of this folder share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import smoke


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two copies of the repository with the smoke preset, run at the same time from the downloads to the report."""
    folders = [tmp_path_factory.mktemp("smoke") / "regen" for _ in range(2)]
    for folder in folders:
        smoke.copy(folder)
        smoke.apply(folder, *smoke.overrides("smoke"))
    with (folders[1] / ".git/run.log").open("w") as log:
        environment = smoke.environment(folders[1]) | {"MLFLOW_TRACKING_URI": ""}
        second = subprocess.Popen(["dvc", "repro"], cwd=folders[1], env=environment, stdout=log, stderr=log)
        first = smoke.run(folders[0], "dvc", "repro", check=False, MLFLOW_TRACKING_URI="")
        second.wait()
    assert first.returncode == 0, first.stdout[-4000:]
    assert second.returncode == 0, (folders[1] / ".git/run.log").read_text()[-4000:]
    for folder in folders:
        smoke.run(folder, "git", "add", "--all")
        smoke.run(folder, "git", "commit", "--quiet", "--message", "run")
    return folders


@pytest.fixture(scope="session")
def copy(copies: list[Path]) -> Path:
    """The first of them."""
    return copies[0]
