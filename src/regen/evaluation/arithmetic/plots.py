"""Pictures of answers: beside their queries, over all values, by kind, and which characters are confused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.drawing import collage, plots
from regen.drawing.plots import COLOURS, INK, figure

ENOUGH = 30  # queries of a kind; of fewer, a single mistake would be the longest bar


def strips(images: Tensor, model: Any, queries: Tensor, read: Tensor, answers: Tensor,
           before: Tensor | None = None) -> collage.Picture:  # fmt: skip
    """Return images (N, glyphs, H, W) as strips, each with its query and answer in words below.

    `before`: images of the queries, set before those of the answers with a gap between them.
    """
    n = len(images)
    tiles = side_by_side(images)
    if before is not None:
        gap = torch.full((n, 1, tiles.shape[2], 10), 246 / 255)
        tiles = torch.cat([side_by_side(before[:n]), gap, tiles], 3)
    asked, got, true = (model.texts(codes[:n]) for codes in (queries, read, answers))
    captions = [f"{q} = {a}" + ("" if a == y else f"  (no: {y})") for q, a, y in zip(asked, got, true, strict=True)]
    return collage.grid(tiles, 5, captions, enlarge=2)


def side_by_side(glyphs: Tensor) -> Tensor:
    """Return (N, n, H, W) as (N, 1, H, n W)."""
    count, n, height, width = glyphs.shape
    return glyphs.transpose(1, 2).reshape(count, 1, height, n * width)


def failures(rows: Sequence[tuple[str, int, int]], out: Path) -> None:
    """Draw the share of wrong answers of each kind of query with `ENOUGH` of them, with its standard error."""
    total, wrong = rows_total(rows)
    if not wrong:
        with figure(out, (6.4, 1.2)) as (axis,):
            axis.text(0.5, 0.5, f"None of the {total:,} answers is wrong.", transform=axis.transAxes, ha="center", va="center")
        return
    drawn = {f"{kind} ({count:,})": (failed / count, count) for kind, count, failed in rows if count >= ENOUGH}
    shares = {kind: round(100 * share, 1) for kind, (share, _) in drawn.items()}
    errors = {kind: 100 * math.sqrt(share * (1 - share) / count) for kind, (share, count) in drawn.items() if share}
    plots.bars(shares, out, "wrong answers, %", errors, 100 * wrong / total, "all")


def rows_total(rows: Sequence[tuple[str, int, int]]) -> tuple[int, int]:
    """Return the number of queries and of wrong answers over the operations."""
    operations = [row for row in rows if row[0] in ("addition", "subtraction", "multiplication")]
    return sum(row[1] for row in operations), sum(row[2] for row in operations)


def distribution(true: np.ndarray, predicted: np.ndarray, out: Path) -> None:
    """Draw how often each value is the true answer and how often it is given, over all values."""
    low, high = true.min(), true.max()
    width = max(1, round((high - low) / 300))
    edges = np.arange(low, high + 2 * width, width) - 0.5
    given = predicted[~np.isnan(predicted)]
    with figure(out, (7.2, 3.6)) as (axis,):
        counts, _ = np.histogram(true, edges)
        axis.fill_between(edges[:-1] + width / 2, counts, step="mid", color=COLOURS[4], alpha=0.55, linewidth=0, label="true")
        counts, _ = np.histogram(given, edges)
        axis.plot(edges[:-1] + width / 2, counts, color=COLOURS[1], linewidth=0.9, drawstyle="steps-mid", label="given")
        outside = len(predicted) - int(counts.sum())
        axis.set(xlabel="answer", ylabel="queries", ylim=(0, None))
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_title(f"no number, or outside: {outside}" if outside else "")
        axis.legend(frameon=False, loc="upper right")


def distances(distance: np.ndarray, out: Path) -> None:
    """Draw |given - true|: of the wrong answers, and of all. Small ones each have a bar, large ones share."""
    known = distance[~np.isnan(distance)]
    wrong = known[known > 0]
    reach = max(float(known.max(initial=0.0)), 10.0)
    edges = np.concatenate([np.arange(-0.5, 10), 9.5 * 1.25 ** np.arange(1, 2 + math.ceil(math.log(reach / 9.5, 1.25)))])
    with figure(out, (7.2, 3.2), 1, 2) as axes:
        for axis, values, title in zip(axes, (wrong, known), ("wrong answers", "all answers"), strict=True):
            axis.set_title(f"{title}: {len(values):,}")
            if not len(values):  # an axis without data is not drawn
                axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center", va="center", fontsize=12, color=INK)
                continue
            axis.hist(values, edges, color=COLOURS[0], alpha=0.85)
            axis.set_xscale("symlog", linthresh=1, linscale=0.3)
            steps = (0, 1, 2, 5, 10, 20, 50, 100) if reach < 200 else (0, 1, 10, 100, 1000, 10_000, 100_000)
            ticks = [tick for tick in steps if tick <= edges[-1]]
            axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.minorticks_off()
            axis.set_xlim(*edges[[0, -1]])
            axis.set_xlabel("|given − true|")
            axis.set_ylabel("answers")
        axes[1].set_yscale("log")
        axes[1].set_ylim(0.7, None)
