"""Which model of a data set generates best: sentences made of the figures, true whatever these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from regen.catalogue.counting import DISTANCE, SAME, apart, copied
from regen.report.numbers import figure

if TYPE_CHECKING:
    from regen.report.chapters import Row, Section


def answer(sections: Sequence[Section]) -> list[str]:
    """Return the sentences on the models of one data set; none where fewer than two generate, or in different features."""
    having = [section for section in sections if section.row(DISTANCE)]
    rows = {section.key: row for section in having if (row := section.row(DISTANCE))}
    if len(rows) < 2 or len({row.title for row in rows.values()}) > 1:
        return []
    doubts = {section.key: section.doubt(DISTANCE) for section in having}
    told = _best(rows, sorted((key for key in rows if not doubts[key]), key=lambda key: rows[key].value))
    told += [_copying(section, rows) for section in having if doubts[section.key] == "copies"]
    if below := [key for key in rows if doubts[key] == "features"]:
        told.append(f"Below what real training images get, and so of no account: {_listed(below, rows)}.")
    return told + [line for section in having if section.family == "autoencoder" and (line := _prior(section))]


def _best(rows: Mapping[str, Row], counted: Sequence[str]) -> list[str]:
    """Say which model is nearest to real images, which cannot be told from it, and which come then."""
    if not counted:
        return [f"Of {len(rows)} models that generate, none has a Frechet distance that counts."]
    best, first = counted[0], rows[counted[0]]
    real = f", where real training images get {figure(first.other)}" if first.against == "real" else ""
    told = [f"Of {len(rows)} models that generate, {best} comes nearest to real images: Frechet distance {_told(first)}{real}."]
    after = [key for key in counted[1:] if apart(rows[key].value, first.value, rows[key].error, first.error)]
    if equal := [key for key in counted[1:] if key not in after]:
        told.append(f"Not to be told from it: {_listed(equal, rows)}.")
    return [*told, f"After that: {_listed(after, rows)}."] if after else told


def _copying(section: Section, rows: Mapping[str, Row]) -> str:
    """Say of a model's samples how many are copies."""
    row = section.row(copied(section.figures))
    assert row is not None
    what = "equal a training image" if row.name == SAME else "are near-copies of training images"
    real = f"{100 * row.other:.3g} %" if row.other else "none"
    told = _told(rows[section.key])
    return f"{section.key} ({told}) does not count: {100 * row.value:.3g} % of its samples {what}, of real test images {real}."


def _prior(section: Section) -> str:
    """Say of an autoencoder what is made of latents that it never saw; "" where that is no worse."""
    prior, fitted = section.row(f"{DISTANCE}_prior"), section.row(f"{DISTANCE}_fitted")
    if not prior or not fitted or not apart(prior.value, fitted.value, prior.error, fitted.error):
        return ""
    return (
        f"{section.key} has no prior: of latents drawn from a standard normal it makes images at a distance of {_told(prior)}, "
        f"of latents drawn from a Gaussian fitted to its own {_told(fitted)}."
    )


def _told(row: Row) -> str:
    return figure(row.value) + (f" ± {figure(row.error, 2)}" if row.error else "")


def _listed(keys: Sequence[str], rows: Mapping[str, Row]) -> str:
    return ", ".join(f"{key} ({_told(rows[key])})" for key in keys)
