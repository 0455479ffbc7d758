"""Diabetes: 442 patients, ten measurements, the disease's progress a year later (Efron, Hastie, Johnstone and Tibshirani 2004).

The table is scikit-learn's. Each measurement is standardised by the training split, so a weight is the change of the target
by one standard deviation.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from regen.blocks import DatasetConfig
from regen.errors import UserError
from regen.seeding import numpy_generator

FILE = "diabetes.csv"
EXAMPLES = "tables"
SHA256 = "d0b14a7a6a4015e4291e82705a7dd34906afb0b87bf5f67037bf1ec2f51e663f"


class Config(DatasetConfig):
    """The diabetes table's block of params.yaml."""

    source: Literal["scikit-learn"]
    test_fraction: float = Field(gt=0, lt=1)  # share of the patients that no model sees


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the table that scikit-learn carries, in the units of the measurements, as CSV.

    Raises:
        UserError: this scikit-learn's table is another one.
    """
    from sklearn.datasets import load_diabetes  # takes seconds, and only here

    table = load_diabetes(scaled=False)
    lines = [",".join([*table.feature_names, "target"])]
    lines += [",".join(repr(float(value)) for value in (*x, y)) for x, y in zip(table.data, table.target, strict=True)]
    content = ("\n".join(lines) + "\n").encode()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise UserError(
            f"{FILE}: scikit-learn gave SHA-256 {digest[:16]}..., expected {SHA256[:16]}...; install the pinned version"
        )
    (folder / FILE).write_bytes(content)
    return {FILE: {"sha256": digest, "bytes": len(content), "mirrors": [{"package": "scikit-learn", "name": "load_diabetes"}]}}


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return standardised measurements float64 (N, 10) and targets float64 (N,), split as drawn from `seed`.

    The description also holds `features` (their names), `means` and `stds` (of the training split, in the measurements' units).

    Raises:
        UserError: the table is missing or damaged.
    """
    names, table = read(raw / FILE)
    order = numpy_generator(seed, "diabetes", "test split").permutation(len(table))
    tests = min(max(round(config.test_fraction * len(table)), 1), len(table) - 1)
    train, test = table[np.sort(order[tests:])], table[np.sort(order[:tests])]
    mean, std = train[:, :-1].mean(0), train[:, :-1].std(0)
    if not std.all():
        same = names[int(std.argmin())]
        raise UserError(f"params.yaml: datasets.{raw.name}.test_fraction: {config.test_fraction} leaves {len(train)} to train "
                        f"on, who all have the same {same}; expected a smaller one")  # fmt: skip
    arrays = {}
    for split, rows in (("train", train), ("test", test)):
        arrays[split] = (rows[:, :-1] - mean) / std
        arrays[f"{split}_targets"] = rows[:, -1].copy()
    return arrays, {"shape": [len(names) - 1], "features": names[:-1], "means": mean.tolist(), "stds": std.tolist()}


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the columns' names and the table, float64 (442, 11), the target last."""
    try:
        names, *rows = path.read_text(encoding="utf-8").splitlines()
        table = np.array([row.split(",") for row in rows], dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(names.split(",")) or not np.isfinite(table).all():
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro --force download@{path.parent.name}`") from None
    except ValueError:
        raise UserError(f"{path}: damaged; run `dvc repro --force download@{path.parent.name}`") from None
    return names.split(","), table
