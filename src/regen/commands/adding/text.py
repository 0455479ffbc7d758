"""Blocks put into the text of params.yaml and taken out of it. Every other byte stays: a YAML library that writes the whole
file anew keeps comments, but folds long lines and moves spaces.
"""

from __future__ import annotations

import copy
import functools
import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from regen import documents
from regen.errors import UserError

MARK = "by regen add"  # stands behind the name of each block that `regen remove` may take back
COLUMN = 40  # of comments behind values, at most

EMPTY = re.compile(r"([\w-]+:)(?: *\{ *\})?( *(?:#.*)?\r?)")  # a group's own line: its name, nothing or {}, and a comment

Values = Mapping[str, tuple[Any, str]]  # name -> (value, comment)


def replace(path: Path, text: str) -> None:
    """Write a text in place of a file's, whole or not at all; a link is followed, permissions stay."""
    path = path.resolve()
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            out.write(text.encode("utf-8"))
            out.flush()
            os.fsync(out.fileno())
        part.chmod(path.stat().st_mode & 0o7777)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def put(text: str, group: str, title: str, blocks: Mapping[str, Values]) -> str:
    """Return the text with blocks at the end of a group; a `title` stands above them as a comment, after an empty line.

    Raises:
        UserError: the group is missing, or written in a way that nothing can be put behind.
    """
    lines = text.split("\n")
    if (head := _empty(text, lines, group)) is None:
        first, end, column = _extent(text, lines, group)
    else:
        first, end, column = head, head + 1, 2
        lines[head] = EMPTY.sub(r"\1\2", lines[head])
    ending = "\r" if lines[first].endswith("\r") else ""
    new = ["", f"# {title}"] if title else []
    for name, values in blocks.items():
        new += _rendered(name, values)
    new = [(" " * column + line if line else "") + ending for line in new]
    return _checked(text, "\n".join([*lines[:end], *new, *lines[end:]]), {group: dict(blocks)}, {})


def take(text: str, group: str, names: Iterable[str]) -> str:
    """Return the text without some blocks of a group, and without the title above them where `put` wrote one.

    Raises:
        UserError: what would be left says something else.
    """
    names, lines = list(names), text.split("\n")
    gone: set[int] = set()
    if set(names) == set(_content(text)[group]):  # an empty group is written as such
        head = _content(text).lc.data[group][0]
        lines[head] = EMPTY.sub(r"\1 {}\2", lines[head])
    for name in names:
        start, end = _block(text, lines, group, name)
        gone |= set(range(start, end))
    for name in names:  # a title goes with the last block under it
        start, _ = _block(text, lines, group, name)
        above = next(row for row in range(start - 1, -1, -1) if row not in gone)
        below = next((row for row in range(start, len(lines)) if row not in gone), len(lines))
        if lines[above].lstrip().startswith("# ") and MARK in lines[above] and not _follows(lines, below, lines[above]):
            gone |= {above, above - 1} if not lines[above - 1].strip() else {above}
    return _checked(text, "\n".join(line for row, line in enumerate(lines) if row not in gone), {}, {group: names})


def marked(text: str, group: str) -> list[str]:
    """Return the blocks of a group that `put` wrote, by the mark behind their names."""
    lines, content = text.split("\n"), _content(text)
    rows = {name: content[group].lc.data[name][0] for name in content.get(group) or {}}
    return [name for name, row in rows.items() if MARK in lines[row].partition("#")[2]]


def _rendered(name: str, values: Values) -> list[str]:
    """Return the lines of one block, its name at the left margin."""
    block = CommentedMap()
    for key, (value, _) in values.items():
        block[key] = _flow(value) if isinstance(value, list) else _quoted(value) if isinstance(value, str) else value
    yaml = YAML()
    yaml.width = 1 << 20  # a value is a line
    out = io.StringIO()
    yaml.dump({name: block}, out)
    head, *rest = out.getvalue().splitlines()
    column = min(COLUMN, max(len(line) for line in rest))
    return [f"{head}  # {MARK}", *(
        f"{line.ljust(column)}  # {_printable(comment)}" if comment else line
        for line, (_, comment) in zip(rest, values.values(), strict=True)
    )]  # fmt: skip


