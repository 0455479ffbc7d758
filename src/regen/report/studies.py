"""Studies on the page: the table of each, and a chart of each measure, with what is published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from regen import paths
from regen.catalogue import published
from regen.catalogue.registry import title_of
from regen.errors import UserError
from regen.params import Params
from regen.report import charts
from regen.report.files import found, written


@dataclass(frozen=True)
class Study:
    """One model trained over a list of values.

    Attributes:
        titles: of the measures that it shows.
        rows: {"values": {param: value}, "seeds": n, "measures": {measure: {"value", "error", "spread"?, "published"?, "source"?,
            and one of bound, baseline, real?}}}.
        missing: what could not be read, and its cure.
    """

    key: str
    titles: dict[str, str]
    block: dict[str, Any]
    rows: list[dict[str, Any]]
    charts: list[charts.Chart]
    missing: list[str] = field(default_factory=list)

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
        return self.titles[name]


def study(key: str, given: Params, curves: bool = True) -> Study:
    """Return one study's table, and, with `curves`, a chart of each measure that more than one row has."""
    block, missing = given.studies[key], list[str]()
    titles = {name: title_of(name, given.models[block["model"]], given.models) for name in block["show"]}
    rows = found(lambda: _rows(key), missing, list[dict[str, Any]]())
    for row in rows:
        for name, (value, source) in published.beside(block["model"], given, row["values"]).items():
            if name in row["measures"]:
                row["measures"][name] |= {"published": value, "source": source}
    drawn = []
    for name in block["show"]:
        measured = [row for row in rows if name in row["measures"]]
        if curves and len(measured) > 1:
            drawn.append(charts.study(measured, name, titles[name]))
    return Study(key, titles, block, rows, drawn, missing)


def _rows(key: str) -> list[dict[str, Any]]:
    path, stage = paths.study(key) / "table.json", f"study@{key}"
    content = written(path, stage)
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise UserError(f"{path}: damaged (expected rows); run `dvc repro --force {stage}`")
    return list(content["rows"])
