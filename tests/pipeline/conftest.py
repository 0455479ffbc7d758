"""One run of the smoke preset that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import smoke


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the smoke preset, run from the downloads to the report."""
    folder = tmp_path_factory.mktemp("smoke") / "regen"
    smoke.copy(folder)
    smoke.apply(folder, *smoke.overrides("smoke"))
    done = smoke.run(folder, "dvc", "repro", check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    smoke.run(folder, "git", "add", "--all")
    smoke.run(folder, "git", "commit", "--quiet", "--message", "run")
    return folder
