"""Every measure in metrics/*.json and every picture in figures/: what it means, and what stands beside it.

One module for each task of `regen.evaluation`; `shared` has what several tasks have.
"""

from __future__ import annotations

from regen import blocks
from regen.catalogue import arithmetic, components, graphs, images, letters, mixtures, regression, shared, tiles
from regen.catalogue.measure import Caption, Measure

__all__ = ["CAPTIONS", "MEASURES", "TASKS", "Caption", "Measure", "caption", "measure", "order", "title"]

TASKS = (shared, images, arithmetic, letters, components, mixtures, regression, graphs, tiles)
MEASURES: dict[str, Measure] = {name: measure for task in TASKS for name, measure in task.MEASURES.items()}
CAPTIONS: dict[str, Caption] = {name: caption for task in TASKS for name, caption in task.CAPTIONS.items()}


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


def caption(name: str) -> Caption:
    """Return the title and the sentence for one picture; the file's own name where nobody wrote one."""
    return CAPTIONS.get(name, Caption(name.replace("_", " ").capitalize(), ""))


def order(name: str) -> tuple[int, str]:
    """Sort key: the order of CAPTIONS, then by name."""
    names = list(CAPTIONS)
    return (names.index(name) if name in names else len(names), name)
