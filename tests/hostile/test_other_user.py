"""Two users on one checkout: the second one goes on where the first one was, or reads in a line what may not be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chaos import kills
from tests.hostile import full_disk

ROOT = Path(__file__).parents[2]
# Who reads everything, as Python may lie where nobody else looks, and writes what everybody may.
OTHER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
         "--ambient-caps=+dac_read_search"]  # fmt: skip
STAGES = {str(stage): stage for stage in full_disk.STAGES}


def may_be_another() -> bool:
    """Whether this machine lets this user be another one, who can start Python."""
    if shutil.which("setpriv") is None:
        return False
    return subprocess.run([*OTHER, sys.executable, "-c", ""], check=False, capture_output=True, cwd="/").returncode == 0


pytestmark = pytest.mark.skipif(
    not may_be_another(), reason="this machine lets this user be no other one: not root, or no setpriv"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of root's with a prepared data set, below folders that everybody may enter."""
    folder = tmp_path_factory.mktemp("shared") / "regen"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        (folder / "params.yaml").write_text(yaml.safe_dump(kills.tiny(), sort_keys=False))
        for name in ("download letters", "prepare letters"):
            assert full_disk.run_alone(STAGES[name], folder)[0] == 0
        yield folder


def as_another(folder: Path, stage: full_disk.Stage) -> subprocess.CompletedProcess[str]:
    """Run a stage as another user."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    command = [*OTHER, sys.executable, str(ROOT / f"stages/{stage.script}.py"), stage.key]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def opened(folder: Path) -> None:
    """Let everybody write what lies in a folder, as in one of a group that shares its umask."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


@pytest.mark.parametrize("name", ["prepare letters", "train lstm"])
def test_who_may_not_write_reads_so_in_a_line_and_changes_nothing(checkout: Path, name: str) -> None:
    before = full_disk.digests(checkout, (".",))
    done = as_another(checkout, STAGES[name])
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("tracking: ")]
    assert line.startswith("error: ")
    assert line.endswith("permission denied; make it writable")
    assert full_disk.digests(checkout, (".",)) == before


def test_who_may_write_ends_what_another_user_began_with_the_same_bytes(checkout: Path) -> None:
    train = STAGES["train lstm"]
    assert full_disk.run_alone(train, checkout)[0] == 0
    expected = full_disk.digests(checkout, train.outs)
    shutil.rmtree(checkout / "models")
    status, _ = full_disk.run_alone(train, checkout, stopped_at_a_step)
    assert status == 7
    assert list(checkout.glob(".work/train/lstm/*/checkpoint.safetensors"))
    opened(checkout)
    done = as_another(checkout, train)
    assert done.returncode == 0, done.stderr
    assert "lstm: resumes at step 1" in done.stderr
    assert full_disk.digests(checkout, train.outs) == expected
    assert {path.stat().st_uid for path in (checkout / "models/lstm").rglob("*")} == {65534}
    assert full_disk.run_alone(train, checkout)[0] == 0  # and root again, over what the other one left
    assert full_disk.digests(checkout, train.outs) == expected


def stopped_at_a_step() -> None:
    """End this process once it has written a checkpoint."""
    from regen.training import checkpoint

    save = checkpoint.save

    def once(*given: object) -> None:
        save(*given)  # type: ignore[arg-type]
        os._exit(7)

    checkpoint.save = once
