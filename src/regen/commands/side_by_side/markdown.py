"""The same comparison as Markdown, for a pull request: without pictures, which differ in name alone there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from regen.commands.side_by_side.comparison import Cell, Comparison, Model, chosen, compared
from regen.commands.side_by_side.pictures import Gallery

MARKS = {"better": "🟢", "worse": "🔴", "within errors": "⚪", "new": "🆕", "gone": "❌"}


def of(revisions: Sequence[str], models: Sequence[str]) -> str:
    """Compare revisions, in all models or some; see `comparison.chosen`."""
    return written(compared(chosen(revisions), models, Gallery()))


def written(found: Comparison) -> str:
    """Return tables of the params that differ and of the figures that moved, and the names of the pictures that changed."""
    return "\n".join(_lines(found))


def _lines(found: Comparison) -> Iterator[str]:
    names = [column.name for column in found.columns]
    if found.params:
        yield from _table(["Param", *names], [[f"`{path}`", *cells] for path, cells in found.params])
    for model in found.models:
        yield from ("", f"**{model.key}**", "")
        moved = [figure for figure in model.figures if any(cell.judged or cell.difference for cell in figure.cells)]
        if moved:
            better = {"lower": " ↓", "higher": " ↑", "none": ""}
            rows = [[figure.title + better[figure.better], *map(_cell, figure.cells)] for figure in moved]
            yield from _table(["Figure (↓ lower, ↑ higher is better)", *names], rows)
        yield from _pictures(model)
    if found.same:
        yield from ("", f"The same in all: {', '.join(found.same)}.")


def _pictures(model: Model) -> Iterator[str]:
    changed = [row.name for row in model.pictures if len(set(row.cells)) > 1]
    if changed:
        yield from ("", f"Pictures that differ: {', '.join(changed)}.")
    if model.missing:
        yield from ("", f"Its pictures are neither in DVC's cache nor on a remote: {', '.join(model.missing)}.")


def _cell(cell: Cell) -> str:
    change = " ".join(filter(None, [MARKS.get(cell.judged, ""), cell.difference]))
    return f"{cell.value} ({change})" if change else cell.value


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
