"""Copies and near-copies among n pictures, in about n log n: nothing is compared with everything."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

NEAR = 4  # bits of 64 in which the perceptual hashes of near-duplicates differ at most
BANDS = 6  # the bits are cut into so many bands: of 4 differences at least two bands are free
HELD = 1 << 20  # pairs, 16 bytes each
NEXT = 128  # hashes that agree in two bands and are compared with each: a bound for data that are all alike


def copies(digests: np.ndarray) -> np.ndarray:
    """Return for each of n pictures the first one with the same pixels, int64 (n,); `digests` uint64 (n, 2) tell them."""
    pairs = np.ascontiguousarray(digests).view("<u8,<u8").ravel()
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    return first[which]


def near(hashes: np.ndarray) -> np.ndarray:
    """Return for each of n pictures the first one of its chain of near-duplicates, int64 (n,).

    Pictures are near-duplicates where their hashes, uint64 (n,), differ in at most `NEAR` bits; a chain is what such steps
    join. Equal hashes are put together first. Two that differ in 4 bits of 64 agree in at least two of 6 bands, so only
    those that agree in two bands are compared (multi-index hashing; Norouzi, Punjani & Fleet 2012), each with at most
    `NEXT` others for each two bands.
    """
    values, which = np.unique(hashes, return_inverse=True)
    chain = np.arange(len(values))
    for mask in _masks():
        for pairs in _pairs(values, mask):  # joined at once: those of pictures that are all alike are many
            joined = np.concatenate([np.stack([np.arange(len(values)), chain], 1), pairs])
            graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), (len(values), len(values)))
            _, number = connected_components(graph, directed=False)
            _, first = np.unique(number, return_index=True)
            chain = first[number]
    _, first, place = np.unique(chain[which], return_index=True, return_inverse=True)
    return first[place]


def _masks() -> list[np.uint64]:
    """All choices of bands that two near hashes may agree in: as many as are free of NEAR differences, at worst."""
    edges = np.linspace(0, 64, BANDS + 1).round().astype(int)
    bands = [sum(1 << int(bit) for bit in range(low, high)) for low, high in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(bands, BANDS - NEAR)]


def _pairs(values: np.ndarray, mask: np.uint64) -> Iterator[np.ndarray]:
    """Yield pairs (i, j) of sorted distinct hashes that agree under `mask` and differ in at most NEAR bits elsewhere.

    At most some `HELD` pairs at a time, (k, 2).
    """
    keys = values & mask
    order = np.argsort(keys, kind="stable")
    keys, sorted_ = keys[order], values[order]
    found, count = list[np.ndarray](), 0
    for step in range(1, NEXT + 1):
        same = np.flatnonzero(keys[step:] == keys[:-step])
        if not len(same):
            break
        close = same[np.bitwise_count(sorted_[same] ^ sorted_[same + step]) <= NEAR]
        found.append(np.stack([order[close], order[close + step]], 1))
        count += len(close)
        if count > HELD:
            yield np.concatenate(found)
            found, count = [], 0
    if count:
        yield np.concatenate(found)
