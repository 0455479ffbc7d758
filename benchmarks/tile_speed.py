"""Tiles/s that each sampler reads from an HDF5 file on one core, and that the training of a VAE uses."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import h5py

import regen.process  # noqa: F401
from regen import families
from regen.data import arrays, folders, loaders
from regen.data.loaders import Share
from regen.data.sets import brains
from regen.data.tiles import synthetic
from regen.data.tiles.samplers import SAMPLERS, Tiles
from regen.models.base import DataSpec, TrainedModel
from regen.training.distributed import Devices
from regen.training.loop import train

THREADS = 2  # of the training; the sampler has one
BATCH, STEPS = 256, 40
BLOCK = {
    "dataset": "bench", "family": "vae", "latent_dim": 128, "channels": [16, 16, 32, 32], "beta": 3.0, "batch_norm": False,
    "standardise": True, "epochs": 1, "batch_size": BATCH, "learning_rate": 1e-4, "steps_per_epoch": STEPS,
}  # fmt: skip


def main() -> None:
    """Make a file of synthetic sections, read it, train on it."""
    os.chdir(tempfile.mkdtemp())
    folder = prepared()
    rates = {}
    for sampler in SAMPLERS:
        tiles = Tiles(folder, "train", BATCH, 0, sampler=sampler)
        tiles.batch(0)
        start = time.perf_counter()
        for k in range(1, STEPS + 1):
            tiles.batch(k)
        rates[sampler] = STEPS * BATCH / (time.perf_counter() - start)
    print(json.dumps({"used": training(folder), **rates}))


def prepared() -> Path:
    """Return a prepared data set of 40 sections in two brains."""
    with h5py.File("sections.h5", "w") as file:
        for brain in ("B01", "B02"):
            for number in range(20):
                file[f"{brain}/{number:04d}"] = synthetic.section(brain, number, 0.5, 0)
    config = brains.Config(kind="brains", source="file", path=str(Path("sections.h5").absolute()))
    with folders.replacing(Path("raw/bench")) as raw:
        brains.download(config, raw)
    made, description = brains.prepare(config, Path("raw/bench"), 0)
    arrays.write(
        Path("prepared/bench"),
        made,
        description | {"dataset": "bench", "kind": "brains", "source": "file", "loader": brains.LOADER},
    )
    return Path("prepared/bench")


def training(folder: Path) -> float:
    """Return the tiles/s that a training uses, of the second of two."""
    devices = Devices("auto", THREADS)
    for _ in range(2):
        model = families.build(families.config(BLOCK, "bench"), DataSpec.of("bench", arrays.statistics(folder)))
        assert isinstance(model, TrainedModel)
        batches = loaders.read(folder, Share(BATCH, 0, STEPS, device=devices.device))
        work = Path(tempfile.mkdtemp())
        start = time.perf_counter()
        train(model, batches, devices, name="bench", seed=0, folder=work, checkpoint_seconds=1e9)
        seconds = time.perf_counter() - start
    return STEPS * BATCH / seconds


if __name__ == "__main__":
    main()
