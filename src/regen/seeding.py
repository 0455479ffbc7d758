"""Counter-based randomness: every draw is a function of (seed, purpose), so no generator state has to be saved.

A training step seeds the generators from (seed, "step", step, rank). Resuming at step 1,234 therefore needs the number
1,234 and nothing else, and two purposes never share a stream.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose, e.g. `derive_seed(0, "order", epoch)`.

    The BLAKE2b hash makes streams of neighbouring seeds and purposes independent, which `seed + step` would not.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU `torch.Generator` for one purpose. Draw on the CPU and move: every device then sees the same numbers."""
    import torch  # on demand: preparing data needs none

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a NumPy generator for one purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))
