"""What both sides of the VAE comparison share: sizes and synthetic images. Imports nothing but NumPy."""

from __future__ import annotations

import numpy as np

CHANNELS = [32, 64, 128, 256]
LATENT_DIM = 64
BATCH = 64
STEPS = 60  # measured, an epoch of them
THREADS = 2
BLOCK = {  # our side's block of params.yaml, but for its epochs
    "dataset": "bench", "family": "vae", "latent_dim": LATENT_DIM, "channels": CHANNELS,
    "batch_size": BATCH, "learning_rate": 1e-3,
}  # fmt: skip


def images() -> np.ndarray:
    """uint8 (N, 64, 64, 3): the speed of a training does not hang on what is in its pictures."""
    return np.random.default_rng(0).integers(0, 256, (STEPS * BATCH, 64, 64, 3), dtype=np.uint8)
