"""Tables and numbers for people, and where a command writes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regen.catalogue.counting import doubt
from regen.errors import UserError, shown

if TYPE_CHECKING:
    import click

HELD = ("bound", "baseline", "real")


def say(what: object, err: bool = False) -> None:
    """Print lines, which may hold what somebody else wrote: what a terminal would obey is shown as its escape."""
    import click

    click.echo("\n".join(map(shown, str(what).split("\n"))), err=err)


def png(out: Path) -> None:
    """Refuse a picture of another kind.

    Raises:
        UserError: `--out` does not end in .png.
    """
    if out.suffix != ".png":
        raise UserError(f"--out {out}: expected a name that ends in .png")


def written(out: Path, write: Callable[[], object]) -> None:
    """Write what `--out` names.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        write()
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from None


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines of aligned columns, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def figure(entry: Mapping[str, float] | None) -> str:
    """Return `value ± error` of one figure; nothing where there is none."""
    if entry is None:
        return "-"
    return number(entry["value"]) + (f" ± {entry['error']:.2g}" if "error" in entry else "")


def counted(figures: Mapping[str, Mapping[str, float]] | None, name: str) -> str:
    """Return `value ± error` of one of a model's figures, and whether it is a distance that does not count."""
    if figures is None or name not in figures:
        return figure(None)
    return figure(figures[name]) + (", does not count" if doubt(figures, name) else "")


def held(entry: Mapping[str, float]) -> str:
    """Return what a figure is held against: `bound 0`, `baseline 0.0013`, `real 25.8`."""
    return ", ".join(f"{name} {number(entry[name])}" for name in HELD if name in entry)


def number(value: float) -> str:
    """Return a number with as many digits as a person reads."""
    return f"{value:.5g}"


def minutes(seconds: float) -> str:
    """Return a length of time: `40 seconds`, `28 minutes`, `3.5 hours`."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"


def mistake(error: click.ClickException, commands: Sequence[str]) -> str:
    """Return a mistake on the command line in one line, with where to read on."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if message.startswith("No such command"):
        near = difflib.get_close_matches(message.split("'")[1], commands, n=1)
        message = message.split(". ")[0] + (f" (did you mean {near[0]}?)" if near else "")
    return f"{message}; see `{context.command_path if context else 'regen'} --help`"
