"""Kinds of data set, one module each, imported by name when asked for: touching one kind never concerns another.

A kind's module defines

* `Config`: its block of params.yaml, a `regen.params.DatasetConfig`;
* `download(config, folder) -> dict`: write the raw files into a folder and return their provenance;
* `prepare(config, raw, seed) -> (arrays, description)`: arrays by file stem and what statistics.json says of them
  (`regen.data.arrays`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from regen import params
from regen.errors import UserError

# Modules that are no kind.
SHARED = ("arrays", "fetch", "folders", "mirrors", "packages", "queries", "sections", "tiles", "tissue", "web")


def kinds() -> list[str]:
    """Names of all kinds, from the files of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SHARED)


def kind(name: str, where: str = "kind") -> ModuleType:
    """Import the module of one kind.

    Raises:
        UserError: there is no such kind.
    """
    params.known(name, kinds(), where, "kind of data set")
    return importlib.import_module(f"regen.data.{name}")


def config(block: Mapping[str, Any], where: str) -> params.DatasetConfig:
    """Return a data set's block of params.yaml as its kind's `Config`.

    Raises:
        UserError: unknown kind or source, unknown keys, wrong types or values out of range, one line each.
    """
    if not isinstance(block, Mapping) or "kind" not in block:
        raise UserError(f"{where}.kind: missing (there is: {', '.join(kinds())})")
    parsed = params.parse(kind(block["kind"], f"{where}.kind").Config, block, where)
    assert isinstance(parsed, params.DatasetConfig)
    return parsed
