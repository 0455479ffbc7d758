"""Components of a mixture as classes: how often they agree, and where they lie in a plane of latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regen.drawing import plots
from regen.evaluation.subject import Subject
from regen.metrics.bootstrap import standard_error
from regen.metrics.values import Measured, confusion, mean, measured

Array = npt.NDArray[Any]
GRID = 240  # points a side of the plane of responsibilities


def measured_clusters(subject: Subject, found: Tensor, labels: Tensor) -> Measured:
    """How well the components, named by a few labels, are the classes: F1 of each class, their mean, and the accuracy."""
    names = subject.model.data.labels
    plots.confusion(confusion(found, labels, len(names)).numpy(), names, subject.folder / "confusion.png", xlabel="found")

    def macro(pairs: Tensor) -> float:
        return macro_f1(confusion(pairs[:, 0], pairs[:, 1], len(names)))

    both = torch.stack([found, labels], 1)
    return {
        "cluster_macro_f1": measured(macro(both), standard_error(macro, both), bound=1.0),
        "cluster_accuracy": mean((found == labels).double(), bound=1.0),
    }


def macro_f1(table: Tensor) -> float:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN), from the confusion of true (rows) and found (columns)."""
    hits = table.diagonal().double()
    return float((2 * hits / (table.sum(0) + table.sum(1)).clamp_min(1)).mean())


def plane(
    means: Tensor,  # (K, 2)
    covariances: Tensor,  # (K, 2, 2)
    component_classes: Tensor,  # (K,)
    names: Sequence[str],
    responsibilities: Callable[[Tensor], Tensor],  # of latents (N, 2), (N, K)
    points: Array,  # (N, 2)
    labels: Array,  # (N,)
    folder: Path,
) -> None:
    """Draw points coloured by class under the components' ellipses, and over the responsibilities of the plane."""
    classes = [int(c) for c in component_classes]
    colours = np.array([plots.COLOURS[int(c) % len(plots.COLOURS)] for c in labels])
    centre, middles = points.mean(0), means.cpu().numpy()
    reach = 1.25 * max(np.quantile(np.abs(points - centre), 0.999), np.abs(middles - centre).max())
    box = np.array([centre - reach, centre + reach])
    for name, shaded in (("ellipses", False), ("responsibilities", True)):
        with plots.figure(folder / f"{name}.png", (5.9, 5.6)) as (axis,):
            if shaded:
                picture = shades(responsibilities, classes, box)
                axis.imshow(picture, extent=box.T.ravel(), origin="lower", interpolation="bilinear")
                axis.grid(visible=False)
            axis.scatter(*points.T, s=3, c=plots.INK if shaded else colours, alpha=0.28 if shaded else 0.45, linewidths=0)
            for mean_, covariance, c in zip(middles, covariances.cpu().numpy(), classes, strict=True):
                ellipses(axis, mean_, covariance, plots.COLOURS[c % len(plots.COLOURS)], names[c])
            axis.set(xlabel="z1", ylabel="z2", xlim=box[:, 0], ylim=box[:, 1])
            axis.set_aspect("equal")


def shades(responsibilities: Callable[[Tensor], Tensor], classes: Sequence[int], box: Array) -> Array:
    """Return the plane's colours, (GRID, GRID, 3): each class's colour, weighted by the responsibilities of its components."""
    import matplotlib as mpl

    u, v = np.meshgrid(*np.linspace(box[0], box[1], GRID).T)
    shares = responsibilities(torch.from_numpy(np.stack([u.ravel(), v.ravel()], 1))).cpu().numpy()
    palette = [mpl.colors.to_rgb(plots.COLOURS[c % len(plots.COLOURS)]) for c in classes]
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
    axis.text(*mean, plots.plain(name), ha="center", va="center", fontsize=9, bbox=box, zorder=10)
