"""What statistics.json says of the images: how many files were bad, copies or near-copies, and what they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regen.data.images.chunks import Found
from regen.data.images.duplicates import NEAR
from regen.data.images.splits import LEFT_OUT

LISTED = 100  # files, sets or groups of each sort that are listed; images.csv has all


def of(
    names: Sequence[str], found: Found, split: np.ndarray, same: np.ndarray, near: np.ndarray, groups: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the counts that the report shows (`facts`), and what is behind them by name."""
    good = [names[row] for row in found.rows]
    copies, alike = _sets(good, same), _sets(good, near)
    first = np.arange(len(good))
    reasons = kinds(found.bad)
    counts = {
        "files": len(names),
        "bad files": len(found.bad),
        **{f"bad files: {reason}": count for reason, count in reasons.items()},
        "copies of another file": int((same != first).sum()),
        "near-duplicates of another picture": int(((near != first) & (same == first)).sum()),
        "animated files, of which the first frame is taken": int(found.animated.sum()),
        "left out, since another split has a copy": int((split == LEFT_OUT).sum()),
        **{f"groups in {name}": len(members) for name, members in groups.items()},
    }
    return {
        "facts": counts,
        "bad_files": {names[row]: reason for row, reason in list(found.bad.items())[:LISTED]},
        "animated_files": [name for name, moves in zip(good, found.animated, strict=True) if moves][:LISTED],
        "copies": copies[:LISTED],
        "near_duplicates": {"hash": f"64-bit pHash of the prepared image, at most {NEAR} bits apart", "sets": alike[:LISTED]},
        "held_out_groups": list(groups.get("test", ()))[:LISTED],
        "formats": dict(Counter(found.formats.tolist())),
        "sizes": {
            name: dict(zip(("min", "median", "max"), np.quantile(edges, [0, 0.5, 1], method="nearest").tolist(), strict=True))
            for name, edges in zip(("width", "height"), found.sizes.T, strict=True)
        },
    }


def kinds(bad: Mapping[int, str]) -> dict[str, int]:
    """Return how many files are bad for each kind of reason: what stands before its colon."""
    return dict(sorted(Counter(reason.partition(":")[0] for reason in bad.values()).items()))


def _sets(names: Sequence[str], first: np.ndarray) -> list[list[str]]:
    """Return the names in each set of two or more, the largest sets first; of each set as many as are listed."""
    _, place, sizes = np.unique(first, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(sizes)
    several = [number for number in np.argsort(-sizes, kind="stable") if sizes[number] > 1][:LISTED]
    return [[names[i] for i in order[ends[number] - sizes[number] : ends[number]][:LISTED]] for number in several]
