"""Pull the plug on whole runs; `REGEN_KILLS=100` for more of it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos import kills


def test_runs_killed_at_random_moments_end_in_the_same_lock(tmp_path: Path) -> None:
    wanted = int(os.environ.get("REGEN_KILLS", "2"))
    hit = kills.kill(tmp_path / "regen", wanted, kills.tiny())  # fails where a run ends with another dvc.lock
    assert len(hit.keys() - {"between stages"}) >= min(wanted, 2)