def _printable(comment: str) -> str:
    """Return a comment that stays one, also where it holds names of folders."""
    return "".join(letter if letter.isprintable() else "?" for letter in comment)


def _flow(values: list[Any]) -> CommentedSeq:
    found = CommentedSeq(values)
    found.fa.set_flow_style()
    return found


def _quoted(value: str) -> str:
    """Return a text that stands in double quotes where it is no plain one."""
    return value if plain(value) else DoubleQuotedScalarString(value)


def plain(value: str) -> bool:
    """Whether a text without quotes is itself, for those that read YAML 1.1, where `on` is true, as for those that read 1.2."""
    try:
        return value.isprintable() and documents.parsed(value, "") == value == YAML(typ="safe", pure=True).load(value)
    except (UserError, YAMLError):
        return False


@functools.lru_cache(4)
def _content(text: str) -> CommentedMap:
    documents.parsed(text, "params.yaml")  # refuses what is wrong in it, with its lines
    try:
        content = YAML().load(text)
    except YAMLError as error:
        raise UserError(f"params.yaml: not valid YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(content, CommentedMap):
        raise UserError(f"params.yaml: expected blocks of `key: value`, got {type(content).__name__}")
    return content


def _extent(text: str, lines: list[str], group: str) -> tuple[int, int, int]:
    """Return a group's first line, the line after its last one, and the column of its blocks' names."""
    content = _content(text)
    if not isinstance(content.get(group), CommentedMap) or content[group].fa.flow_style() or not content[group]:
        raise UserError(f"params.yaml: {group}: expected blocks, one below the other, to add one to; write it so")
    start, column = content.lc.data[group][0], min(place[1] for place in content[group].lc.data.values())
    after = [place[0] for name, place in content.lc.data.items() if place[0] > start]
    return start, _last(lines, start + 1, min(after, default=len(lines)), column), column


def _empty(text: str, lines: list[str], group: str) -> int | None:
    """Return the line of a group that has no blocks and stands on this line alone; None where it has some."""
    content = _content(text)
    if group not in content or content[group]:
        return None
    row = int(content.lc.data[group][0])
    return row if EMPTY.fullmatch(lines[row]) else None


def _block(text: str, lines: list[str], group: str, name: str) -> tuple[int, int]:
    """Return the first line of a block and the line after its last one."""
    _, end, column = _extent(text, lines, group)
    places = _content(text)[group].lc.data
    start = places[name][0]
    after = [place[0] for place in places.values() if place[0] > start]
    return start, _last(lines, start + 1, min(after, default=end), column + 1)


def _last(lines: list[str], start: int, end: int, column: int) -> int:
    """Return the line after the last one that is indented by at least `column`: comments above what follows belong to that."""
    while end > start and (not lines[end - 1].strip() or len(lines[end - 1]) - len(lines[end - 1].lstrip()) < column):
        end -= 1
    return end


def _follows(lines: list[str], row: int, title: str) -> bool:
    """Whether a block stands under a title, at the line `row`."""
    return row < len(lines) and bool(lines[row].strip()) and lines[row].startswith(title[: len(title) - len(title.lstrip())])


def _checked(old: str, new: str, put: Mapping[str, Mapping[str, Values]], taken: Mapping[str, list[str]]) -> str:
    """Return the new text if it says what the old one does, with some blocks more or less.

    Raises:
        UserError: it does not, as where a block that is taken out is referred to by an alias.
    """
    expected: Any = copy.deepcopy(documents.parsed(old, "params.yaml"))
    for group, blocks in put.items():
        added = {name: {key: value for key, (value, _) in values.items()} for name, values in blocks.items()}
        expected[group] = (expected[group] or {}) | added
    for group, names in taken.items():
        for name in names:
            del expected[group][name]
    if documents.parsed(new, "params.yaml") != expected:
        raise UserError("params.yaml: it is written in a way that this cannot change without changing more; edit it by hand")
    return new
