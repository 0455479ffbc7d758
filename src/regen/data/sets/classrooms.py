"""Classrooms: random friendship graphs, drawn from P(e_ij = 1) = sigmoid(a x_i^T x_j + b) with known a and b.

Each pupil has features x uniform in [-1, 1]^F; edges are undirected, without self-loops. The default (3, -3.5) gives a density of
about 7.5 %.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from regen.blocks import DatasetConfig
from regen.data import folders
from regen.errors import UserError
from regen.seeding import numpy_generator

FILE = "truth.json"
EXAMPLES = "graphs"


class Config(DatasetConfig):
    """The classrooms' block of params.yaml."""

    source: Literal["generated"]
    graphs: PositiveInt = 100  # to train on
    test_graphs: PositiveInt = 100  # that no model sees
    nodes: int = Field(15, ge=2)  # pupils a class
    features: PositiveInt = 3
    a: float = 3.0
    b: float = -3.5


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the truth that the graphs are drawn from."""
    folders.write_json(folder / FILE, {"a": config.a, "b": config.b})
    return {FILE: {"mirrors": []}}


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return features float64 (N, nodes, F) and adjacency matrices uint8 (N, nodes, nodes), drawn from `seed`.

    The description also holds `truth`, {a, b}, and `density`, the share of pairs with an edge in training.
    """
    if not (raw / FILE).exists():
        raise UserError(f"{raw / FILE}: no such file; run `dvc repro --force download@{raw.name}`")
    arrays = {}
    for split, graphs in (("train", config.graphs), ("test", config.test_graphs)):
        draw = numpy_generator(seed, "classrooms", split)
        x = draw.uniform(-1, 1, (graphs, config.nodes, config.features))
        arrays[split], arrays[f"{split}_edges"] = x, edges(x, config.a, config.b, draw)
    density = float(arrays["train_edges"].sum() / (config.graphs * config.nodes * (config.nodes - 1)))
    shape = [config.nodes, config.features]
    return arrays, {"shape": shape, "truth": {"a": config.a, "b": config.b}, "density": density}


def edges(x: np.ndarray, a: float, b: float, draw: np.random.Generator) -> np.ndarray:
    """Draw the adjacency matrices, uint8 (N, n, n), of nodes with features x (N, n, F)."""
    p = 1 / (1 + np.exp(-(a * x @ x.swapaxes(1, 2) + b)))
    upper = np.triu(draw.uniform(size=p.shape) < p, k=1)
    undirected: np.ndarray = (upper | upper.swapaxes(1, 2)).astype(np.uint8)
    return undirected
