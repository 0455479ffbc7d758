"""Figures of one model on disk: metrics/<key>.json holds the numbers alone, metrics/context/<key>.json what belongs to them.

DVC reads the first as a table; the second holds each figure's `error` and the one of `bound`, `baseline` and `real` that it is
held against.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from regen.data import folders
from regen.metrics.values import Measured
from regen.paths import context


def write(measured: Measured, path: Path) -> None:
    """Write both files: sorted, six significant digits, each all or nothing.

    A figure that the data leave undefined (0 / 0, of constant images for example) is left out, and that is said.
    """
    measured = defined(measured, path.stem)
    rounded = {name: {part: float(f"{value:.6g}") for part, value in entry.items()} for name, entry in measured.items()}
    context(path).parent.mkdir(parents=True, exist_ok=True)
    beside = {name: {part: value for part, value in entry.items() if part != "value"} for name, entry in rounded.items()}
    folders.write_json(context(path), beside)
    folders.write_json(path, {name: entry["value"] for name, entry in rounded.items()})


def defined(measured: Measured, name: str) -> Measured:
    """Return what is finite: a figure with those of its error and what it is held against that are."""
    if odd := sorted(figure for figure, entry in measured.items() if not math.isfinite(entry["value"])):
        print(f"{name}: left out, as these data leave them undefined: {', '.join(odd)}", file=sys.stderr)
    return {
        figure: {part: value for part, value in entry.items() if math.isfinite(value)}
        for figure, entry in measured.items()
        if figure not in odd
    }


def read(path: Path) -> Measured:
    """Return what `write` wrote.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: one is no JSON, or they do not belong together.
    """
    values, beside = (json.loads(file.read_text(encoding="utf-8")) for file in (path, context(path)))
    if not isinstance(values, dict) or values.keys() != beside.keys():
        raise ValueError(f"{path} and {context(path)} have other figures")
    return {name: {"value": value, **beside[name]} for name, value in values.items()}
