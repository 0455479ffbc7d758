"""Train one model of params.yaml: data/prepared/<dataset> -> models/<key>. A killed training resumes when run again."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from pathlib import Path
from typing import Any

from regen import models, params, paths
from regen.data import arrays, folders
from regen.errors import reported
from regen.models.base import DataSpec, TrainedModel
from regen.tracking import launch
from regen.training import checkpoint
from regen.training.batches import ArrayBatches, Batches
from regen.training.devices import Devices, start_all
from regen.training.loop import train
from regen.training.records import write_history


def main() -> None:
    """Read params, train or fit, write the model."""
    start_all()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="a key of models: in params.yaml")
    key = parser.parse_args().key
    given = params.read()
    params.known(key, list(given.models), "params.yaml: models", "model")
    config = models.config(given.models[key], f"params.yaml: models.{key}")
    folder = paths.prepared(config.dataset)
    statistics = arrays.statistics(folder)
    devices = Devices(given.precision, given.threads)
    model = models.build(config, DataSpec.of(config.dataset, statistics), given.seed)
    signature = checkpoint.signature(
        params=config.model_dump(), seed=given.seed, precision=given.precision, threads=given.threads,
        data=statistics["sha256"], device=devices.kind, processes=devices.world_size,
    )  # fmt: skip
    logged = {"seed": given.seed, "precision": given.precision, "threads": given.threads, **config.model_dump()}
    with contextlib.ExitStack() as stack:
        work = checkpoint.folder(key, signature)
        if devices.main:
            stack.enter_context(checkpoint.held(work, key))
            stack.enter_context(launch.mirrored(key, signature, logged, config.dataset, devices.kind))
        devices.barrier()  # the others read the checkpoint that the first one holds
        if isinstance(model, TrainedModel):
            make = getattr(model, "batches", None)  # of a family whose examples are no rows of arrays
            if make:
                batches: Batches = make(folder, given.seed, devices)
            else:
                content = arrays.load(folder, "train")
                content |= model.columns(content, given.seed)
                batches = ArrayBatches(content, model.config.batch_size, given.seed, devices, key)
            model = train(model, batches, devices, name=key, seed=given.seed, folder=work,
                          checkpoint_seconds=given.checkpoint_seconds)  # fmt: skip
        else:
            closed_form: Any = model
            if (history := closed_form.fit(arrays.load(folder, "train"), given.seed)) and devices.main:
                write_history(work, history)
        if devices.main:
            models.save(model, work, signature)
            publish(work, paths.model(key))
    devices.close()


def publish(work: Path, folder: Path) -> None:
    """Copy what is worth keeping from the work folder to the model's: all of it or nothing."""
    with folders.replacing(folder) as partial:
        for name in ("model.safetensors", "model.json", "history.csv"):
            if (work / name).exists():
                shutil.copyfile(work / name, partial / name)
        if (work / "progress").is_dir():
            shutil.copytree(work / "progress", partial / "progress")


if __name__ == "__main__":
    with reported():
        main()
