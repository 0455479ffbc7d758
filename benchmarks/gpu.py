"""What a GPU makes of a training: `python benchmarks/gpu.py`. One after another; the table goes to the terminal.

* Images/s of the VAE, the GAN and the flow of punks, by batch size, in fp32 and bf16, and compiled; what share of the card's
  measured matmul rate that is; seconds to the first step.
* Two trainings on one card at the same time, against one.

Without a GPU it runs, on few images, on the CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import regen.process  # noqa: F401
from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.models.base import DataSpec, TrainedModel
from regen.training.distributed import Devices
from regen.training.loop import train

GPU = torch.cuda.is_available()
CHANNELS = [32, 64, 128, 256]
BLOCKS: dict[str, dict[str, Any]] = {
    "vae": {"latent_dim": 64, "channels": CHANNELS},
    "gan": {"latent_dim": 100, "channels": [128, 256, 512, 1024]},  # as published
    "flow": {"channels": [64, 128, 256], "patch": 2, "ema": 0.999},
}
SMALL, LARGE = (64, 1024) if GPU else (4, 8)
STEPS = 100 if GPU else 2
WAYS = (("fp32", False), ("bf16", False), ("bf16", True))


def main() -> None:
    """Measure one training where arguments name it, else all of them."""
    if len(sys.argv) > 1:
        print(json.dumps(one(sys.argv[1], int(sys.argv[2]), "bf16", compiled=False, steps=5 * STEPS)))
        return
    print(f"{torch.cuda.get_device_name() if GPU else 'CPU'}, torch {torch.__version__}")
    roofs = {"fp32": matmul_rate(torch.float32), "bf16": matmul_rate(torch.bfloat16)}
    print("matmul rate: " + ", ".join(f"{kind} {rate / 1e12:.1f} Tflop/s" for kind, rate in roofs.items()))
    print("| training | batch | precision | images/s | share of the matmul rate | first step after, s |", flush=True)
    print("|---|---|---|---|---|---|")
    for name in BLOCKS:
        for batch in (SMALL, LARGE):
            for precision, compiled in WAYS:
                if batch == LARGE and compiled:  # each compiles for half a minute
                    continue
                got = one(name, batch, precision, compiled)
                share = got["images_per_second"] * got["flops"] / roofs[precision]
                print(f"| {name} | {batch} | {precision}{', compiled' if compiled else ''} | {got['images_per_second']:,.0f} | "
                      f"{share:.1%} | {got['first_step']:.1f} |", flush=True)  # fmt: skip
    for name in BLOCKS:
        alone, *both = (got["images_per_second"] for count in (1, 2) for got in together(count, name, SMALL))
        print(f"two trainings of {name} on the card at once: {sum(both) / alone:.2f} x the images/s of one")


def together(count: int, name: str, batch: int) -> list[dict[str, Any]]:
    """Run so many of a training in bf16 at the same time, each in a process of its own."""
    command = [sys.executable, __file__, name, str(batch)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"the training of {name} failed")
    return [json.loads(text.strip().splitlines()[-1]) for text in said]


def one(name: str, batch: int, precision: str, compiled: bool, steps: int = STEPS) -> dict[str, Any]:
    """Train an epoch to warm up, then one that counts."""
    devices = Devices(precision, 2)
    block = {"dataset": "bench", "family": name, **BLOCKS[name], "epochs": 2, "batch_size": batch, "learning_rate": 1e-4,
             "steps_per_epoch": steps, "compile": compiled}  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (max(2048, batch) if GPU else batch, 64, 64, 3), dtype=np.uint8)
    spec = DataSpec(dataset="bench", kind="bench", shape=(3, 64, 64), labels=(), std=0.25)
    model = families.build(families.config(block, "bench"), spec)
    assert isinstance(model, TrainedModel)
    batches = Timed({"x": images}, Share(batch, 0, steps, device=devices.device))
    flops = operations(model, images, devices)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(model, batches, devices, name="bench", seed=0, folder=Path(folder), checkpoint_seconds=1e9)
    seconds = batches.times[2 * steps - 1] - batches.times[steps]
    return {"images_per_second": (steps - 1) * batch / seconds, "flops": flops, "first_step": batches.times[1] - begun}


class Timed(ArrayBatches):
    """Notes when each step began, all before it computed."""

    times: dict[int, float]

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """Return one step's batch."""
        if not hasattr(self, "times"):
            self.times = {}
        batch = super().__call__(step)
        if step < 2 or step % self.per_epoch in (0, self.per_epoch - 1):  # else nobody waits for the card
            if GPU:
                torch.cuda.synchronize()
            self.times[step] = time.perf_counter()
        return batch


def operations(model: TrainedModel, images: np.ndarray, devices: Devices) -> float:
    """Return the operations of an image's training step: those of the matrix products and convolutions, forward and backward."""
    model.to(devices.device).train()
    x = torch.from_numpy(images[:4]).to(devices.device).permute(0, 3, 1, 2).float() / 255
    with FlopCounterMode(display=False) as counted:
        for network, parameters in model.networks().items():
            loss, _ = model.loss({"x": x}, network)
            loss.backward(inputs=list(parameters.values()))  # type: ignore[no-untyped-call]
    model.zero_grad()
    return float(counted.get_total_flops()) / len(x)


def matmul_rate(dtype: torch.dtype) -> float:
    """Return the operations/s of a square matrix product: the best of ten."""
    Devices("fp32", 2)
    side = 8192 if GPU else 1024
    a = torch.randn(side, side, device="cuda" if GPU else "cpu").to(dtype)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        if GPU:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return float(2 * side**3 / best)


if __name__ == "__main__":
    main()
