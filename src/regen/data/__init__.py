"""Kinds of data set, one module each, imported by name when asked for: touching one kind never concerns another.

A kind's module, `regen.data.sets.<kind>`, defines

* `Config`: its block of params.yaml, a `regen.blocks.DatasetConfig`;
* `download(config, folder) -> dict`: write the raw files into a folder and return their provenance;
* `prepare(config, raw, seed) -> (arrays, description)`: arrays by file stem and what statistics.json says of them
  (`regen.data.arrays`); or, where they may be larger than memory, `prepare_into(config, raw, seed, folder) -> description`, which
  writes them into a folder itself and may keep what a killed run goes on from in `.work/prepare/<key>`;
* `EXAMPLES`, what they are where they are no images, in one of the words of `READS` in `regen.catalogue`;
* `LOADER`, where its examples are no rows of arrays: which of `regen.data.loaders` reads it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import regen.data.sets
from regen import blocks
from regen.errors import UserError

MADE = ("arithmetic",)  # made from another data set: a block of `queries`


def kinds() -> list[str]:
    """Return the names of all kinds that are downloaded."""
    return sorted(module.name for module in pkgutil.iter_modules(regen.data.sets.__path__) if module.name not in MADE)


def kind(name: str, where: str = "kind") -> ModuleType:
    """Import the module of one kind.

    Raises:
        UserError: there is no such kind.
    """
    blocks.known(name, kinds(), where, "kind of data set")
    return importlib.import_module(f"regen.data.sets.{name}")


def config(block: Mapping[str, Any], where: str) -> blocks.DatasetConfig:
    """Return a data set's block of params.yaml as its kind's `Config`.

    Raises:
        UserError: unknown kind or source, unknown keys, wrong types or values out of range, one line each.
    """
    if not isinstance(block, Mapping) or "kind" not in block:
        raise UserError(f"{where}.kind: missing (there is: {', '.join(kinds())})")
    parsed = blocks.parse(kind(block["kind"], f"{where}.kind").Config, block, where)
    assert isinstance(parsed, blocks.DatasetConfig)
    return parsed


def examples(module: ModuleType) -> str:
    """Return what a kind's examples are: images, or what its module says."""
    return str(getattr(module, "EXAMPLES", "images"))


def loader(module: ModuleType) -> str:
    """Return the name of the loader that reads a kind's data sets."""
    return str(getattr(module, "LOADER", "arrays"))
