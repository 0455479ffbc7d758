"""Curves of the page, as numbers that it draws by itself: trainings and studies, with what they are held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regen.drawing.plots import NOT_LOSSES
from regen.errors import shown
from regen.metrics.values import AGAINST, Measured

Row = Mapping[str, Any]  # of a study: {"values": {param: value}, "measures": {measure: {"value", "error", "spread"?, ...}}}
Number = float | None


@dataclass(frozen=True)
class Line:
    """One line: a value for each of the chart's places, None where it has none; `spreads` are half-widths of its band."""

    label: str
    values: list[Number]
    spreads: list[Number] = field(default_factory=list)
    published: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over the same places.

    Attributes:
        x: what the places are, `epoch` for example.
        places: ascending numbers.
        names: of the places, where they are no numbers but one setting each.
        levels: horizontal lines, by what they are: bound, baseline, real.
    """

    title: str
    x: str
    places: list[float]
    lines: list[Line]
    names: list[str] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {
            "title": self.title, "x": self.x, "places": self.places, "names": self.names, "levels": self.levels,
            "lines": [vars(line) for line in self.lines],
        }  # fmt: skip

    @property
    def said(self) -> str:
        """The chart in words, for those who do not see it."""
        parts = []
        for line in self.lines:
            known = [(place, value) for place, value in zip(self.places, line.values, strict=True) if value is not None]
            if known:
                (first, start), (last, end) = known[0], known[-1]
                parts.append(f"{line.label} {start:.4g} at {self._named(first)}, {end:.4g} at {self._named(last)}")
        parts += [f"{which} {level:.4g}" for which, level in self.levels.items()]
        return f"{self.title} over {self.x}: {'; '.join(parts)}."

    def _named(self, place: float) -> str:
        return self.names[int(place)] if self.names else f"{place:g}"


def training(history: Mapping[str, list[float]], measured: Measured) -> list[Chart]:
    """Return one chart for each column of a training but the counters, over the first column.

    A column that has a measure's name (`nats_per_pixel`) has beside it what that measure is held against.
    """
    if not history:
        return []
    x, places = next(iter(history.items()))
    charts = []
    for name in sorted(history, key=lambda name: name.endswith(("learning_rate", "gradient_norm"))):  # these come last
        if name not in NOT_LOSSES:
            entry = measured.get(name, {})
            levels = {which: entry[which] for which in AGAINST if which in entry}
            label = shown(name.replace("_", " "))
            charts.append(Chart(label, shown(x), places, [Line(label, _numbers(history[name]))], levels=levels))
    return charts


def study(rows: Sequence[Row], name: str, title: str) -> Chart:
    """Return a chart of one measure of a study, over the first varied param.

    Rows that share its value are lines of their own, named by the other params; where no two rows do, it is one line, as the
    other params go with it. Settings that are no numbers, or of which no line has two, stand side by side.
    """
    first, *others = rows[0]["values"] or [""]
    if first and len({row["values"][first] for row in rows}) == len(rows):
        others = []
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(shown(", ".join(f"{other} {row['values'][other]}" for other in others)) or "ours", []).append(row)
    entries = [row["measures"][name] for row in rows]
    levels = {which: {entry[which] for entry in entries if which in entry} for which in AGAINST}
    one = {which: values.pop() for which, values in levels.items() if len(values) == 1}
    numbers = bool(first) and all(_is_number(row["values"][first]) for row in rows)
    if numbers and all(len({row["values"][first] for row in line}) > 1 for line in lines.values()):
        places = sorted({row["values"][first] for row in rows})
        drawn = [
            line for text, group in lines.items()
            for line in _lines(text, {row["values"][first]: row["measures"][name] for row in group}, places, len(lines) > 1)
        ]  # fmt: skip
        return Chart(title, shown(first.replace("_", " ")), places, drawn, levels=one)
    names = [shown(", ".join(f"{param} {value}" for param, value in row["values"].items())) for row in rows]
    drawn = _lines("ours", dict(enumerate(entries)), list(range(len(rows))), several=False)
    return Chart(title, "setting", list(range(len(rows))), drawn, names=names, levels=one)


def _lines(text: str, entries: Mapping[float, Row], places: Sequence[float], several: bool) -> list[Line]:
    """Our line, and the published one where anything is published."""
    spreads = _at(entries, places, "spread") if any("spread" in entry for entry in entries.values()) else []
    lines = [Line(text, _at(entries, places, "value"), spreads)]
    if any("published" in entry for entry in entries.values()):
        label = f"published, {text}" if several else "published"
        lines.append(Line(label, _at(entries, places, "published"), published=True))
    return lines


def _at(entries: Mapping[float, Row], places: Sequence[float], part: str) -> list[Number]:
    return _numbers([entries.get(place, {}).get(part, math.nan) for place in places])


def _numbers(values: Sequence[float]) -> list[Number]:
    return [value if math.isfinite(value) else None for value in values]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
