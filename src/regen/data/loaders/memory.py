"""Memory of the device where batches are wanted: how much is free, and the way there. No batch is changed by it."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch
from torch import Tensor

from regen.data.loaders import Share

CONTAINER = Path("/sys/fs/cgroup")


def free(share: Share) -> int:
    """Return the bytes that are free on the device for one process: all of its GPU's, or its part of the host's."""
    device = torch.device(share.device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _left_in_container()) // share.processes


def sent(x: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on the device; from CPU to GPU it goes through pinned memory, and nobody waits for it."""
    waits = x.device.type == "cpu" and torch.device(device).type == "cuda"
    return x.pin_memory().to(device, non_blocking=True) if waits else x.to(device)


def _left_in_container() -> int:
    """Return what is left of a container's limit, which the host's free memory does not tell; a huge number without one."""
    try:
        limit, used = (int((CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no container, or `max`: no limit
        return 1 << 62
    return max(0, limit - used)
