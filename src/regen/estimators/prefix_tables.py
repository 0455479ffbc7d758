"""Conditional probability tables of binary images, p(x) = prod_i p(x_i | x_1..x_{i-1}), counted exactly from the images.

Table i has the shape (2,) * i and 2^i entries; nearly all belong to prefixes that no image has. What can be reached is kept
instead, as a tree of prefixes: at most (images x pixels) nodes, each with the counts of the next pixel's two values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from regen.blocks import ModelConfig
from regen.errors import UserError
from regen.estimators.base import Estimator
from regen.models.base import DataSpec
from regen.seeding import generator

LARGEST = 2**24  # entries of a dense table: 128 MB

TASK = "letters"


class Config(ModelConfig):
    """Conditional probability tables: nothing to choose."""


class Model(Estimator):
    """The exact distribution of the training images, factorised over pixels in reading order (channel, row, column)."""

    data_sized = ("counts", "successors")
    counts: Tensor  # (nodes, 2) int32: how many images continue a prefix with 0 and with 1; node 0 is the empty prefix
    successors: Tensor  # (nodes, 2) int32: the prefix with that value appended; -1 where there is none

    def __init__(self, config: ModelConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.register_buffer("counts", torch.zeros(1, 2, dtype=torch.int32))
        self.register_buffer("successors", torch.full((1, 2), -1, dtype=torch.int32))

    @property
    def pixels(self) -> int:
        """D, the number of pixels and of tables."""
        return math.prod(self.data.shape)

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Count the prefixes of `x`, uint8 images (N, H, W, C) with the values 0 and 255.

        Raises:
            UserError: no images, or an image that is not binary.
        """
        x = np.asarray(arrays["x"])
        if len(x) == 0 or not np.isin(x, (0, 255)).all():
            odd = "no images" if len(x) == 0 else f"the value {x[~np.isin(x, (0, 255))][0]}"
            raise UserError(f"tables: {odd} in the data, expected binary images (0 or 255); threshold them first")
        bits = (x.transpose(0, 3, 1, 2).reshape(len(x), -1) == 255).astype(np.int64)
        counts, children = [], []
        node = np.zeros(len(x), dtype=np.int64)  # of each image's prefix, numbered within its length
        first = 0  # node number of the first prefix of this length
        for i in range(bits.shape[1]):
            nodes = int(node.max()) + 1
            count = np.bincount(2 * node + bits[:, i], minlength=2 * nodes)
            reached, child = np.unique(2 * node + bits[:, i], return_inverse=True)
            below = np.full(2 * nodes, -1)
            if i + 1 < bits.shape[1]:
                below[reached] = first + nodes + np.arange(len(reached))
            counts.append(count.reshape(-1, 2))
            children.append(below.reshape(-1, 2))
            node, first = child, first + nodes
        self.counts = torch.from_numpy(np.concatenate(counts).astype(np.int32)).to(self.device)
        self.successors = torch.from_numpy(np.concatenate(children).astype(np.int32)).to(self.device)
        return []

    def check(self) -> None:
        """Check that successors are places in the tables. Raises ValueError where they are not."""
        nodes, below = len(self.counts), self.successors
        if len(below) != nodes or not bool(((below >= -1) & (below < nodes)).all() and (self.counts >= 0).all()):
            raise ValueError("counts and successors are of no tree")

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Return log p(x) (N,) in nats an image, exactly; -inf for an image that was not counted. x (N, C, H, W) is binary."""
        bits = self._bits(x)
        node = torch.zeros(len(bits), dtype=torch.long, device=bits.device)
        result = torch.zeros(len(bits), dtype=torch.float64, device=bits.device)
        log_p = self._probabilities().log()
        for bit in bits.T:
            result += log_p[node, bit]
            node = self.successors[node, bit].long().clamp_min(0)  # beyond an uncounted prefix the sum stays at -inf
        return result

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n images (n, C, H, W) with values 0 and 1 by ancestral sampling, all images at once, pixel after pixel."""
        p = self._probabilities()[:, 1]
        uniform = torch.rand(self.pixels, n, generator=generator(seed, "sample"), dtype=torch.float64).to(self.device)
        node = torch.zeros(n, dtype=torch.long, device=self.device)
        bits = []
        for u in uniform:
            bits.append((u < p[node]).long())
            node = self.successors[node, bits[-1]].long()
        return torch.stack(bits, 1).float().view(n, *self.data.shape)

    def conditional(self, prefix: Sequence[int]) -> float:
        """Return p(x_i = 1 | x_1..x_{i-1} = prefix).

        Raises:
            UserError: no image begins with this prefix (its conditional is undefined, not 1/2), or it is no prefix.
        """
        if len(prefix) >= self.pixels or any(bit not in (0, 1) for bit in prefix):
            raise UserError(f"tables: {list(prefix)} is no prefix: expected up to {self.pixels - 1} values, each 0 or 1")
        node = 0
        for at, bit in enumerate(prefix):
            node = int(self.successors[node, int(bit)])
            if node < 0:
                text = "".join(str(int(bit)) for bit in prefix[: at + 1])
                raise UserError(
                    f"tables: no image begins with {text}, so what follows is undefined; ask for the beginning of an image"
                )
        return float(self._probabilities()[node, 1])

    def dense_table(self, i: int) -> Tensor:
        """Return table i, float64 of shape (2,) * i: p(x_i | x_1..x_{i-1}) at [x_1, ..., x_i]; NaN at prefixes that no image has.

        Raises:
            UserError: there is no such table, or it would have more than 2^24 entries.
        """
        if not 1 <= i <= self.pixels:
            raise UserError(f"tables: no table {i}; expected 1 to {self.pixels}")
        if 2**i > LARGEST:
            raise UserError(
                f"tables: dense table {i} has 2^{i} = {2**i:,} entries, expected {LARGEST:,} at most; "
                "ask `conditional` for single ones"
            )
        table = torch.full((2 ** (i - 1), 2), math.nan, dtype=torch.float64)
        nodes, codes = torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
        children = self.successors.cpu().long()
        for _ in range(i - 1):  # one pixel longer: codes are the prefixes as binary numbers
            below = children[nodes]
            codes = (2 * codes[:, None] + torch.arange(2))[below >= 0]
            nodes = below[below >= 0]
        table[codes] = self._probabilities().cpu()[nodes]
        return table.view((2,) * i)

    def _probabilities(self) -> Tensor:
        """(nodes, 2) float64."""
        counts = self.counts.double()
        return counts / counts.sum(1, keepdim=True)

    def _bits(self, x: Tensor) -> Tensor:
        bits = x.flatten(1)
        if bits.shape[1] != self.pixels or not bool(((bits == 0) | (bits == 1)).all()):
            raise UserError(f"tables: expected binary images (0 or 1) of {self.pixels} pixels, got shape {tuple(x.shape)}")
        return bits.long()
