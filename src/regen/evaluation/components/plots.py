"""Plots of PPCA and PCA: latents coloured by class, scree, covariances, likelihood and error over the dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regen.drawing import plots

Array = npt.NDArray[Any]
FEW = 10  # classes that are told by name and colour; more are told by number


def latents(splits: list[Array], classes: list[Array] | None, names: Sequence[str], out: Path) -> None:
    """Draw latents (N, 2) or (N, 3) of the training split, faintly, and of the test split, with dark rims; coloured by class."""
    three = splits[0].shape[1] == 3
    options: dict[str, Any] = {"subplot_kw": {"projection": "3d"}} if three else {}
    points = np.concatenate(splits)
    labels = np.concatenate(classes) if classes is not None else np.zeros(len(points), int)
    held_out = np.repeat([False, True], [len(split) for split in splits])
    present = [int(c) for c in np.unique(labels)]
    palette = plots.COLOURS if len(present) <= len(plots.COLOURS) else plots.many_colours(len(present))
    colours = np.array([palette[present.index(int(c))] for c in labels])
    many = len(points) > 2000
    with plots.figure(out, (6.6, 6.2) if three else (6.4, 5.6), **options) as (axis,):
        for test in (False, True):
            rows = held_out == test
            rim = {"edgecolors": plots.INK, "linewidths": 0.9} if test and not many else {"linewidths": 0}
            axis.scatter(*points[rows].T, s=4 if many else 26 if test else 18, c=colours[rows], alpha=0.5 if many else 0.8, **rim)
        if classes is not None:
            for c in present:
                name(axis, np.median(points[labels == c], axis=0), names[c], palette[present.index(c)], len(present) > FEW)
        labelled = dict(zip(("xlabel", "ylabel", "zlabel"), ("z1", "z2", "z3"), strict=True))
        axis.set(**{key: value for key, value in labelled.items() if three or key != "zlabel"})
        if three:
            axis.view_init(elev=18, azim=-60)
            axis.set_box_aspect((1, 1, 0.9), zoom=0.98)


def name(axis: Any, place: Array, text: str, colour: str, small: bool) -> None:
    """Write a class's name at a place, in its colour; of many classes only the number."""
    text = "".join(sign for sign in text if sign.isdigit()) or text if small else text
    box = {"boxstyle": "round,pad=0.15" if small else "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
    axis.text(*place, plots.plain(text), ha="center", va="center", fontsize=6.5 if small else 9, bbox=box, zorder=10)


def scree(spectrum: Array, d: int, noise: float, out: Path) -> None:
    """Draw the eigenvalues of the covariance in falling order, the kept ones marked, and the share of variance they explain."""
    rank = np.arange(1, len(spectrum) + 1)
    positive = spectrum > spectrum[0] * 1e-12
    with plots.figure(out, (8.6, 3.4), 1, 2) as (left, right):
        left.semilogy(rank[positive], spectrum[positive], color=plots.MUTED)
        left.semilogy(rank[:d], spectrum[:d], color=plots.COLOURS[0], marker="o", markersize=2.5, linewidth=0)
        left.axhline(noise, color=plots.COLOURS[1], linestyle=(0, (4, 3)), linewidth=1.2)
        left.annotate(
            "σ², mean of the others", (1, noise), xytext=(0, 4), textcoords="offset points", fontsize=9, color=plots.COLOURS[1],
            xycoords=left.get_yaxis_transform(), ha="right", va="bottom",
        )  # fmt: skip
        left.set(xlabel="component", ylabel="variance", title=f"eigenvalues, {d} of them kept")
        share = 100 * np.cumsum(spectrum) / spectrum.sum()
        right.plot(rank, share, color=plots.MUTED)
        right.plot(rank[:d], share[:d], color=plots.COLOURS[0])
        right.plot([d], [share[d - 1]], "o", color=plots.COLOURS[0], markersize=5)
        right.annotate(
            f"{d}: {share[d - 1]:.1f} %", (d, share[d - 1]), xytext=(8, -10), textcoords="offset points", color=plots.COLOURS[0]
        )
        right.set(xlabel="components", ylabel="% of the variance", title="explained by the first ones", ylim=(0, 103))


def covariances(before: Array, after: Array, out: Path) -> None:
    """Draw |C_X| of the pixels beside |C_Y| of the scores, relative to the largest entry, on one logarithmic scale."""
    with plots.figure(out, (8.4, 3.9), 1, 2) as (left, right):
        for axis, matrix, title in (
            (left, before, f"pixels: |C$_X$|, {len(before)} x {len(before)}"),
            (right, after, f"scores: |C$_Y$|, {len(after)} x {len(after)}"),
        ):
            relative = np.log10(np.maximum(np.abs(matrix) / np.abs(matrix).max(), 1e-18))
            image = axis.imshow(relative, cmap="viridis", vmin=-16, vmax=0, interpolation="nearest")
            axis.set(title=title, xticks=[], yticks=[])
            axis.grid(visible=False)
        bar = right.figure.colorbar(image, ax=[left, right], shrink=0.85, ticks=[0, -4, -8, -12, -16])
        bar.ax.set_yticklabels(["1", "10$^{-4}$", "10$^{-8}$", "10$^{-12}$", "10$^{-16}$"])
        bar.outline.set_visible(False)


def sizes(table: list[dict[str, float]], out: Path) -> None:
    """Draw log-likelihood and reconstruction error over the number of dimensions, training and test, with the test's figures."""
    d = [row["dimensions"] for row in table]
    with plots.figure(out, (8.6, 3.4), 1, 2) as axes:
        for axis, what, title in zip(
            axes, ("log_likelihood_per_pixel", "mse"), ("log-likelihood, nats a pixel", "reconstruction error (MSE)"), strict=True
        ):
            for split, colour in (("train", plots.MUTED), ("test", plots.COLOURS[0])):
                values = [row[f"{split}_{what}"] for row in table]
                axis.plot(d, values, color=colour, marker="o", markersize=4)
                above = (split == "test") == (what == "mse")
                axis.annotate(
                    split, (d[-1], values[-1]), xytext=(0, 9 if above else -9), textcoords="offset points",
                    ha="center", va="bottom" if above else "top", color=colour, fontsize=9,
                )  # fmt: skip
                for x, y in zip(d[:-1], values[:-1], strict=True) if split == "test" else []:
                    axis.annotate(
                        f"{y:.3g}", (x, y), xytext=(0, 7 if above else -7), textcoords="offset points",
                        ha="center", va="bottom" if above else "top", fontsize=8,
                    )  # fmt: skip
            axis.set_xscale("log", base=2)
            axis.set_xticks(d, [f"{x:g}" for x in d])
            axis.set(xlabel="latent dimensions d", title=title)
            axis.margins(x=0.09, y=0.16)
