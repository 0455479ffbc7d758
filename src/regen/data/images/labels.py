"""Labels: sub-folders are classes, or a table beside the pictures gives classes or attributes."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Sequence
from pathlib import PurePosixPath

import numpy as np

from regen.data.images.splits import FOLDERS
from regen.errors import UserError

SHOWN = 20  # mistakes of a table that are told
CLASS = ("label", "class")  # headings of a table of classes


def by_folder(names: Sequence[str], where: str) -> tuple[np.ndarray, list[str]]:
    """Return each picture's class, int64 (n,), and the classes' names, sorted: the first folder that is no split.

    Raises:
        UserError: a picture lies in no folder.
    """
    found = [_class(name) for name in names]
    if "" in found:
        raise UserError(
            f"{where}: folders are classes, but {found.count(''):,} of {len(names):,} pictures lie in none "
            f"({names[found.index('')]}); move them, or set labels: none"
        )
    classes = sorted(set(found))
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name in found], np.int64), classes


def are_classes(names: Sequence[str]) -> bool:
    """Whether the folders look like classes: all pictures lie in one, there are several, with two pictures or more on average."""
    found = {_class(name) for name in names}
    return "" not in found and 2 <= len(found) <= len(names) / 2


def common(names: Sequence[str]) -> str:
    """Return the folder that all of them lie in, with a slash behind it, or "": an archive's own."""
    if not names:
        return ""
    low, high = min(names), max(names)  # what the first and the last have in common, all have
    parts = []
    for a, b in zip(PurePosixPath(low).parts[:-1], PurePosixPath(high).parts[:-1], strict=False):
        if a != b:
            break
        parts.append(a + "/")
    return "".join(parts)


def from_table(
    content: bytes, folder: str, indexed: Container[str], names: Sequence[str], where: str
) -> tuple[np.ndarray, list[str]]:
    """Return the labels of each picture and their names.

    The first column, `file`, names a picture by its path from the table's own folder. A second column called `label` or
    `class` gives its class: int64 (n,), names sorted. Other columns are attributes, 0 or 1: uint8 (n, columns).

    Args:
        content: the table, CSV in UTF-8.
        folder: where it lies, with a slash behind it, or "".
        indexed: the names of all pictures of the source.
        names: those whose labels are wanted.
        where: the table, for messages.

    Raises:
        UserError: one line for each mistake: unknown files, rows that are missing, doubled or wrong.
    """
    table = _table(content, where)
    header = table[0][1]
    classes = len(header) == 2 and header[1] in CLASS
    problems, lines, found = [], dict[str, int](), dict[str, list[str]]()
    for line, cells in table[1:]:
        place, name = f"{where}: line {line}", folder + cells[0]
        values = dict(zip(header[1:], cells[1:], strict=False))
        wrong = [column for column, value in values.items() if (not value if classes else value not in ("0", "1"))]
        if len(cells) != len(header):
            problems.append(f"{place}: {len(cells)} columns, expected {len(header)}")
        elif name not in indexed:
            problems.append(f"{place}: unknown file {cells[0]!r}; expected one that lies beside the table, or take the row out")
        elif name in lines:
            problems.append(f"{place}: {cells[0]!r} a second time (first in line {lines[name]})")
        elif wrong:
            expected = "a name" if classes else "0 or 1"
            problems.append(f"{place}: {wrong[0]}: expected {expected}, got {values[wrong[0]]!r}")
        else:
            found[name] = cells[1:]
        lines.setdefault(name, line)
    missing = [name for name in names if name not in lines]
    problems = problems[:SHOWN] + [f"{where}: ... and {len(problems) - SHOWN:,} more"] * (len(problems) > SHOWN)
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        problems.append(f"{where}: no row for {', '.join(missing[:3])}{more}")
    if problems:
        raise UserError("\n".join(problems))
    if not classes:
        return np.array([found[name] for name in names]).astype(np.uint8), header[1:]
    named = sorted({found[name][0] for name in names})
    number = {name: i for i, name in enumerate(named)}
    return np.array([number[found[name][0]] for name in names], np.int64), named


def _table(content: bytes, where: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a table with their lines; the header first."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8; expected a CSV table in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{where}: no CSV table ({error})") from None
    header = rows[0][1] if rows else []
    if len(header) < 2 or header[0] != "file" or not all(header) or len(set(header)) < len(header):
        raise UserError(
            f"{where}: line 1: expected `file,label`, or `file,` and names of attributes, all different; got {','.join(header)!r}"
        )
    return rows


def _class(name: str) -> str:
    """Return the first folder of a path that is no split: "" where there is none."""
    parts = PurePosixPath(name).parts[:-1]
    return next((part for part in parts[parts[:1] != () and parts[0].lower() in FOLDERS :]), "")
