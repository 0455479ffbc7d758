"""What experiments gave: a row each, with the values that were varied and the figures of the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regen.catalogue.registry import MEASURES, foremost, title_of
from regen.commands import text
from regen.commands.compare import Entry
from regen.commands.revisions import Revision
from regen.commands.sweeping import values

FEW = 3  # figures of a model in the shell, where a row is a line


@dataclass(frozen=True)
class Column:
    """One figure of one model, in all rows: None where an experiment has none, `shown` as people read it."""

    model: str
    figure: str
    title: str
    unit: str
    better: str  # lower, higher or none
    entries: list[Entry | None]
    shown: list[str]


@dataclass(frozen=True)
class Results:
    """Rows of experiments.

    Attributes:
        params: the short name of each param that was varied, and its value in each row.
        columns: figures, of each model its foremost first.
        pruned: rows that have no figures, as their training was ended early, and at which epoch.
    """

    names: list[str]
    params: dict[str, list[Any]]
    columns: list[Column]
    pruned: dict[str, int] = field(default_factory=dict)

    def few(self) -> list[Column]:
        """Return the columns that have room in the shell."""
        return [column for column in self.columns if self._of(column.model).index(column) < FEW]

    def _of(self, model: str) -> list[Column]:
        return [column for column in self.columns if column.model == model]

    def table(self) -> str:
        """Return them as lines of aligned columns."""
        columns = self.few()
        several = len({column.model for column in columns}) > 1
        head = [
            "experiment",
            *self.params,
            *(f"{column.model}.{column.figure}" if several else column.figure for column in columns),
            *(["pruned"] if self.pruned else []),
        ]
        way = ["", *("" for _ in self.params), *("" if c.better == "none" else f"{c.better} is better" for c in columns)]
        way += [""] * (len(head) - len(way))
        rows = [
            [name, *(values.said(given[row]) for given in self.params.values()), *(c.shown[row] for c in columns)]
            + [f"at epoch {self.pruned[name]}" if name in self.pruned else ""] * bool(self.pruned)
            for row, name in enumerate(self.names)
        ]
        return text.table([head, way, *rows])


def gathered(
    found: Sequence[tuple[Revision, Mapping[str, Any]]], models: Sequence[str], blocks: Mapping[str, Mapping[str, Any]],
    first: str = "", pruned: Sequence[tuple[str, Mapping[str, Any], int]] = (),
) -> Results:  # fmt: skip
    """Return what experiments gave.

    Args:
        found: experiments and the values that were varied.
        models: those whose figures are shown; of several only those that experiments differ in.
        blocks: all models of params.yaml.
        first: a figure that stands before the others.
        pruned: names of trials that have no figures, the values that were varied, and the epoch at which each was ended.
    """
    paths = list(found[0][1]) if found else []
    short = values.labels(paths)
    columns = [column for key in models for column in _columns(key, [at for at, _ in found], blocks, first)]
    differing = {column.model for column in columns if len({_value(entry) for entry in column.entries}) > 1}
    kept = [column for column in columns if not differing or column.model in differing]
    for column in kept:
        column.entries.extend([None] * len(pruned))
        column.shown.extend([text.figure(None)] * len(pruned))
    rows = [*(row for _, row in found), *(row for _, row, _ in pruned)]
    names = [*(at.name for at, _ in found), *(name for name, _, _ in pruned)]
    early = {name: epoch for name, _, epoch in pruned}
    return Results(names, {short[path]: [row[path] for row in rows] for path in paths}, kept, early)


def _columns(key: str, revisions: Sequence[Revision], blocks: Mapping[str, Mapping[str, Any]], first: str) -> list[Column]:
    """Return the figures of one model of which one way is better; all of them where there is no such one."""
    measured = [at.measured(key) or {} for at in revisions]
    names = {name for entries in measured for name in entries}
    known = [name for name in MEASURES if name in names]
    judged = [name for name in known if MEASURES[name].better != "none"] or known
    lead = [name for name in (first, foremost(judged, blocks[key]["family"])) if name in names]
    return [
        Column(key, name, title_of(name, blocks[key], blocks), MEASURES[name].unit, MEASURES[name].better,
               [entries.get(name) for entries in measured], [text.counted(entries, name) for entries in measured])
        for name in dict.fromkeys([*lead, *judged])
    ]  # fmt: skip


def _value(entry: Entry | None) -> float | None:
    return entry["value"] if entry else None
