"""Which distances between samples and real images count.

A distance is small as well where training images are repeated, and where the features know the training images by heart. So it
counts where samples are no nearer to training images than test images are, and where it is not below what real training images
get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

Figures = Mapping[str, Mapping[str, float]]  # of one model: {name: {"value": ..., "error": ..., "real": ...}}
Doubt = Literal["", "copies", "features"]
DISTANCE, NEAR, SAME = "frechet_distance", "near_copies", "copies"
OF_SAMPLES = (DISTANCE, "kernel_distance")  # others of these names are of reconstructions, or of what lies between
ERRORS = 2  # standard errors that a figure has to be off by
DOUBTS = {
    "copies": "More of its samples are copies or near-copies of training images than of real test images are, by two standard "
    "errors; one copy, pixel for pixel, is enough. Such samples lie close to real images without being new.",
    "features": "It is below what real training images get, and nothing new can be nearer than those. Either the features know "
    "the images that they were learnt on by heart, or there are too few images: samples are not told from real ones.",
}


def doubt(figures: Figures, name: str) -> Doubt:
    """Return why a model's distance does not count; "" where it does, or where the figure is no distance."""
    entry = figures.get(name)
    if entry is None or not name.startswith(OF_SAMPLES):
        return ""
    if name in OF_SAMPLES and copied(figures):
        return "copies"
    error = entry.get("error")  # what stands beside it errs as much
    return "features" if apart(entry.get("real"), entry["value"], error, error) else ""


def copied(figures: Figures) -> str:
    """Return the figure that tells of copies, `copies` or `near_copies`; "" where there are no more than among real images."""
    same, near = figures.get(SAME), figures.get(NEAR)
    if same is not None and same["value"] > same.get("real", 0.0):
        return SAME
    return NEAR if near is not None and apart(near["value"], near.get("real"), near.get("error")) else ""


def apart(more: float | None, less: float | None, *errors: float | None) -> bool:
    """Return whether one figure is above another by more than their errors allow."""
    return more is not None and less is not None and more - less > ERRORS * math.hypot(*(error or 0.0 for error in errors))
