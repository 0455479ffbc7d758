"""Is every pixel of the training sections equally likely to be seen? A chi-square test of the samplers of tiles."""

from __future__ import annotations

import numpy as np

from regen.data.tiles.samplers import Ints, Sampler
from regen.metrics.values import P_VALUE_SPREAD, Measured, measured
from regen.seeding import numpy_generator

DRAWS, AT_ONCE = 10_000_000, 500_000
GROUPS = 4  # of sections, told apart in the test
LEAST = 5.0  # expected draws a bin: fewer are put together


class InsideWithoutLast:
    """A published sampler: a section in proportion to its pixels, a position inside it but never the last row or column."""

    def __init__(self, sizes: Ints, tile: int) -> None:
        self.sizes, self.tile = sizes, tile
        self.areas = np.cumsum(sizes.prod(1))

    def __call__(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """Return section, top and left of n tiles."""
        section = np.searchsorted(self.areas, rng.integers(self.areas[-1], size=n), side="right")
        top, left = rng.integers(np.maximum(self.sizes[section] - self.tile, 1)).T
        return section, top, left


def coverage_measures(sampler: Sampler, sizes: Ints, tile: int, seed: int = 0, draws: int = DRAWS) -> Measured:
    """Return `coverage_p`: the p-value of Pearson's chi-square for pixels equally often seen. Its error is a p-value's own.

    Pixels of one tile are neighbours, so of each tile drawn one pixel, at a place in the tile drawn uniformly, is counted:
    counts are then multinomial, and every pixel has the same probability if and only if tiles cover all equally. Pixels are
    binned by group of sections and by their distance to the edges, the outermost row and column by themselves.
    """
    group = np.arange(len(sizes)) * GROUPS // len(sizes)
    expected = np.zeros((GROUPS, 10, 10))
    for g, (height, width) in zip(group, sizes, strict=True):
        expected[g] += np.outer(*(np.bincount(zone(np.arange(side), side, tile), minlength=10) for side in (height, width)))
    observed = np.zeros(expected.size, np.int64)
    for k in range(-(-draws // AT_ONCE)):
        rng = numpy_generator(seed, "coverage", k)
        section, *starts = sampler(min(AT_ONCE, draws - k * AT_ONCE), rng)
        zones = []
        for axis, start in enumerate(starts):
            side = sizes[section, axis]
            place = (start + rng.integers(tile, size=len(start))) % (2 * side)
            zones.append(zone(np.minimum(place, 2 * side - 1 - place), side, tile))
        observed += np.bincount((group[section] * 10 + zones[0]) * 10 + zones[1], minlength=expected.size)
    return {"coverage_p": measured(chi_square(observed, draws * expected.ravel() / expected.sum()), P_VALUE_SPREAD)}


def zone(pixel: Ints, side: Ints, tile: int) -> Ints:
    """Return 0 to 9: how far a row or column is from the nearest edge, in quarters of a tile, and from which."""
    distance = np.minimum(pixel, side - 1 - pixel)
    near = np.searchsorted([1, max(2, tile // 4), max(3, tile // 2), max(4, tile)], distance, side="right")
    return np.asarray(2 * near + (2 * pixel >= side))


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Return Pearson's p-value; bins that few draws are expected in are put together."""
    from scipy.stats import chi2

    few = expected < LEAST
    if few.any():
        observed = np.append(observed[~few], observed[few].sum())
        expected = np.append(expected[~few], expected[few].sum())
    kept = expected > 0
    if observed[~kept].any():
        return 0.0
    statistic = float(((observed[kept] - expected[kept]) ** 2 / expected[kept]).sum())
    return float(chi2.sf(statistic, int(kept.sum()) - 1))


def profile(sampler: Sampler, side: int, tile: int, seed: int = 0, draws: int = 400_000) -> np.ndarray:
    """Return how often each row of one section of `side` x `side` pixels is seen, relative to the mean row, (side,)."""
    _, top, _ = sampler(draws, numpy_generator(seed, "profile"))
    starts = np.bincount((top % (2 * side)).astype(np.int64), minlength=2 * side)
    unfolded = np.convolve(np.concatenate([starts, starts]), np.ones(tile))[2 * side : 4 * side]  # a row of the endless pattern
    rows = unfolded[:side] + unfolded[side:][::-1]
    return np.asarray(rows / rows.mean())
