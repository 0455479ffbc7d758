"""A study as a table and as plots: means over seeds, with their spread, beside limits and published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regen.catalogue.published import STUDIED
from regen.catalogue.registry import title
from regen.data import folders
from regen.drawing import plots

# {"values": {param: value}, "seeds": n, "measures": {measure: {"value", "spread"?, "limit"?, "reference"?}}}
Row = dict[str, Any]


def tabulate(key: str, cells: Sequence[Mapping[str, Any]], show: Sequence[str]) -> list[Row]:
    """Return one row for each setting, in the order of the cells: cells that differ in their seed alone share a row.

    `spread` is the sample standard deviation over the seeds.

    Args:
        key: of the study, under which published figures are found.
        cells: `{"values": {param: value}, "metrics": {measure: {"value": ...}}}`.
        show: measures; one that a cell lacks is left out of its row.
    """
    frame = pd.DataFrame([_setting(cell) for cell in cells], columns=["setting"])
    rows: list[Row] = []
    for setting, group in frame.groupby("setting", sort=False):
        found = [cells[index] for index in group.index]
        values = {name: value for name, value in found[0]["values"].items() if name != "seed"}
        measures = {}
        for name in show:
            entries = pd.DataFrame([cell["metrics"][name] for cell in found if name in cell["metrics"]])
            if entries.empty:
                continue
            measures[name] = {"value": float(entries["value"].mean())}
            if len(entries) > 1:
                measures[name]["spread"] = float(entries["value"].std(ddof=1))
            if "limit" in entries:
                measures[name]["limit"] = float(entries["limit"].mean())
            if (published := _published(key, str(setting)).get(name)) is not None:
                measures[name]["reference"] = published
        rows.append({"values": values, "seeds": len(found), "measures": measures})
    return rows


def write(key: str, rows: Sequence[Row], show: Sequence[str], features: str, folder: Path) -> None:
    """Write table.json, table.csv and one plot a measure (where there is more than one row)."""
    folders.write_json(folder / "table.json", {"study": key, "show": list(show), "rows": list(rows)})
    flat = [{**row["values"], "seeds": row["seeds"], **_columns(row)} for row in rows]
    pd.DataFrame(flat).to_csv(folder / "table.csv", index=False, lineterminator="\n", float_format="%.6g")
    for name in show:
        measured = [row for row in rows if name in row["measures"]]
        if len(measured) > 1:
            _draw(measured, name, title(name, features), folder / f"{name}.png")


def _columns(row: Row) -> dict[str, float]:
    entries = ((name, part, value) for name, entry in row["measures"].items() for part, value in entry.items())
    return {name if part == "value" else f"{name}_{part}": value for name, part, value in entries}


def _published(key: str, setting: str) -> dict[str, float]:
    """Return the published figures of a setting "1,2,30", or of the most of its first values that have some: "1,2"."""
    published = STUDIED.get(key, {})
    while setting and setting not in published:
        setting = setting.rpartition(",")[0]
    return published.get(setting, {})


def _draw(rows: Sequence[Row], name: str, label: str, out: Path) -> None:
    """Lines over the first varied param where it is a number with several values in each line, else bars.

    Where no two rows share its value, it is one line: the other params go with it.
    """
    first, *others = rows[0]["values"]
    if len({row["values"][first] for row in rows}) == len(rows):
        others = []
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(", ".join(f"{other} {row['values'][other]}" for other in others) or "ours", []).append(row)
    numbers = all(isinstance(row["values"][first], int | float) for row in rows)
    if numbers and all(len({row["values"][first] for row in line}) > 1 for line in lines.values()):
        _draw_lines(lines, first, name, label, out)
        return
    entries = {", ".join(f"{param} {value}" for param, value in row["values"].items()): row["measures"][name] for row in rows}
    parts = {part: {text: entry[part] for text, entry in entries.items() if part in entry} for part in ("spread", "reference")}
    values = {text: entry["value"] for text, entry in entries.items()}
    plots.bars(values, out, label, errors=parts["spread"] or None, references=parts["reference"])


def _draw_lines(lines: Mapping[str, Sequence[Row]], first: str, name: str, label: str, out: Path) -> None:
    drawn: dict[str, tuple[list[float], list[float]]] = {}
    spreads: dict[str, list[float]] = {}
    for text, line in lines.items():
        ordered = sorted(line, key=lambda row: row["values"][first])
        entries = [row["measures"][name] for row in ordered]
        x = [row["values"][first] for row in ordered]
        drawn[text] = (x, [entry["value"] for entry in entries])
        if any("spread" in entry for entry in entries):
            spreads[text] = [entry.get("spread", 0.0) for entry in entries]
        if all("reference" in entry for entry in entries):
            drawn[f"reference, {text}" if len(lines) > 1 else "reference"] = (x, [entry["reference"] for entry in entries])
    limits = {entry["limit"] for line in lines.values() for row in line if "limit" in (entry := row["measures"][name])}
    limit = {"limit": limits.pop()} if len(limits) == 1 else None
    plots.curves(drawn, out, first.replace("_", " "), label, errors=spreads, limits=limit)


def _setting(cell: Mapping[str, Any]) -> str:
    """Return the varied values but the seed, as published figures are keyed: "0.9", "1,2"."""
    return ",".join(str(value) for name, value in cell["values"].items() if name != "seed")
