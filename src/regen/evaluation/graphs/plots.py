"""Plots of random graphs: drawn graphs, the ways to the optimum, predicted against observed edge probability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from regen.drawing import plots

Array = npt.NDArray[Any]
APART = 3.0  # edges' lengths between nodes that no path, or only a longer one, connects


def graphs(x: Tensor, edges: Tensor, out: Path) -> None:
    """Draw graphs with features (G, n, F) and adjacency matrices (G, n, n); a node's colour is its features, x/2 + 0.5 as RGB."""
    import networkx as nx

    with plots.figure(out, (2.5 * len(x), 2.7), 1, len(x)) as axes:
        for axis, features, adjacency in zip(axes, x.cpu().numpy(), edges.cpu().numpy(), strict=True):
            graph = nx.from_numpy_array(adjacency)
            lengths = dict(nx.all_pairs_shortest_path_length(graph))
            distances = {i: {j: min(lengths[i].get(j, APART), APART) for j in graph} for i in graph}
            places = nx.kamada_kawai_layout(graph, dist=distances)
            colours = np.clip(np.pad(features[:, :3], ((0, 0), (0, max(0, 3 - features.shape[1])))) / 2 + 0.5, 0, 1)
            nx.draw_networkx_edges(graph, places, ax=axis, edge_color="#9A9A9E", width=1.3)
            nx.draw_networkx_nodes(
                graph, places, ax=axis, node_color=colours, node_size=120, edgecolors=plots.INK, linewidths=0.8
            )
            axis.set_title(f"{int(adjacency.sum()) // 2} edges", loc="center", fontsize=10)
            axis.axis("off")
            axis.margins(0.12)


def ascent(climbed: Array, newton: Array, out: Path) -> None:
    """Draw the gap to the best log-likelihood along gradient ascent and along Newton's method, and the way of (a, b)."""
    best = max(climbed[:, 2].max(), newton[:, 2].max())
    with plots.figure(out, (8.6, 3.5), 1, 2) as (left, right):
        for rows, name, colour, marker in (
            (climbed, "gradient ascent", plots.COLOURS[0], None),
            (newton, "Newton", plots.COLOURS[1], "o"),
        ):
            gap = best - rows[:, 2]
            seen = gap > 1e-13
            left.loglog(np.arange(1, len(rows) + 1)[seen], gap[seen], color=colour, marker=marker, markersize=4, label=name)
            right.plot(rows[:, 0], rows[:, 1], color=colour, marker=marker, markersize=4)
        right.plot(*newton[-1, :2], marker="*", markersize=13, color="black", linewidth=0)
        left.legend(frameon=False, fontsize=9)
        left.set(xlabel="iteration + 1", ylabel="nats a graph", title="distance to the highest log-likelihood")
        right.set(xlabel="a", ylabel="b", title="the ways of (a, b), both from (0, 0)")


def calibration(table: list[dict[str, float]], fitted: list[float], truth: dict[str, float] | None, out: Path) -> None:
    """Draw observed edge shares with two standard errors over s, the fitted sigmoid, and the true one where it is known."""
    s = np.array([row["s"] for row in table])
    grid = np.linspace(min(s.min() * 1.25, -1.5), max(s.max() * 1.25, 1.8), 200)
    with plots.figure(out, (6.2, 3.8)) as (axis,):
        axis.plot(grid, sigmoid(fitted[0] * grid + fitted[1]), color=plots.COLOURS[0], label="fitted")
        if truth:
            axis.plot(grid, sigmoid(truth["a"] * grid + truth["b"]), color=plots.MUTED, linestyle=(0, (4, 3)), label="true")
        axis.errorbar(
            s, [row["observed"] for row in table], yerr=[2 * row["error"] for row in table], fmt="o", color=plots.COLOURS[1],
            markersize=5, elinewidth=1.3, capsize=2.5, label="observed, ± 2 standard errors",
        )  # fmt: skip
        axis.legend(frameon=False, fontsize=9, loc="upper left")
        axis.set(xlabel="s = x$_i$·x$_j$", ylabel="probability of an edge")


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    result: Array = 1 / (1 + np.exp(-x))
    return result
