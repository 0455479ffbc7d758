"""Every measure in metrics/*.json: what it means, in which unit, which way is better, and what stands beside it as its limit.

One module for each subject of evaluation.
"""

from __future__ import annotations

from regen import blocks
from regen.catalogue import arithmetic, estimators, images, letters, tiles
from regen.catalogue.measure import Measure

__all__ = ["MEASURES", "Measure", "measure", "title"]

MEASURES: dict[str, Measure] = {
    **images.MEASURES, **arithmetic.MEASURES, **letters.MEASURES, **estimators.MEASURES, **tiles.MEASURES,
}  # fmt: skip


def measure(name: str) -> Measure:
    """Return one measure.

    Raises:
        UserError: there is no such measure.
    """
    blocks.known(name, list(MEASURES), "metrics", "measure")
    return MEASURES[name]


def title(name: str, features: str = "classifier") -> str:
    """Return a measure's title, naming the model that gave the features: "Frechet distance (punks_classifier features)"."""
    return measure(name).title.format(features=features)
