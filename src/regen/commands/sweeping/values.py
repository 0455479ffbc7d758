"""What is varied: `models.punks_vae.beta=1,2,4` and `0.1..10:log` read, combined, named, and written into params.yaml."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regen import blocks, documents
from regen.commands.revisions import flat
from regen.errors import UserError
from regen.params import GROUPS

LONGEST = 100  # characters of an experiment's name
OPEN, CLOSE = "[{", "]}"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, evenly spread, or their logarithms; integers where both ends are."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of them are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Values = Mapping[str, Any]  # by their paths: {"models.punks_vae.beta": 4}


def given(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of each param of a sweep, read as params.yaml is; `[1,2],[3,4]` are two lists.

    Raises:
        UserError: a text that is no `path=value,value`, a param named twice, or a value that is.
    """
    return {path: _distinct([_value(part, path) for part in _split(text, path, ",")], path)
            for path, text in _assigned(texts, "PATH=VALUE,VALUE").items()}  # fmt: skip


def space(texts: Sequence[str]) -> dict[str, Range | list[Any]]:
    """Return what a search may choose of each param: a range, `4..64` or `1e-4..1e-2:log`, or one of `relu|gelu`.

    Raises:
        UserError: a text that is neither, a range that is empty or whose logarithm there is none of, or a param named twice.
    """
    return {path: _range(text, path) if ".." in text else _choices(text, path)
            for path, text in _assigned(texts, "PATH=LOW..HIGH, PATH=LOW..HIGH:log or PATH=ONE|OTHER").items()}  # fmt: skip


