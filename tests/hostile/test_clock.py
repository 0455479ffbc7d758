"""A clock that is set back, dates of files that are wrong, a machine that sleeps: no byte of a result depends on them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import yaml

from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.training import checkpoint, loop
from regen.training.distributed import Devices
from tests.conftest import build
from tests.hostile import full_disk

DAY = 86_400.0
PAST, FUTURE = 0.0, 4e9  # seconds: 1970, 2096
ROOT = Path(__file__).parents[2]
KEPT = ("letters", "lstm")  # what needs no network and takes seconds


class KillError(Exception):
    pass


def set_back(patch: pytest.MonkeyPatch) -> None:
    """Let the clock that tells the date go back by a day at every look."""
    now = [time.time()]

    def earlier() -> float:
        now[0] -= DAY
        return now[0]

    patch.setattr(time, "time", earlier)
    patch.setattr(time, "time_ns", lambda: int(earlier() * 1e9))


def set_back_for_good() -> None:
    """Let the clock go back in this process."""
    set_back(pytest.MonkeyPatch())


def trained(folder: Path, devices: Devices, data: dict[str, Any], kill_at: int = -1) -> str:
    """Train a small VAE, to its end or to a kill before one step; returns the digest of its weights."""

    class Interrupted(ArrayBatches):
        def __call__(self, step: int) -> Any:
            if step == kill_at:
                raise KillError
            return super().__call__(step)

    folder.mkdir(exist_ok=True)
    model: Any = build("vae")
    batches = Interrupted(data, Share(model.config.batch_size, 0))
    weights = loop.train(model, batches, devices, name="toy", seed=0, folder=folder, checkpoint_seconds=0).state_dict()
    return hashlib.sha256(safetensors.torch.save({name: value.contiguous() for name, value in weights.items()})).hexdigest()


@pytest.mark.parametrize(("last", "before"), [(PAST, FUTURE), (FUTURE, PAST), (FUTURE, FUTURE)])
def test_a_training_goes_on_from_its_last_checkpoint_whatever_the_dates_say(
    last: float, before: float, toy: Any, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole = trained(tmp_path / "whole", devices, toy)
    with pytest.raises(KillError):
        trained(tmp_path / "killed", devices, toy, kill_at=7)
    for name, date in ((checkpoint.FILE, last), (checkpoint.BEFORE, before)):
        os.utime(tmp_path / "killed" / name, (date, date))
    set_back(monkeypatch)
    assert trained(tmp_path / "killed", devices, toy) == whole
    assert "resumes at step 7" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose params.yaml has one model that is trained in seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    params = {**full_disk.PARAMS, "queries": {}, "encodings": {}, "studies": {}}
    params |= {group: {key: full_disk.PARAMS[group][key] for key in KEPT if key in full_disk.PARAMS[group]}
               for group in ("datasets", "models")}  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return tmp_path


STAGES = [stage for stage in full_disk.STAGES if stage.key in KEPT]


def ran(folder: Path, stage: full_disk.Stage, before: Callable[[], None] | None = None) -> dict[str, str]:
    """Run a stage; returns the digests of what it wrote."""
    status, said = full_disk.run_alone(stage, folder, before)
    assert status == 0, f"{stage}: {said}"
    return full_disk.digests(folder, stage.outs)


def test_a_run_and_another_one_under_a_clock_that_goes_back_leave_the_same_bytes(folder: Path) -> None:
    """Also where files are dated long before, or long after, those that were made of them."""
    expected = {str(stage): ran(folder, stage) for stage in STAGES}
    assert [str(stage) for stage in STAGES] == [
        "download letters", "prepare letters", "train lstm", "evaluate lstm", "export lstm",
    ]  # fmt: skip
    for name in ("data", "models", "metrics", "figures", "exports", ".work"):
        shutil.rmtree(folder / name)
    found = {}
    for number, stage in enumerate(STAGES):
        found[str(stage)] = ran(folder, stage, set_back_for_good)
        for path in (path for out in stage.outs for path in (folder / out).rglob("*")):
            os.utime(path, ((PAST, FUTURE)[number % 2],) * 2)
    assert found == expected


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_machine_that_sleeps_while_a_model_trains_ends_with_the_same_bytes(folder: Path) -> None:
    """And what it says of the time that is left, it says in hours at most."""
    for stage in STAGES[:2]:
        ran(folder, stage)
    train = STAGES[2]
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["models"]["lstm"]["epochs"] = 60
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    expected = ran(folder, train)
    shutil.rmtree(folder / "models")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    training = subprocess.Popen([sys.executable, str(ROOT / "stages/train.py"), "lstm"], cwd=folder, env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    assert training.stdout is not None
    said = []
    for line in training.stdout:
        said.append(line)
        if "epoch 2/" in line:
            training.send_signal(signal.SIGSTOP)
            time.sleep(3)
            assert training.poll() is None
            training.send_signal(signal.SIGCONT)
    assert training.wait() == 0, "".join(said)
    assert full_disk.digests(folder, train.outs) == expected
    left = re.findall(r"epoch \d+/60 .*  (\S+) left", "".join(said))
    assert len(left) == 60
    assert [one for one in left if not re.fullmatch(r"(\d:)?\d\d:\d\d", one)] == []
