"""A study as a table: means over seeds, with their spread, and what they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regen.data import folders
from regen.metrics.values import AGAINST

# {"values": {param: value}, "seeds": n, "measures": {measure: {"value", "error", "spread"?, and one of AGAINST?}}}
Row = dict[str, Any]


def tabulate(cells: Sequence[Mapping[str, Any]], show: Sequence[str]) -> list[Row]:
    """Return one row for each setting, in the order of the cells: cells that differ in their seed alone share a row.

    `spread` is the sample standard deviation over the seeds; `error`, and what a figure is held against, are means over them.

    Args:
        cells: `{"values": {param: value}, "metrics": {measure: {"value": ..., "error": ..., ...}}}`.
        show: measures; one that a cell lacks is left out of its row.
    """
    settings: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        settings.setdefault(repr(_setting(cell)), []).append(cell)
    rows: list[Row] = []
    for found in settings.values():
        measures = {}
        for name in show:
            entries = pd.DataFrame([cell["metrics"][name] for cell in found if name in cell["metrics"]])
            if entries.empty:
                continue
            measures[name] = {part: float(entries[part].mean()) for part in ("value", "error", *AGAINST) if part in entries}
            if len(entries) > 1:
                measures[name]["spread"] = float(entries["value"].std(ddof=1))
        rows.append({"values": _setting(found[0]), "seeds": len(found), "measures": measures})
    return rows


def write(key: str, rows: Sequence[Row], show: Sequence[str], folder: Path) -> None:
    """Write table.json and table.csv. The report draws the plots."""
    folders.write_json(folder / "table.json", {"study": key, "show": list(show), "rows": list(rows)})
    flat = [{**row["values"], "seeds": row["seeds"], **_columns(row)} for row in rows]
    text = pd.DataFrame(flat).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    folders.write(folder / "table.csv", text)


def _columns(row: Row) -> dict[str, float]:
    entries = ((name, part, value) for name, entry in row["measures"].items() for part, value in entry.items())
    return {name if part == "value" else f"{name}_{part}": value for name, part, value in entries}


def _setting(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the varied values but the seed."""
    return {name: value for name, value in cell["values"].items() if name != "seed"}
