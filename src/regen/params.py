"""params.yaml: read, and checked at its top level. Nothing here decides a result: this module only reads and refuses."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from regen import paths
from regen.blocks import Block, known, parse
from regen.errors import UserError

GROUPS = {"datasets": "data set", "queries": "block of queries", "encodings": "encoding", "models": "model", "studies": "study"}


class Params(Block):
    """The top level of params.yaml. Its blocks of blocks are checked one by one."""

    seed: NonNegativeInt
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 where the hardware multiplies it, else fp32
    threads: PositiveInt  # CPU threads of a training; fixed, as another number rounds differently
    checkpoint_seconds: float = Field(ge=0)  # how much training a kill may cost; no effect on any result
    launcher: str  # or: torchrun --nproc_per_node 4
    datasets: dict[str, dict[str, Any]]
    queries: dict[str, dict[str, Any]] = Field(default_factory=dict)
    encodings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]]
    studies: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("launcher")
    @classmethod
    def _is_known(cls, launcher: str) -> str:
        if launcher != "python" and not re.fullmatch(r"torchrun( --?[a-z][a-z_-]*([ =][\w.:/-]+)?)*", launcher):
            raise ValueError("python, or torchrun with its options: torchrun --nproc_per_node 4")
        return launcher

    @property
    def prepared(self) -> dict[str, dict[str, Any]]:
        """All that a model can learn from: the downloaded data sets and those derived from them."""
        return {**self.datasets, **self.queries, **self.encodings}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: `1e-4` is a number (PyYAML's 1.1 rules read it as text), as DVC reads it too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)
_Loader.yaml_implicit_resolvers = {  # integers keep precedence over the wider float pattern above
    first: sorted(rules, key=lambda rule: rule[0].endswith("float")) for first, rules in _Loader.yaml_implicit_resolvers.items()
}


def read(path: Path = paths.PARAMS) -> Params:
    """Read params.yaml and check its top level.

    Raises:
        UserError: the file is missing, is no YAML, or has unknown or mistyped top-level keys.
    """
    return parse(Params, content(path), where=str(path))


def content(path: Path = paths.PARAMS) -> object:
    """Return what stands in params.yaml, unchecked.

    Raises:
        UserError: the file is missing, or is no YAML.
    """
    try:
        return parsed(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository root") from None


def parsed(text: str, where: str) -> object:
    """Return what a text of YAML says.

    Raises:
        UserError: it is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def usable(content: object) -> Params:
    """Return what is right at the top level of params.yaml, with stand-ins for the rest: so its blocks can be checked too."""
    right: dict[str, Any] = {
        "seed": 0, "precision": "auto", "threads": 1, "checkpoint_seconds": 0.0, "launcher": "python", "datasets": {},
        "models": {},
    }  # fmt: skip
    for name, value in dict(content if isinstance(content, Mapping) else {}).items():
        try:
            parse(Params, right | {name: value}, where="")
            right[name] = value
        except UserError:
            pass
    return parse(Params, right, where="")


def chosen(group: str, description: str | None) -> tuple[str, Params]:
    """Return the key that stands on the command line, one of a group of params.yaml, and all params.

    Raises:
        UserError: the group has no such key, or params.yaml is wrong at its top level.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("key", help=f"a key of {group}: in params.yaml")
    key: str = parser.parse_args().key
    given = read()
    known(key, list(getattr(given, group)), f"params.yaml: {group}", GROUPS[group])
    return key, given