def product(varied: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return all combinations; the last param changes fastest."""
    return [dict(zip(varied, row, strict=True)) for row in itertools.product(*varied.values())]


def placed(paths: Sequence[str], content: object) -> None:
    """Refuse paths that lead nowhere in params.yaml. A key that a block does not name yet is left to the check of its family.

    Raises:
        UserError: a line for each, with the nearest name that there is.
    """
    blocks.problems(*(lambda path=path: _placed(path, content) for path in paths))


def concerned(paths: Sequence[str]) -> list[str]:
    """Return the blocks of params.yaml that hold these params, each once; a param of the top level is in none."""
    parts = [path.split(".") for path in paths]
    return list(dict.fromkeys(part[1] for part in parts if part[0] in GROUPS))


def written(text: str, values: Values) -> str:
    """Return the text of params.yaml with other values; its comments stay, its layout is the one that `dvc exp run -S` leaves."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    content = parse_yaml_for_update(text, "params.yaml")
    for path, value in values.items():
        block = content
        *above, name = path.split(".")
        for part in above:
            block = block[part]
        block[name] = value
    said: str = dumps_yaml(content)
    old, new = (flat(documents.parsed(one, "params.yaml")) for one in (text, said))
    changed = {path for path in {*old, *new} if path not in old or path not in new or old[path] != new[path]}
    if others := sorted(path for path in changed if not any(f"{path}.".startswith(f"{own}.") for own in values)):
        raise UserError(f"params.yaml: {', '.join(values)}: another block takes its values from there (*), so {others[0]} would "
                        "change as well; write that one out")  # fmt: skip
    return said


def labels(paths: Sequence[str]) -> dict[str, str]:
    """Return a short name of each param: `punks_vae.beta`; its whole path where two would be the same."""
    short = {path: path.partition(".")[2] if path.partition(".")[0] in GROUPS else path for path in paths}
    return {path: label if list(short.values()).count(label) == 1 else path for path, label in short.items()}


def said(value: Any) -> str:
    """Return a value as people write it: `4`, `0.1`, `true`, `relu`, `[1,2]`."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def name(values: Values, mark: str = "") -> str:
    """Return an experiment's name: `punks_vae.beta=4,seed=1`. The same values have the same one, and git takes it as a ref.

    Args:
        values: those that are varied.
        mark: what tells the experiments of one state of the workspace from those of another.
    """
    whole = ",".join(f"{label}={said(value)}" for label, value in zip(_shorter(list(values)), values.values(), strict=True))
    plain = re.sub(r"(?<=\d),(?=-?\d)", "x", whole) if "[" in whole else whole  # [16,32]: 16x32
    plain = re.sub(r"[\[\]]", "", plain)
    kept = re.sub(r"\.{2,}|[^A-Za-z0-9_=,.+-]", "_", plain)
    if kept != plain or len(kept) > LONGEST or kept.endswith((".", ".lock")):
        kept = f"{kept[:LONGEST].rstrip('.')}-{hashlib.sha256(whole.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return f"{kept}-{mark}" if mark else kept


def _shorter(paths: Sequence[str]) -> list[str]:
    """Return short names of params one after another: a block is named once, before the first of its own."""
    short, names, before = labels(paths), [], ""
    for path in paths:
        block = path.rpartition(".")[0]
        names.append(path.rpartition(".")[2] if block and block == before and short[path] != path else short[path])
        before = block
    return names


def _assigned(texts: Sequence[str], form: str) -> dict[str, str]:
    if not texts:
        raise UserError(f"nothing is varied; expected {form}")
    found: dict[str, str] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise UserError(f"{blocks.shown(text)}: expected {form}")
        path = path.strip()
        if path in found:
            raise UserError(f"{path}: stands there twice; write all of its values behind one")
        if not value.strip():
            raise UserError(f"{path}: no value; expected {form}")
        found[path] = value
    return found


def _split(text: str, path: str, mark: str) -> list[str]:
    """Return the parts of a text between marks that are in no brackets and no quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and parts[-1].rstrip()[-1:] in ("", ",", "[", "{", ":"):  # one within a word is an apostrophe
            quote = letter
        depth += 0 if quote else (letter in OPEN) - (letter in CLOSE)
        if letter == mark and not (depth or quote):
            parts.append("")
        else:
            parts[-1] += letter
    if depth or quote:
        raise UserError(f"{path}: {blocks.shown(text)}: a bracket or a quote is not closed")
    if not all(part.strip() for part in parts):
        raise UserError(f"{path}: {blocks.shown(text)}: an empty value")
    return parts


def _value(text: str, path: str) -> Any:
    value = documents.parsed(text.strip(), path)
    try:
        json.dumps(value)
    except (TypeError, ValueError):  # a date, a set, binary data
        expected = "expected a number, a text, true, false, or a list of them"
        raise UserError(f"{path}: {blocks.shown(text.strip())}: {expected}") from None
    return value


def _distinct(values: list[Any], path: str) -> list[Any]:
    met: list[tuple[bool, Any]] = []
    for value in values:
        if (entry := (isinstance(value, bool), value)) in met:
            raise UserError(f"{path}: {said(value)} stands there twice")
        met.append(entry)
    return values


def _choices(text: str, path: str) -> list[Any]:
    values = _distinct([_value(part, path) for part in _split(text, path, "|")], path)
    if len(values) < 2:
        raise UserError(f"{path}: {blocks.shown(text)}: nothing to choose; expected LOW..HIGH, or values with | between them")
    return values


def _range(text: str, path: str) -> Range:
    plain, _, how = text.partition(":")
    if how.strip() not in ("", "log"):
        raise UserError(f"{path}: {blocks.shown(text)}: expected LOW..HIGH or LOW..HIGH:log")
    ends: list[Any] = [_value(part, path) if part.strip() else None for part in plain.split("..")]
    if len(ends) != 2 or not all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        raise UserError(f"{path}: {blocks.shown(text)}: expected two numbers, LOW..HIGH")
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{path}: {blocks.shown(text)}: expected a lower number first and a higher one behind it")
    if how.strip() and low <= 0:
        raise UserError(f"{path}: {blocks.shown(text)}: {said(low)} has no logarithm; begin above 0")
    return Range(low, high, bool(how.strip()))


def _placed(path: str, content: object) -> None:
    block, where, parts = content, "params.yaml", path.split(".")
    for number, part in enumerate(parts):
        if not isinstance(block, Mapping):
            raise UserError(f"{path}: {'.'.join(parts[:number])} is a value and no block, so it has no {blocks.shown(part)}")
        inside = number >= 2 and parts[0] in GROUPS  # what a family does not know, its own check says better
        if not (inside and number == len(parts) - 1):
            blocks.known(part, [str(key) for key in block], where, "parameter" if number == len(parts) - 1 else "block")
        block, where = block.get(part), f"{where}: {part}" if where == "params.yaml" else f"{where}.{part}"
    if isinstance(block, Mapping):
        raise UserError(f"{path}: a block, and not a parameter; name one of its own: {path}.{next(iter(block), 'name')}")
