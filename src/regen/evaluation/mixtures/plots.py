"""Plots of Gaussian mixtures: ellipses over the points, responsibilities over the plane, confusion, the information criterion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from regen.drawing import plots

Array = npt.NDArray[Any]
GRID = 240  # points a side of the plane of responsibilities


def plane(model: Any, points: Array, labels: Array, folder: Path) -> None:
    """Draw points (N, 2) coloured by class under the components' ellipses, and over the responsibilities of the plane."""
    names, classes = model.data.labels, model.component_classes.cpu().numpy()
    colours = np.array([plots.COLOURS[int(c) % len(plots.COLOURS)] for c in labels])
    reach = np.quantile(np.abs(points - points.mean(0)), 0.999) * 1.25
    box = np.array([points.mean(0) - reach, points.mean(0) + reach])
    for name, shaded in (("ellipses", False), ("responsibilities", True)):
        with plots.figure(folder / f"{name}.png", (5.9, 5.6)) as (axis,):
            if shaded:
                axis.imshow(shades(model, box), extent=box.T.ravel(), origin="lower", interpolation="bilinear")
                axis.grid(visible=False)
            axis.scatter(*points.T, s=3, c=plots.INK if shaded else colours, alpha=0.28 if shaded else 0.45, linewidths=0)
            for mean, covariance, c in zip(model.means.cpu().numpy(), model.covariances.cpu().numpy(), classes, strict=True):
                ellipses(axis, mean, covariance, plots.COLOURS[int(c) % len(plots.COLOURS)], names[int(c)])
            axis.set(xlabel="z1", ylabel="z2", xlim=box[:, 0], ylim=box[:, 1])
            axis.set_aspect("equal")


def shades(model: Any, box: Array) -> Array:
    """Return the plane's colours, (GRID, GRID, 3): each class's colour, weighted by the responsibilities of its components."""
    import matplotlib as mpl

    u, v = np.meshgrid(*np.linspace(box[0], box[1], GRID).T)
    shares = model.responsibilities(torch.from_numpy(np.stack([u.ravel(), v.ravel()], 1))).cpu().numpy()
    palette = [mpl.colors.to_rgb(plots.COLOURS[int(c) % len(plots.COLOURS)]) for c in model.component_classes]
    mixed = shares @ np.array(palette)
    faint: Array = (1 - 0.55 * (1 - mixed)).reshape(GRID, GRID, 3)
    return faint


def ellipses(axis: Any, mean: Array, covariance: Array, colour: str, name: str) -> None:
    """Draw the ellipses that 1, 2 and 3 standard deviations reach, and the component's class at its mean."""
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(covariance)
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    centre = (float(mean[0]), float(mean[1]))
    for sigmas in (1, 2, 3):
        width, height = 2 * sigmas * np.sqrt(values[::-1])
        ring = Ellipse(centre, width, height, angle=angle, fill=False, edgecolor=colour, linewidth=1.7 - 0.35 * sigmas)
        axis.add_patch(ring)
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": colour, "alpha": 0.9}
    axis.text(*mean, name, ha="center", va="center", fontsize=9, bbox=box, zorder=10)


def criterion(rows: list[dict[str, float]], chosen: int, out: Path) -> None:
    """Draw the information criterion an example over the number of components; the model's own number is marked."""
    K, bic = [row["components"] for row in rows], [row["bic"] for row in rows]
    with plots.figure(out, (5.6, 3.4)) as (axis,):
        axis.plot(K, bic, color=plots.COLOURS[0], marker="o", markersize=5)
        if chosen in K:
            axis.plot([chosen], [bic[K.index(chosen)]], "o", color=plots.COLOURS[1], markersize=9)
            axis.annotate(
                "this model", (chosen, bic[K.index(chosen)]), xytext=(8, 10), textcoords="offset points", color=plots.COLOURS[1],
                ha="left",
            )  # fmt: skip
        axis.set_xticks(K)
        axis.margins(y=0.12)
        axis.set(xlabel="components K", ylabel="BIC, nats an example (lower is better)")
