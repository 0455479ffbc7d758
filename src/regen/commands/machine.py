"""What this machine is, and about how long a run takes on it."""

from __future__ import annotations

import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regen import processor
from regen.commands import text
from regen.errors import UserError
from regen.host import cores
from regen.params import Params
from regen.training.distributed import Devices

TIMES = Path("benchmarks/times.json")  # of runs whose machines were measured: products, processor, rate, seconds
SECONDS = 2.0
BATCH = 64


def describe(given: Params, run: str | None = None) -> str:
    """Return what this machine is and about how long `make repro` and `make smoke` take, or the run that is named in one line.

    Raises:
        UserError: benchmarks/times.json is missing or damaged.
    """
    devices = Devices(given.precision, given.threads)
    multiplies = "bf16" if devices.bf16 else "fp32"
    speed = rate(devices)
    recorded = times(multiplies, speed)
    left = {name: text.minutes(recorded[f"{name}_seconds"] * recorded["rate"] / speed) for name in ("repro", "smoke")}
    gpu = torch.cuda.get_device_name() if devices.device.type == "cuda" else "none"
    if run:
        on = f"{gpu}" if gpu != "none" else f"{processor.name()}, {cores()} cores"
        return f"{on}, {multiplies}: make {run} takes about {left[run]} from nothing; what is current is not run again"
    rows = [
        ["processor", f"{processor.name()}, {cores()} cores, of which a training takes {given.threads} (params.yaml: threads)"],
        ["products", f"{multiplies} (params.yaml: precision: {given.precision})"],
        ["GPU", gpu],
        ["speed", f"{speed:.0f} images/s of a small network; {recorded['rate']:.0f} on {recorded['processor']}"],
        ["make repro", f"about {left['repro']} from nothing"],
        ["make smoke", f"about {left['smoke']}"],
    ]
    return text.table(rows)


def rate(devices: Devices, seconds: float = SECONDS) -> float:
    """Return the images/s of training steps of a small convolutional autoencoder of 64-px images, over some seconds."""
    torch.manual_seed(0)
    widths = (3, 32, 64, 128)
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.ReLU()]
    for wide, narrow in itertools.pairwise(widths[::-1]):
        layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.ReLU()]
    network = nn.Sequential(*layers).to(devices.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(BATCH, 3, 64, 64, device=devices.device).to(memory_format=torch.channels_last)
    for _ in range(3):  # kernels are chosen and compiled
        _step(network, x, devices)
    steps, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds or not steps:
        _step(network, x, devices)
        steps += 1
    return steps * BATCH / passed


def _step(network: nn.Sequential, x: torch.Tensor, devices: Devices) -> None:
    """One step of gradient descent; without torch.optim, whose import takes longer than the measurement."""
    with devices.autocast():
        loss = nn.functional.mse_loss(network(x), x)
    parameters: list[torch.Tensor] = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        torch._foreach_add_(parameters, gradients, alpha=-1e-3)
    float(loss.detach())  # waits for a GPU


def times(products: str, speed: float, path: Path = TIMES) -> dict[str, Any]:
    """Return the recorded run of the machine nearest in `speed` (images/s, see `rate`) of those with the same `products`.

    That is `processor`, `rate`, `repro_seconds` and `smoke_seconds`; products are "bf16" or "fp32". A machine that
    is twice as fast in `rate` is not twice as fast in a whole run, so the nearest one tells most.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        runs: list[dict[str, Any]] = [run for run in json.loads(path.read_text(encoding="utf-8")) if run["products"] == products]
        if not all(run[name] > 0 for run in runs for name in ("rate", "repro_seconds", "smoke_seconds")):
            raise ValueError
        return min((run for run in runs if run["processor"]), key=lambda run: abs(math.log(run["rate"] / speed)))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; restore it with `git checkout {path}`") from None
    except (ValueError, KeyError, TypeError):
        expected = f"runs with {products}: products, processor, rate, repro_seconds and smoke_seconds"
        raise UserError(f"{path}: expected {expected}; restore it with `git checkout {path}`") from None
