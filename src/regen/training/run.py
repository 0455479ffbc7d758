"""One model of params.yaml, from its block and its data to its folder: trained by gradient steps, or fitted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from regen import families, imports
from regen.data import arrays, folders, loaders
from regen.data.loaders import Share
from regen.errors import UserError
from regen.models.base import DataSpec, TrainedConfig, TrainedModel
from regen.params import Params
from regen.training import checkpoint
from regen.training.distributed import Devices
from regen.training.loop import train
from regen.training.records import write_history

Watch = Callable[[str, Mapping[str, Any], str], AbstractContextManager[Any]]  # (signature, settings, device) -> while it trains


def run(key: str, given: Params, data: Path, folder: Path, watch: Watch | None = None) -> None:
    """Train or fit the model `key` on the prepared data set in `data`; write it to `folder`. Killed, it resumes when run again.

    Args:
        key: of `models` in params.yaml.
        given: all of params.yaml.
        data: the prepared data set.
        folder: the model's: model.safetensors, model.json, history.csv, progress/*.png.
        watch: entered while the model trains, in the process that writes files; `regen.tracking` mirrors a training so.

    Raises:
        UserError: a wrong block, data that the family cannot learn from, another training of this model at work, or a loss that
            is not finite.
    """
    config = families.config(given.models[key], f"params.yaml: models.{key}")
    statistics = arrays.statistics(data)
    devices = Devices(given.precision, given.threads)
    model = families.build(config, DataSpec.of(config.dataset, statistics), given.seed)
    settings = {"seed": given.seed, "precision": given.precision, "threads": given.threads, **config.model_dump()}
    signature = checkpoint.signature(
        settings=settings, data=statistics, device=devices.kind, processes=devices.world_size,
        code=imports.code(Path(__file__), *code(config.family, statistics.get("loader", "arrays"))),
    )  # fmt: skip
    work = checkpoint.folder(key, signature)
    with ExitStack() as stack:
        if devices.main:
            stack.enter_context(folders.held(work, f"training of {key}"))
            if watch:
                stack.enter_context(watch(signature, settings, devices.kind))
        devices.barrier()  # where another training holds the folder, no process begins
        if len(set(devices.gathered(signature))) > 1:
            raise UserError(f"models.{key}: the processes of its training differ in params.yaml, data, code, torch or device; "
                            "make their hosts alike")  # fmt: skip
        if isinstance(model, TrainedModel):
            share = Share(
                model.config.batch_size, given.seed, model.config.steps_per_epoch, model.config.train_fraction,
                devices.device, devices.rank, devices.world_size, key, model.config.flip, model.config.shift,
            )  # fmt: skip
            batches = loaders.read(data, share, model.reading())
            try:
                model = train(model, batches, devices, name=key, seed=given.seed, folder=work,
                              checkpoint_seconds=given.checkpoint_seconds)  # fmt: skip
            except (ValueError, RuntimeError) as error:
                raise _refused(key, model.config, share, error) from None
        elif devices.main:
            estimator: Any = model
            try:
                history = estimator.fit(arrays.load(data, "train"), given.seed)
            except UserError as error:
                raise UserError(f"models.{key}: on the data set {config.dataset}: {error}") from None
            if history:
                write_history(work, history)
        if devices.main:
            families.save(model, work, signature)
            decoder = data / families.DECODER
            _publish(work, folder, decoder if hasattr(families.family(config.family), "DECODED") and decoder.is_dir() else None)
    devices.close()


def _refused(key: str, config: TrainedConfig, share: Share, error: ValueError | RuntimeError) -> Exception:
    """Return what torch has raised, in words where it comes from params.yaml."""
    if "more than 1 value per channel" in str(error):
        mine, some = share.batch_size // share.processes, config.microbatch
        left = f"microbatch: {some} leaves 1 of a process's {mine} examples over, expected to leave none, or 2 or more"
        alone = f"batch_size: {share.batch_size} over {share.processes} processes, expected 2 or more each"
        return UserError(f"models.{key}.{left if some and mine > 1 else alone}, as batch normalisation takes means over them")
    if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        said = str(error).strip().splitlines()[0]
        return UserError(f"models.{key}.compile: torch cannot compile it here ({said}); set compile: false")
    return error


def code(family: str, loader: str) -> list[str]:
    """Return the modules that a training finds by name: what it imports besides them, their own imports tell."""
    return [families.modules()[family], f"regen.data.loaders.{loader}"]


def _publish(work: Path, folder: Path, decoder: Path | None) -> None:
    """Copy what is worth keeping from the work folder to the model's, and its decoder's folder: all of it or nothing.

    It is on the disk when the work folder, from which it could be made again, is removed.
    """
    with folders.replacing(folder) as partial:
        for name in ("model.safetensors", "model.json", "history.csv"):
            if (work / name).exists():
                shutil.copyfile(work / name, partial / name)
        if (work / "progress").is_dir():
            shutil.copytree(work / "progress", partial / "progress")
        if decoder:
            shutil.copytree(decoder, partial / decoder.name)
        folders.flush(partial)
    folders.flush(folder.parent, within=False)
