"""Latent spaces of two dimensions: small enough to be shown whole."""

from __future__ import annotations

import torch
from torch import Tensor

from regen.drawing import collage
from regen.evaluation.images.latents import Decode

SIDE = 20
TAIL = 0.05  # probability beyond the grid on each side


def quantiles(side: int = SIDE, tail: float = TAIL) -> Tensor:
    """Return (side * side, 2): the plane at equal steps of probability under N(0, I), first to the right, second upwards."""
    t = torch.special.ndtri(torch.linspace(tail, 1 - tail, side))
    right, up = torch.meshgrid(t, t.flip(0), indexing="xy")
    return torch.stack([right.flatten(), up.flatten()], 1)


def manifold(decode: Decode) -> collage.Picture:
    """Return what the whole plane decodes to, edge to edge."""
    images = decode(quantiles())
    lines = [torch.cat(list(line), 2) for line in torch.split(images, SIDE)]
    return collage.grid(torch.cat(lines, 1)[None], 1, enlarge=max(1, 800 // (SIDE * images.shape[2])))
