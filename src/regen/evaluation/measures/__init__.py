"""Every measure in metrics/*.json: what it means, in which unit, which way is better, and what stands beside it as its limit.

One module for each subject of evaluation.
"""

from __future__ import annotations

from regen import params
from regen.evaluation.measures import answers, images, letters, optimum, tiles
from regen.evaluation.measures.measure import Measure

__all__ = ["MEASURES", "Measure", "measure", "title"]

MEASURES: dict[str, Measure] = {**images.MEASURES, **answers.MEASURES, **letters.MEASURES, **optimum.MEASURES, **tiles.MEASURES}


def measure(name: str) -> Measure:
    """Return one measure.

    Raises:
        UserError: there is no such measure.
    """
    params.known(name, list(MEASURES), "metrics", "measure")
    return MEASURES[name]


def title(name: str, features: str = "judge") -> str:
    """Return a measure's title, naming the model that gave the features: "Frechet distance (punks_judge features)"."""
    return measure(name).title.format(features=features)
