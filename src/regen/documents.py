"""YAML, read within limits: a file that would fill the memory, that holds a key twice or a number that no machine word holds is
refused in a line, with the number of its line. Nothing here decides a result: this module only reads and refuses.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from regen.blocks import shown
from regen.errors import UserError

SIZE = 1 << 20  # bytes of a file; the repository's own params.yaml has 12,000
DEPTH = 20  # of blocks within blocks
VALUES = 50_000  # keys and values, an alias counted as all that it stands for
INTEGER = 1 << 63  # what numpy, SQL and JSON's readers elsewhere can hold, lies below
TAG = "tag:yaml.org,2002:"


class _RefusedError(Exception):
    """Reading goes no further: the line and what is wrong there."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: `1e-4` is a number (PyYAML's 1.1 rules read it as text), as DVC reads it too. A date is a text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []
        self.open = [0]  # for each node that is being read, how many values it holds so far
        self.extent: dict[int, tuple[int, int]] = {}  # of each node that was read: its values, its depth
        self.height = [0]

    def refuse(self, mark: Any, message: str) -> None:
        """Note a problem; reading goes on, so that all are told at once."""
        self.problems.append(f"line {mark.line + 1}: {message}")

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read one node, and all that it holds, unless that is too much."""
        mark, alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)  # type: ignore[no-untyped-call]
        self.open.append(1)
        self.height.append(1)
        if len(self.open) > DEPTH + 2:
            raise _RefusedError(f"line {mark.line + 1}: expected at most {DEPTH} blocks within each other")
        node = super().compose_node(parent, index)
        values, height = self.open.pop(), self.height.pop()
        if alias:
            if id(node) not in self.extent:
                raise _RefusedError(f"line {mark.line + 1}: an alias of what it stands in itself")
            values, height = self.extent[id(node)]
        self.extent[id(node)] = values, height
        self.open[-1] += values
        self.height[-1] = max(self.height[-1], height + 1)
        if self.open[-1] > VALUES or len(self.open) + height > DEPTH + 2:
            raise _RefusedError(f"line {mark.line + 1}: expected at most {VALUES:,} values, {DEPTH} blocks deep")
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Read one block; its keys are texts, each there once."""
        node = super().compose_mapping_node(anchor)
        met = set()
        for key, _ in node.value:
            if key.tag not in (f"{TAG}str", f"{TAG}merge"):
                self.refuse(key.start_mark, f"key {shown(getattr(key, 'value', ''))}: expected a text; write it in quotes")
            elif key.value in met:
                self.refuse(key.start_mark, f"{shown(key.value)} stands there twice")
            met.add(str(key.value))
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        """Read one value; it holds no control character, as no path and no page may."""
        node = super().compose_scalar_node(anchor)
        if Reader.NON_PRINTABLE.search(node.value):
            self.refuse(node.start_mark, f"a control character in {shown(node.value)}")
        return node

    def integer(self, node: Any) -> int:
        """Return an integer, which fits into 64 bits."""
        value = 0 if len(node.value) > LONGEST else self.construct_yaml_int(node)
        if len(node.value) > LONGEST or not -INTEGER <= value < INTEGER:
            self.refuse(node.start_mark, f"expected a number of less than 2^63, got {shown(node.value)}")
            return 0
        return int(value)


LONGEST = 100  # characters of an integer that is converted at all: Python refuses 4,300 digits
MESSAGE = 400  # characters of what the reader says, which may repeat what it read

_Loader.add_implicit_resolver(
    f"{TAG}float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)
_Loader.yaml_implicit_resolvers = {  # integers keep precedence over the wider float pattern above
    first: sorted((rule for rule in rules if rule[0] != f"{TAG}timestamp"), key=lambda rule: rule[0].endswith("float"))
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(f"{TAG}int", _Loader.integer)


def text(path: Path) -> str:
    """Return the text of a file of at most `SIZE` bytes.

    Raises:
        UserError: the file is missing, is none, is too large or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
        if len(content) <= SIZE:
            return content.decode()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository root") from None
    except IsADirectoryError:
        raise UserError(f"{path}: expected a file, got a folder") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a text in UTF-8; byte {error.start} is none") from None
    raise UserError(f"{path}: expected at most {SIZE:,} bytes")


def parsed(text: str, where: str) -> object:
    """Return what a text of YAML says.

    Raises:
        UserError: it is no YAML, or beyond the limits; one line for each problem.
    """
    try:
        loader = _Loader(text)
        content = loader.get_single_data()
    except _RefusedError as error:
        raise UserError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())[:MESSAGE]}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # of PyYAML itself, which trusts a tag
        raise UserError(f"{where}: not valid YAML: a value is not what its tag says, as in `!!float x`") from None
    if loader.problems:
        raise UserError("\n".join(f"{where}: {problem}" for problem in loader.problems))
    return content
