"""Figures that the reference reports published, to stand beside ours. By model key and measure."""

from __future__ import annotations

from regen.evaluation.values import Measured

PUBLISHED: dict[str, dict[str, float]] = {  # the punks' reports judged by eye and published no figure
    "letters_tables": {"bytes_held": 536_870_896},
    "letters_lstm": {"nats_per_pixel": 0.163, "letters_covered": 4, "numbers_held": 12_961},
    "classrooms_graph": {"edge_slope": 6.70, "edge_bias": -6.16, "ascent_falls": 18},  # by a wrong gradient, on graphs of its own
    "digits148_vae": {"ssim": 0.828},
    "digits148_mixture": {"cluster_accuracy": 0.76},
}

# Studies: {study: {values of the cell: {measure: published}}}.
STUDIED: dict[str, dict[str, dict[str, float]]] = {}


def beside(key: str, measured: Measured) -> Measured:
    """Return the measures of one model with the published figures added."""
    published = PUBLISHED.get(key, {})
    return {name: entry | ({"reference": published[name]} if name in published else {}) for name, entry in measured.items()}
