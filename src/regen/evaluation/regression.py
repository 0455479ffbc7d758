"""Linear-Gaussian regression: weights with their errors, residuals, and the likelihood of new examples."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import torch

from regen.drawing import plots
from regen.evaluation.subject import Subject
from regen.metrics.bootstrap import ratio, standard_error
from regen.metrics.values import ROUNDING, Measured, mean, measured


def evaluate(subject: Subject) -> Measured:
    """Measure and draw a regression of `targets` on `x`."""
    model = subject.model.cpu()
    splits = {
        name: [torch.from_numpy(np.array(split[part], dtype=np.float64)) for part in ("x", "targets")]
        for name, split in (("train", subject.train), ("test", subject.test))
    }
    log_likelihood = {name: model.log_likelihood(*split) for name, split in splits.items()}
    predicted = {name: model.predict(x) for name, (x, _) in splits.items()}
    residuals = {name: y - predicted[name] for name, (_, y) in splits.items()}
    write_weights(subject)
    sigma = float(model.variance.sqrt())
    residual_plot({name: (predicted[name].numpy(), residuals[name].numpy()) for name in splits}, sigma, subject)
    measures: Measured = {}
    for split, suffix in (("test", ""), ("train", "_train")):
        squares = torch.stack([residuals[split], splits[split][1] - splits["train"][1].mean()], 1).square()
        measures[f"log_likelihood{suffix}"] = mean(log_likelihood[split])
        measures[f"residual_variance{suffix}"] = mean(squares[:, 0])
        measures[f"variance_explained{suffix}"] = measured(1 - float(ratio(squares)), standard_error(ratio, squares), bound=1.0)
    measures["lstsq_difference"] = measured(lstsq_difference(model, *splits["train"]), ROUNDING, bound=0.0)
    return measures


def lstsq_difference(model: Any, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the largest relative difference of the weights to NumPy's least squares (nonsense where there is a ridge)."""
    design = np.column_stack([x.numpy(), np.full(len(x), float(model.config.intercept))])
    theirs = np.linalg.lstsq(design, y.numpy(), rcond=None)[0]
    ours = np.append(model.weights.numpy(), model.intercept.item())
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def write_weights(subject: Subject) -> None:
    """Write weights.csv and draw the weights with two standard errors to each side, the largest on top."""
    model = subject.model
    names = subject.statistics.get("features", [f"x{i + 1}" for i in range(len(model.weights))])
    rows = [(name, float(w), float(error)) for name, w, error in zip(names, model.weights, model.weight_errors, strict=True)]
    with (subject.folder / "weights.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["feature", "weight", "standard_error", "t"])
        for name, w, error in [*rows, ("intercept", float(model.intercept), float(model.intercept_error))]:
            writer.writerow([name, f"{w:.6g}", f"{error:.6g}", f"{w / error:.4g}" if error else ""])
    rows.sort(key=lambda row: abs(row[1]))
    places = range(len(rows))
    with plots.figure(subject.folder / "weights.png", (6.4, 0.36 * len(rows) + 1.0)) as (axis,):
        for place, (_, w, error) in zip(places, rows, strict=True):
            colour = plots.COLOURS[0] if abs(w) > 2 * error else plots.MUTED  # grey: it may as well be 0
            axis.plot([w - 2 * error, w + 2 * error], [place, place], color=colour, linewidth=2.2)
            axis.plot([w], [place], "o", color=colour, markersize=6)
            axis.annotate(
                f"{w:.1f} ± {error:.1f}", (1, place), xycoords=axis.get_yaxis_transform(), ha="right", va="center", fontsize=8.5
            )
        axis.axvline(0, color=plots.MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        low, high = axis.get_xlim()
        axis.set_xlim(low, high + 0.22 * (high - low))
        axis.set_yticks(places, [plots.plain(name) for name, *_ in rows])
        axis.set_xlabel("weight: change of the target by one standard deviation of the feature")
        axis.grid(axis="y", visible=False)


def residual_plot(splits: dict[str, tuple[np.ndarray, np.ndarray]], sigma: float, subject: Subject) -> None:
    """Draw residuals over predictions, with the band of +- 2 sigma, and their histograms beside N(0, sigma^2)."""
    colours = {"train": plots.MUTED, "test": plots.COLOURS[1]}
    with plots.figure(subject.folder / "residuals.png", (8.2, 3.8), 1, 2, width_ratios=(3, 1), sharey=True) as (left, right):
        left.axhspan(-2 * sigma, 2 * sigma, color=plots.COLOURS[0], alpha=0.08, linewidth=0)
        left.axhline(0, color=plots.MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        for name, (x, y) in splits.items():
            left.scatter(x, y, s=14, color=colours[name], alpha=0.65, linewidths=0, label=f"{name}, {len(x)}")
        left.annotate("± 2 σ", (0, 2 * sigma), xycoords=left.get_yaxis_transform(), xytext=(4, 3), textcoords="offset points",
                      fontsize=9, color=plots.COLOURS[0])  # fmt: skip
        left.legend(frameon=False, ncols=2, loc="lower left", fontsize=9, handletextpad=0.1)
        left.set(xlabel="predicted", ylabel="target - predicted")
        edges = np.linspace(-4 * sigma, 4 * sigma, 25)
        for name, (_, y) in splits.items():
            right.hist(y, edges, density=True, orientation="horizontal", color=colours[name], alpha=0.45)
        grid = np.linspace(-4 * sigma, 4 * sigma, 200)
        right.plot(np.exp(-0.5 * (grid / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)), grid, color=plots.COLOURS[0])
        right.set(xlabel="density", xticks=[])
