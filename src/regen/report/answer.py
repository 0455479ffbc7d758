"""Which model generates best: a paragraph made of the figures, and which of these do not count.

A distance between samples and real images is small as well where training images are repeated, and where the features know the
training images by heart. So it counts where samples are no nearer to training images than test images are, and where it is not
below what real training images get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from regen.report.numbers import figure

if TYPE_CHECKING:
    from regen.report.chapters import Row, Section

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


def doubt(section: Section, name: str) -> Doubt:
    """Return why a model's distance does not count; "" where it does, or where the figure is no distance."""
    row = section.row(name)
    if row is None or not name.startswith(OF_SAMPLES):
        return ""
    if name in OF_SAMPLES and _copied(section):
        return "copies"
    below = row.against == "real" and _apart(row.other, row.value, row.error, row.error)  # what stands beside it errs as much
    return "features" if below else ""


def answer(sections: Sequence[Section]) -> list[str]:
    """Return the sentences on the models of one data set; none where fewer than two generate, or in different features."""
    having = [section for section in sections if section.row(DISTANCE)]
    rows = {section.key: row for section in having if (row := section.row(DISTANCE))}
    if len(rows) < 2 or len({row.title for row in rows.values()}) > 1:
        return []
    doubts = {section.key: doubt(section, DISTANCE) for section in having}
    told = _best(rows, sorted((key for key in rows if not doubts[key]), key=lambda key: rows[key].value))
    told += [_copying(section.key, rows, row) for section in having if doubts[section.key] and (row := _copied(section))]
    if below := [key for key in rows if doubts[key] == "features"]:
        told.append(f"Below what real training images get, and so of no account: {_listed(below, rows)}.")
    return told + [line for section in having if section.family == "autoencoder" and (line := _prior(section))]


def _copied(section: Section) -> Row | None:
    """Return the figure that tells of copies; None where there are no more than among real images."""
    same, near = section.row(SAME), section.row(NEAR)
    if same is not None and same.value > (same.other or 0.0):
        return same
    return near if near is not None and _apart(near.value, near.other, near.error) else None


def _apart(more: float | None, less: float | None, *errors: float | None) -> bool:
    """Whether one figure is above another by more than their errors allow."""
    return more is not None and less is not None and more - less > ERRORS * math.hypot(*(error or 0.0 for error in errors))


def _best(rows: Mapping[str, Row], counted: Sequence[str]) -> list[str]:
    """Say which model is nearest to real images, which cannot be told from it, and which come then."""
    if not counted:
        return [f"Of {len(rows)} models that generate, none has a Frechet distance that counts."]
    first = rows[counted[0]]
    real = f", where real training images get {figure(first.other)}" if first.against == "real" else ""
    told = [
        f"Of {len(rows)} models that generate, {counted[0]} comes nearest to real images: Frechet distance {_told(first)}{real}."
    ]
    after = [key for key in counted[1:] if _apart(rows[key].value, first.value, rows[key].error, first.error)]
    if equal := [key for key in counted[1:] if key not in after]:
        told.append(f"Not to be told from it: {_listed(equal, rows)}.")
    return [*told, f"After that: {_listed(after, rows)}."] if after else told


def _copying(key: str, rows: Mapping[str, Row], row: Row) -> str:
    """Say of a model's samples how many are copies."""
    what = "equal a training image" if row.name == SAME else "are near-copies of training images"
    real = f"{100 * row.other:.3g} %" if row.other else "none"
    return (
        f"{key} ({_told(rows[key])}) does not count: {100 * row.value:.3g} % of its samples {what}, of real test images {real}."
    )


def _prior(section: Section) -> str:
    """Say of an autoencoder what is made of latents that it never saw; "" where that is no worse."""
    prior, fitted = section.row(f"{DISTANCE}_prior"), section.row(f"{DISTANCE}_fitted")
    if not prior or not fitted or not _apart(prior.value, fitted.value, prior.error, fitted.error):
        return ""
    return (
        f"{section.key} has no prior: of latents drawn from a standard normal it makes images at a distance of {_told(prior)}, "
        f"of latents drawn from a Gaussian fitted to its own {_told(fitted)}."
    )


def _told(row: Row) -> str:
    return figure(row.value) + (f" ± {figure(row.error, 2)}" if row.error else "")


def _listed(keys: Sequence[str], rows: Mapping[str, Row]) -> str:
    return ", ".join(f"{key} ({_told(rows[key])})" for key in keys)
