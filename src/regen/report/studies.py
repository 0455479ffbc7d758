"""Studies on the page: the table of each, and its plots, which are drawn here so that they show what is published too."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regen import paths
from regen.catalogue import published
from regen.catalogue.registry import title
from regen.drawing import plots
from regen.metrics.values import AGAINST
from regen.params import Params
from regen.report.files import Picture, written


@dataclass(frozen=True)
class Study:
    """One model trained over a list of values.

    Attributes:
        rows: {"values": {param: value}, "seeds": n, "measures": {measure: {"value", "error", "spread"?, "published"?, "source"?,
            and one of bound, baseline, real?}}}.
    """

    key: str
    classifier: str
    block: dict[str, Any]
    rows: list[dict[str, Any]]
    pictures: list[Picture]

    @property
    def varied(self) -> list[str]:
        """The params that differ between rows, in the order of params.yaml."""
        return [name for name in self.block["vary"] if self.rows and name in self.rows[0]["values"]]

    @property
    def shown(self) -> list[str]:
        """The measures that any row has."""
        return [name for name in self.block["show"] if any(name in row["measures"] for row in self.rows)]

    def heading(self, name: str) -> str:
        """Title of a measure."""
        return title(name, self.classifier)


def study(key: str, given: Params) -> Study:
    """Return one study's table, and a plot of each measure that more than one row has.

    Raises:
        UserError: the table is missing or damaged.
    """
    block = given.studies[key]
    classifier = given.models[block["model"]].get("classifier", "none")
    rows = written(paths.STUDIES / key / "table.json", f"study@{key}")["rows"]
    for row in rows:
        for name, (value, source) in published.beside(block["model"], given, row["values"]).items():
            if name in row["measures"]:
                row["measures"][name] |= {"published": value, "source": source}
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for name in block["show"]:
            measured = [row for row in rows if name in row["measures"]]
            if len(measured) > 1:
                out = Path(folder) / f"{name}.png"
                draw(measured, name, title(name, classifier), out)
                pictures.append(Picture.of(out, title(name, classifier)))
    return Study(key, classifier, block, rows, pictures)


def draw(rows: Sequence[dict[str, Any]], name: str, label: str, out: Path) -> None:
    """Draw lines over the first varied param where it is a number with several values in each line, else bars.

    Where no two rows share its value, it is one line: the other params go with it.
    """
    first, *others = rows[0]["values"] or [""]
    if first and len({row["values"][first] for row in rows}) == len(rows):
        others = []
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault(", ".join(f"{other} {row['values'][other]}" for other in others) or "ours", []).append(row)
    numbers = bool(first) and all(isinstance(row["values"][first], int | float) for row in rows)
    if numbers and all(len({row["values"][first] for row in line}) > 1 for line in lines.values()):
        _lines(lines, first, name, label, out)
        return
    entries = {", ".join(f"{param} {value}" for param, value in row["values"].items()): row["measures"][name] for row in rows}
    parts = {part: {text: entry[part] for text, entry in entries.items() if part in entry} for part in ("spread", "published")}
    values = {text: entry["value"] for text, entry in entries.items()}
    plots.bars(values, out, label, errors=parts["spread"] or None, published=parts["published"])


def _lines(lines: Mapping[str, Sequence[dict[str, Any]]], first: str, name: str, label: str, out: Path) -> None:
    drawn: dict[str, tuple[list[float], list[float]]] = {}
    spreads: dict[str, list[float]] = {}
    for text, line in lines.items():
        ordered = sorted(line, key=lambda row: row["values"][first])
        entries = [row["measures"][name] for row in ordered]
        x = [row["values"][first] for row in ordered]
        drawn[text] = (x, [entry["value"] for entry in entries])
        if any("spread" in entry for entry in entries):
            spreads[text] = [entry.get("spread", 0.0) for entry in entries]
        if all("published" in entry for entry in entries):
            drawn[f"published, {text}" if len(lines) > 1 else "published"] = (x, [entry["published"] for entry in entries])
    entries = [row["measures"][name] for line in lines.values() for row in line]
    levels = {which: {entry[which] for entry in entries if which in entry} for which in AGAINST}
    one = {which: found.pop() for which, found in levels.items() if len(found) == 1}
    plots.curves(drawn, out, first.replace("_", " "), label, errors=spreads, levels=one)
