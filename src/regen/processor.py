"""The processor: its name, and what it multiplies faster."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

INFO = Path("/proc/cpuinfo")  # of Linux


def name() -> str:
    """Return the processor's name."""
    for line in INFO.read_text(encoding="utf-8").splitlines() if INFO.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def faster_in_bf16() -> bool:
    """Return whether bf16 is multiplied faster than fp32.

    The kind of processor tells it, as a clock may say another thing each time, and a training's bytes depend on it. Matrix
    tiles (AMX) are faster, and AVX512-BF16 on AMD's processors: the benchmark's VAE trains on 1,008 images/s there, pythae's in
    fp32 on 498. On an Intel Xeon that has AVX512-BF16 alone (model 207) a core does 83 GFLOP/s in bf16 and 150 in fp32.
    """
    if platform.machine() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and "Intel" not in name()
