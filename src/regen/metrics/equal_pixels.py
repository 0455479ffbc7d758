"""Pixels that are equal in every image of a set: a 24x24 picture enlarged to 64x64 has 576 different ones, not 4,096.

Merging them, weighted by their number, changes no distance to the set and no principal component, and makes both 7 times cheaper.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import torch
from torch import Tensor


class EqualPixels(NamedTuple):
    """Groups of equal columns among d columns."""

    group: Tensor  # (d,) of each column
    first: Tensor  # (g,) a column of each group
    size: Tensor  # (g,) columns in each group, float64


def equal_pixels(flat: Tensor) -> EqualPixels:
    """Return the groups of equal columns of (N, d) flattened images, in the order of their first columns."""
    groups: dict[bytes, int] = {}  # by a digest: the columns themselves are as large as the images
    columns = (column for part in torch.split(flat.cpu(), 1024, dim=1) for column in part.T.contiguous().numpy())
    group = torch.tensor([groups.setdefault(blake2b(column, digest_size=16).digest(), len(groups)) for column in columns])
    first = torch.zeros(len(groups), dtype=torch.long).scatter_reduce_(
        0, group, torch.arange(len(group)), "amin", include_self=False
    )
    return EqualPixels(group, first, group.bincount().double())
