"""Pull the plug: `kill -9` at any moment of a training, run again, get the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import smoke

KEY = "punks_vae"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose training takes some ten seconds and writes checkpoints all the time, ready to be trained."""
    folder = tmp_path_factory.mktemp("chaos") / "regen"
    smoke.copy(folder)
    smoke.apply(folder, *smoke.overrides("smoke"), "checkpoint_seconds=0.1", f"models.{KEY}.epochs=80")
    smoke.run(folder, "dvc", "repro", "prepare@punks")
    return folder


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / f"models/{KEY}/model.safetensors").read_bytes()).hexdigest()


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    environment = {**smoke.environment(folder), "MLFLOW_TRACKING_URI": ""}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            start_new_session=True)  # fmt: skip


def wait_for_checkpoint(folder: Path, training: subprocess.Popen[str], newer_than: float) -> None:
    deadline = time.monotonic() + 600
    while training.poll() is None and time.monotonic() < deadline:
        files = list(folder.glob(f".work/train/{KEY}/*/checkpoint.safetensors"))
        try:
            if any(file.stat().st_mtime > newer_than for file in files):
                return
        except FileNotFoundError:  # just replaced
            pass
        time.sleep(0.02)


def repro(folder: Path) -> subprocess.CompletedProcess[str]:
    """`dvc repro` of the training; right after a kill DVC can still believe that the killed process holds its lock."""
    for _ in range(20):
        done = smoke.run(folder, "dvc", "repro", f"train@{KEY}", check=False, MLFLOW_TRACKING_URI="")
        if done.returncode == 0 or "is busy" not in done.stdout:
            return done
        time.sleep(1)
    return done


def test_ten_kills_at_random_moments_end_in_the_same_weights(copy):
    whole = repro(copy)
    assert whole.returncode == 0, whole.stdout
    expected = weights(copy)
    smoke.run(copy, "git", "checkout", "--", ".")
    smoke.apply(copy, *smoke.overrides("smoke"), "checkpoint_seconds=0.1", f"models.{KEY}.epochs=80")
    (copy / "dvc.lock").unlink(missing_ok=True)
    smoke.run(copy, "dvc", "repro", "prepare@punks")
    rng = random.Random(0)
    kills = 0
    for _ in range(10):
        since = time.time()
        training = start(copy, "dvc", "repro", "--force", "--single-item", f"train@{KEY}")
        wait_for_checkpoint(copy, training, since)
        time.sleep(rng.uniform(0, 0.5))
        if training.poll() is None:
            kills += 1
        os.killpg(training.pid, signal.SIGKILL)
        training.wait()
    assert kills == 10
    done = smoke.run(copy, "dvc", "repro", "--force", "--single-item", f"train@{KEY}", MLFLOW_TRACKING_URI="")
    assert "resumes at step" in done.stdout
    assert weights(copy) == expected
    assert not list(copy.glob(f".work/train/{KEY}/*/"))


def test_a_changed_parameter_never_resumes_from_stale_state(copy):
    training = start(copy, "python", "stages/train.py", KEY)
    wait_for_checkpoint(copy, training, time.time())
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    before = (copy / "params.yaml").read_text()
    smoke.apply(copy, f"models.{KEY}.beta=2", f"models.{KEY}.epochs=1")
    done = smoke.run(copy, "python", "stages/train.py", KEY, MLFLOW_TRACKING_URI="")
    (copy / "params.yaml").write_text(before)
    assert "resumes" not in done.stdout


def test_a_second_trainer_says_so_and_stops_and_the_first_goes_on(copy):
    first = start(copy, "python", "stages/train.py", KEY)
    wait_for_checkpoint(copy, first, time.time())
    second = smoke.run(copy, "python", "stages/train.py", KEY, check=False, MLFLOW_TRACKING_URI="")
    assert second.returncode == 1
    assert f"another training of {KEY} is at work here (process {first.pid})" in second.stdout
    assert "Traceback" not in second.stdout
    assert first.wait(timeout=600) == 0
