"""One page that opens from disk, without a network: experiments as lines over parallel axes, and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regen.commands import html, text
from regen.commands.sweeping import values
from regen.commands.sweeping.results import Column, Results
from regen.data import folders

AXES = 7  # figures that are drawn; the table has all
WIDTH, HEIGHT, TOP, SIDE = 170, 300, 62, 90  # of the drawing: between axes, of an axis, above and beside them
GROWS = 30.0  # from this ratio of numbers on, their logarithms are drawn
SHADES = 5  # of lines, by the first figure
TICKS = 4


@dataclass(frozen=True)
class Axis:
    """One upright line: its name, which end is better, places of some values, and the place of each row, None without one."""

    title: str
    note: str
    x: int
    ticks: list[tuple[float, str]]
    places: list[float | None]


def write(results: Results, out: Path) -> None:
    """Write the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folders.write(out, build(results))


def build(results: Results) -> str:
    """Return the page's HTML."""
    axes = drawn(results)
    return html.page(
        "regen.commands.sweeping", results=results, axes=axes, shades=shades(results.columns, len(results.names)),
        lines=[_line(axes, row) for row in range(len(results.names))], said=values.said, number=_number,
        width=2 * SIDE + WIDTH * (len(axes) - 1), height=HEIGHT + TOP + 24, top=TOP, bottom=TOP + HEIGHT,
    )  # fmt: skip


def drawn(results: Results) -> list[Axis]:
    """Return an axis for each param, and one for each of the first figures; of these the better end is above."""
    axes = [_axis(name, "", given, number, flip=False) for number, (name, given) in enumerate(results.params.items())]
    for column in results.columns[:AXES]:
        given = [entry["value"] if entry else None for entry in column.entries]
        note = "" if column.better == "none" else f"{column.better} is better"
        axes.append(_axis(f"{column.model}: {column.figure}", note, given, len(axes), flip=column.better == "lower"))
    return axes


def shades(columns: Sequence[Column], rows: int) -> list[int]:
    """Return the shade of each row: 0 for the best by the first figure, the last one for the worst; 0 for all without one."""
    if not columns:
        return [0] * rows
    value = {row: entry["value"] for row, entry in enumerate(columns[0].entries) if entry}
    ranked = sorted(value, key=lambda row: value[row], reverse=columns[0].better == "higher")
    place = {row: number * SHADES // len(ranked) for number, row in enumerate(ranked)}
    return [place.get(row, SHADES - 1) for row in range(rows)]


def _axis(title: str, note: str, given: Sequence[Any], number: int, flip: bool) -> Axis:
    x = SIDE + WIDTH * number
    known = [value for value in given if value is not None]
    if not known or not all(_is_number(value) for value in known):
        names = list(dict.fromkeys(map(values.said, given)))
        places = {name: TOP + HEIGHT * (place + 0.5) / len(names) for place, name in enumerate(names)}
        return Axis(title, note, x, [(y, name) for name, y in places.items()], [places[values.said(value)] for value in given])
    low, high = min(known), max(known)
    log = low > 0 and high / low >= GROWS

    def place(value: float) -> float:
        if low == high:
            return TOP + HEIGHT / 2
        part = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return round(TOP + HEIGHT * (part if flip else 1 - part), 1)

    between = [part / (TICKS - 1) for part in range(TICKS)]
    distinct = sorted(set(known))
    even = [low * (high / low) ** part if log else low + (high - low) * part for part in between]
    shown = distinct if len(distinct) <= TICKS else even
    ticks = [(place(value), text.number(value) if shown is distinct else f"{value:.3g}") for value in shown]
    return Axis(title, note, x, ticks, [place(value) if value is not None else None for value in given])


def _line(axes: Sequence[Axis], row: int) -> str:
    """Return the points of one row's line; an axis on which it has no place is left out."""
    return " ".join(f"{axis.x},{place}" for axis in axes if (place := axis.places[row]) is not None)


def _number(value: Any) -> float | str:
    """Return what a row is sorted by."""
    return float(value) if _is_number(value) else values.said(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
