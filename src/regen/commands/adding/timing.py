"""How long a training takes on this machine: measured by some of its steps, on random images of the same shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
import torch

from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.models.base import DataSpec, TrainedModel
from regen.params import Params
from regen.training.distributed import Devices
from regen.training.optim import Adam

WARM_UP, STEPS = 2, 5  # kernels are chosen in the first ones
SECONDS = 1.5  # of steps, for each model
IMAGES = 1024  # random ones


def seconds(given: Params, blocks: Mapping[str, Mapping[str, Any]], data: DataSpec, images: int) -> dict[str, float]:
    """Return the seconds that each training takes.

    Args:
        given: all of params.yaml.
        blocks: of the models.
        data: what the models are told of the data.
        images: number of training images.
    """
    devices = Devices(given.precision, given.threads)
    try:
        return {key: _seconds(key, block, data, images, devices) for key, block in blocks.items()}
    finally:
        devices.close()


def _seconds(key: str, block: Mapping[str, Any], data: DataSpec, images: int, devices: Devices) -> float:
    model = families.build(families.config(block, f"params.yaml: models.{key}"), data)
    assert isinstance(model, TrainedModel)
    config = model.config
    batches = _batches(data, config.batch_size, block["target"] if block["family"] == "classifier" else "", devices)
    model.to(devices.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    networks = model.networks()
    optimizers = {network: Adam(parameters, config.betas, config.weight_decay) for network, parameters in networks.items()}
    now = clock(devices)
    took: list[float] = []
    while len(took) < WARM_UP + STEPS or sum(took[WARM_UP:]) < SECONDS:
        start = now()
        batch, model.step = batches(len(took)), len(took)
        for network, parameters in networks.items():
            with devices.autocast():
                loss, _ = model.loss(batch, network)
            optimizers[network].zero_grad()
            loss.backward(inputs=list(parameters.values()))  # type: ignore[no-untyped-call]
            optimizers[network].step(1e-6)
        float(loss.detach())  # waits for a GPU
        took.append(now() - start)
    return median(took[WARM_UP:]) * config.epochs * max(1, images // config.batch_size)


def clock(devices: Devices) -> Callable[[], float]:
    """Return what tells the seconds: other work on the machine counts for nothing, where that can be told."""
    alone = devices.device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def _batches(data: DataSpec, batch_size: int, target: str, devices: Devices) -> ArrayBatches:
    rng = np.random.default_rng(0)
    channels, height, width = data.shape
    count = max(IMAGES, batch_size)
    content: dict[str, Any] = {"x": rng.integers(0, 256, (count, height, width, channels), np.uint8)}
    if target == "class":
        content["labels"] = rng.integers(0, len(data.labels), count)
    elif target == "attributes":
        content["labels"] = rng.integers(0, 2, (count, len(data.labels)), np.uint8)
    return ArrayBatches(content, Share(batch_size, 0, device=devices.device))
