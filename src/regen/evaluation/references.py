"""Figures that the reference reports published, to stand beside ours. By model key and measure."""

from __future__ import annotations

from regen.evaluation.values import Measured

PUBLISHED: dict[str, dict[str, float]] = {}  # the punks' reports judged by eye and published no figure

# Studies: {study: {values of the cell: {measure: published}}}.
STUDIED: dict[str, dict[str, dict[str, float]]] = {}


def beside(key: str, measured: Measured) -> Measured:
    """Return the measures of one model with the published figures added."""
    published = PUBLISHED.get(key, {})
    return {name: entry | ({"reference": published[name]} if name in published else {}) for name, entry in measured.items()}
