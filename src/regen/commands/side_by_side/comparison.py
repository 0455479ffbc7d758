"""What stands side by side: params that differ, figures with their differences, and pictures, of two or more revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from regen import blocks
from regen.catalogue.registry import MEASURES, caption, order, title
from regen.commands import text
from regen.commands.compare import Entry, judged, verdict
from regen.commands.revisions import Revision, revision
from regen.commands.side_by_side.pictures import Gallery
from regen.errors import UserError

ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """A figure in one column.

    Attributes:
        value: with its error, as people read it, and whether it is a distance that does not count.
        difference: to the first column; empty where they are equal, or one has no such figure.
        judged: better, worse, within errors, new, gone, or nothing.
    """

    value: str
    difference: str = ""
    judged: str = ""


@dataclass(frozen=True)
class Figure:
    """One measure of a model, a cell a column."""

    name: str
    title: str
    unit: str
    meaning: str
    better: str  # lower, higher or none
    held: str  # what it is held against in the first column that has it
    cells: list[Cell]


@dataclass(frozen=True)
class Row:
    """One picture of a model: its MD5 in each column, None where there is none."""

    name: str
    title: str
    text: str
    cells: list[str | None]


@dataclass(frozen=True)
class Model:
    """What differs between the columns of one model.

    Attributes:
        missing: names of columns whose pictures are neither in DVC's cache nor on a remote.
    """

    key: str
    figures: list[Figure]
    pictures: list[Row]
    missing: list[str]


@dataclass(frozen=True)
class Comparison:
    """Revisions side by side.

    Attributes:
        params: path of each param that differs, and its value in each column.
        models: those of which a figure or a picture differs.
        same: keys of the models that are the same in all columns.
    """

    columns: list[Revision]
    params: list[tuple[str, list[str]]]
    models: list[Model]
    same: list[str]


def chosen(revisions: Sequence[str]) -> Sequence[str]:
    """Return what to compare: one revision alone stands beside HEAD, none stands for HEAD and the workspace."""
    return {0: ("HEAD", "workspace"), 1: ("HEAD", *revisions)}.get(len(revisions), revisions)


def compared(names: Sequence[str], only: Sequence[str], gallery: Gallery) -> Comparison:
    """Return what differs between revisions; the first one is what the others are held against.

    Args:
        names: of two or more revisions.
        only: keys of the models to compare; none stands for all.
        gallery: where pictures are found.

    Raises:
        UserError: an unknown revision or model, one that is named twice, or no model that two of them have.
    """
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise UserError(f"compare: {twice[0]} is named twice")
    columns = [revision(name) for name in names]
    keys = _common(columns)
    for key in only:
        blocks.known(key, keys, "compare", "model")
    params = [column.params() for column in columns]
    models = [_model(key, columns, params, gallery) for key in (only or keys)]
    return Comparison(
        columns,
        _differing(params),
        [model for model in models if model.figures or model.pictures or model.missing],
        [model.key for model in models if not (model.figures or model.pictures or model.missing)],
    )


def _common(columns: Sequence[Revision]) -> list[str]:
    """Return the models that at least two columns have figures of."""
    owned = {column: column.models() for column in columns}
    every = [key for keys in owned.values() for key in keys]
    common = sorted({key for key in every if every.count(key) > 1})
    if not common:
        said = "; ".join(f"{column.name}: {', '.join(keys) or 'none'}" for column, keys in owned.items())
        raise UserError(f"compare: no model has figures in two of these ({said})")
    return common


def _differing(params: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    paths = sorted({path for values in params for path in values})
    rows = ((path, [str(values[path]) if path in values else ABSENT for values in params]) for path in paths)
    return [(path, cells) for path, cells in rows if len(set(cells)) > 1]


def _model(key: str, columns: Sequence[Revision], params: Sequence[dict[str, Any]], gallery: Gallery) -> Model:
    measured = [column.measured(key) for column in columns]
    names = {name for entries in measured if entries for name in entries}
    ordered = [*(name for name in MEASURES if name in names), *sorted(names - set(MEASURES))]
    rows = {name: [entries.get(name) if entries else None for entries in measured] for name in ordered}
    differ = any(not _equal(entries) for entries in rows.values())
    block = next(values for values, entries in zip(params, measured, strict=True) if entries is not None)
    pictures, missing = _pictures(key, columns, gallery)
    if not (differ or pictures or missing):
        return Model(key, [], [], [])
    return Model(key, [_figure(key, name, measured, block) for name in rows], pictures, missing)


def _equal(entries: Sequence[Entry | None]) -> bool:
    return all((x is None and y is None) or verdict(x, y) == "equal" for x, y in pairwise(entries))


def _figure(key: str, name: str, measured: Sequence[dict[str, Entry] | None], params: dict[str, Any]) -> Figure:
    measure = MEASURES.get(name)
    features = str(params.get(f"models.{key}.classifier", "none"))
    network, target = (str(params.get(f"models.{features}.{which}", "")) for which in ("network", "target"))
    entries = [figures.get(name) if figures else None for figures in measured]
    held = next((text.held(entry) for entry in entries if entry), "")
    cells = [Cell(text.counted(measured[0], name)), *(_cell(name, measured[0], figures) for figures in measured[1:])]
    if measure is None:  # of a commit whose figures had other names
        return Figure(name, name, "", "", "none", held, cells)
    return Figure(name, title(name, features, network, target), measure.unit, measure.meaning, measure.better, held, cells)


def _cell(name: str, base: dict[str, Entry] | None, figures: dict[str, Entry] | None) -> Cell:
    first, entry = (measured.get(name) if measured else None for measured in (base, figures))
    value = text.counted(figures, name)
    if (first is None and entry is None) or (first and entry and verdict(first, entry) == "equal"):
        return Cell(value)
    difference = f"{entry['value'] - first['value']:+.3g}" if first and entry else ""
    return Cell(value, difference, judged(name, first, entry))


def _pictures(key: str, columns: Sequence[Revision], gallery: Gallery) -> tuple[list[Row], list[str]]:
    """Return a row for each picture, and the columns whose pictures nobody has; neither where all columns have the same ones."""
    folders = [gallery.folder(column, key) for column in columns]
    if len(set(folders)) == 1:
        return [], []
    found = [gallery.pictures(column, key) if folder else {} for column, folder in zip(columns, folders, strict=True)]
    missing = [column.name for column, folder, listed in zip(columns, folders, found, strict=True) if folder and listed is None]
    names = sorted({name for listed in found if listed for name in listed}, key=order)
    rows = [Row(name, *caption(name), [listed.get(name) if listed else None for listed in found]) for name in names]
    return rows, missing
