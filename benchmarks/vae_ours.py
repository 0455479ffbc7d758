"""Images/s of our VAE's training loop, and the share of the matrix product rate that it reaches."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import setting
import torch
from torch import nn

import regen.process  # noqa: F401
from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.models.base import DataSpec, TrainedModel
from regen.training.distributed import Devices
from regen.training.loop import train


def main() -> None:
    """Train one warm-up epoch, then one that counts."""
    devices = Devices("auto", setting.THREADS)
    block = {**setting.BLOCK, "epochs": 1}
    spec = DataSpec(dataset="bench", kind="bench", shape=(3, 64, 64))
    batches = ArrayBatches({"x": setting.images()}, Share(setting.BATCH, 0, device=devices.device))
    seconds = []
    for _ in range(2):
        model = families.build(families.config(block, "bench"), spec)
        assert isinstance(model, TrainedModel)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            train(model, batches, devices, name="bench", seed=0, folder=Path(folder), checkpoint_seconds=1e9)
            seconds.append(time.perf_counter() - start)
    rate = setting.STEPS * setting.BATCH / seconds[-1]
    roofs = {"fp32": matmul_rate(torch.float32), "bf16": matmul_rate(torch.bfloat16)}
    share = rate * flops(model) / roofs["bf16" if devices.bf16 else "fp32"]
    print(json.dumps({"images_per_second": rate, "share": share, "bf16": devices.bf16, "roofs": roofs}))


def flops(model: nn.Module) -> float:
    """Operations of one image's training step: forward once, backward twice that; convolutions and matrix products only."""
    count = 0.0

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal count
        if isinstance(module, nn.Linear):
            count += 2 * module.weight.numel()
        elif isinstance(module, nn.Conv2d):
            count += 2 * module.weight.numel() * output[0, 0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            count += 2 * module.weight.numel() * inputs[0][0, 0].numel()

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    with torch.no_grad():
        x = torch.rand(1, 3, 64, 64)
        model.eval().decoder(model.encoder(x)[:, : setting.LATENT_DIM])  # type: ignore[operator, union-attr]
    for handle in handles:
        handle.remove()
    return 3 * count


def matmul_rate(dtype: torch.dtype) -> float:
    """Operations/s of a 2,048 x 2,048 matrix product: the best of ten."""
    a = torch.randn(2048, 2048).to(dtype)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


if __name__ == "__main__":
    main()
