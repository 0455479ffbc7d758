"""Every stage on a disk that fills up; `REGEN_DISK=0` stops it at every page and every file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ATTEMPTS = os.environ.get("REGEN_DISK", "2")
MOUNT = ["unshare", "--map-root-user", "--mount"]
MOUNTS = subprocess.run([*MOUNT, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True).returncode == 0 if (
    sys.platform == "linux" and os.path.exists("/usr/bin/unshare")) else False  # fmt: skip


def filled(*command: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*command, "--attempts", ATTEMPTS], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert done.stdout.endswith("ok\n")


@pytest.mark.skipif(not MOUNTS, reason="nothing may be mounted here, not even by a user of a namespace of their own")
def test_a_full_disk_is_named_by_every_stage_and_leaves_nothing_by_halves() -> None:
    filled(*MOUNT, sys.executable, "-m", "tests.hostile.full_disk", "full")


@pytest.mark.skipif(MOUNTS, reason="a file system that fills up is tried instead")
def test_files_that_may_not_grow_are_named_by_every_stage_and_leave_nothing_by_halves() -> None:
    filled(sys.executable, "-m", "tests.hostile.full_disk", "limits")
