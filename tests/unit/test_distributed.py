"""Several processes that train one model on one machine (gloo), each in a folder of its own, as on hosts that share no disk."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regen.training.distributed import Devices

ROOT = Path(__file__).parents[2]
# Train a small model in FOLDER/<rank>; the step STOP ends the process, as a kill does. OPTIONS are its own of params.yaml.
PROGRAM = """
import json, os, sys
from pathlib import Path
import regen.process
from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.training.distributed import Devices
from regen.training.loop import train
from tests.conftest import build, toy_images

family, folder, stop, options = sys.argv[1], Path(sys.argv[2]) / os.environ["RANK"], int(sys.argv[3]), json.loads(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
devices = Devices("fp32", 1)

class Stopped(ArrayBatches):
    def __call__(self, step):
        if step == stop:
            os._exit(7)
        return super().__call__(step)

share = Share(8, 0, device=devices.device, rank=devices.rank, processes=devices.world_size)
content, validation = ({name: array[part] for name, array in toy_images().items()} for part in (slice(32), slice(32, None)))
model = train(build(family, **options), Stopped(content, share, validation), devices, name=family, seed=0, folder=folder,
              checkpoint_seconds=0)
if devices.main:
    families.save(model, folder)
print(len(os.listdir(folder)))
devices.close()
"""


def together(*arguments: object, program: str = PROGRAM) -> list[subprocess.CompletedProcess[str]]:
    """Run a program in two processes that find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    common = {**os.environ, "PYTHONPATH": paths, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    done = []
    for process in running:
        out, err = process.communicate()
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("vae", {"epochs": 3}),
        ("gan", {"epochs": 3}),
        # statistics of batch normalisation are each process's own, and a patience would end their trainings at different epochs
        ("vae", {"epochs": 60, "batch_norm": True, "patience": 2, "learning_rate": 0.02}),
    ],
    ids=["vae", "gan", "patience"],
)
def test_a_killed_training_of_two_hosts_goes_on_to_the_same_bytes(tmp_path, family, options):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert [done.returncode for done in together(family, whole, -1, json.dumps(options))] == [0, 0]
    assert [done.returncode for done in together(family, killed, 6, json.dumps(options))] == [7, 7]  # in the second epoch
    again = together(family, killed, -1, json.dumps(options))
    assert [done.returncode for done in again] == [0, 0], again
    assert all(re.search("resumes at step [56]\n", done.stderr) for done in again), again  # the last one may have been in writing
    for name in ("history.csv", "model.safetensors"):
        assert (killed / "0" / name).read_bytes() == (whole / "0" / name).read_bytes()
    assert [path.name for path in (killed / "1").iterdir()] == []  # the second host read no disk of its own
    epochs = len((whole / "0/history.csv").read_text().splitlines()) - 1
    assert epochs < options["epochs"] if "patience" in options else epochs == options["epochs"]


def test_processes_that_drift_apart_are_stopped():
    program = """
import os, torch
import regen.process
from regen.errors import reported
from regen.training.distributed import Devices
devices = Devices("fp32", 1)
model = torch.nn.Linear(2, 2)
devices.agree(model)
with reported():
    devices.check_agreement(model)
    assert devices.gathered(str(devices.rank)) == ["0", "1"]
    assert {k: float(v) for k, v in devices.means({"a": torch.tensor(devices.rank + 1.0)}).items()} == {"a": 1.5}
    if devices.main:
        model.weight.data[0, 0] += 1e-6
    devices.check_agreement(model)
"""
    for done in together(program=program):
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: 2 processes that train one model hold different weights")


def test_fp32_is_fp32():
    """On a GPU, TF32 would keep 11 bits of each factor's 24."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    Devices("fp32", 1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
