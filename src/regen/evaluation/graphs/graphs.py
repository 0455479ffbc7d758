"""Random graphs: are the coefficients found, is the way to them uphill, and are edges as frequent as the model says?"""

from __future__ import annotations

import csv
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.estimators.random_graph import pairs
from regen.evaluation.graphs import plots
from regen.evaluation.subject import Subject
from regen.metrics.values import EXACT, ROUNDING, Measured, mean, measured

DRAWN = 5  # new graphs
LAST = 10  # iterations of the ascent that are printed
BINS = 12  # of s, each with as many pairs, for the observed edge probability


def evaluate(subject: Subject) -> Measured:
    """Measure and draw a model of edges between nodes with features."""
    model, folder = subject.model.cpu(), subject.folder
    x, edges = (torch.from_numpy(np.array(subject.train[part], dtype=np.float64)) for part in ("x", "edges"))
    new_x, new_edges = (torch.from_numpy(np.array(subject.test[part], dtype=np.float64)) for part in ("x", "edges"))
    truth = subject.statistics.get("truth")
    write_last(subject)
    drawn_x, drawn_edges = model.sample_graphs(DRAWN, seed=subject.seed)
    plots.graphs(drawn_x, drawn_edges, folder / "graphs.png")
    plots.ascent(model.ascent.numpy(), model.newton.numpy(), folder / "ascent.png")
    table = calibration(x, edges, model.coefficients)
    plots.calibration(table, model.coefficients.tolist(), truth, folder / "calibration.png")
    (a, b), (a_error, b_error) = model.coefficients.tolist(), model.standard_errors.tolist()
    climbed = model.ascent[:, 2]
    measures = {
        "edge_slope": measured(a, a_error, real=truth["a"] if truth else None),
        "edge_bias": measured(b, b_error, real=truth["b"] if truth else None),
        "log_likelihood": mean(
            model.log_likelihood(new_x, new_edges),
            bound=log_likelihood(new_x, new_edges, torch.tensor([truth["a"], truth["b"]])) if truth else None,
        ),
        "log_likelihood_train": mean(model.log_likelihood(x, edges)),
        "ascent_log_likelihood": measured(float(climbed[-1]), ROUNDING, bound=float(model.newton[-1, 2])),
        "ascent_falls": measured(float((climbed.diff() < 0).sum()), EXACT, bound=0.0),
        "newton_steps": measured(len(model.newton) - 1, EXACT),
        "calibration_error": mean(torch.tensor([abs(row["z"]) for row in table]), real=float(np.sqrt(2 / np.pi))),
    }
    if truth:
        measures["errors_from_truth"] = measured(errors_from_truth(model, truth), 1.0)  # in standard errors: its own is one
    return measures


def errors_from_truth(model: Any, truth: dict[str, float]) -> float:
    """Return the larger distance of a and b from the truth, in standard errors."""
    distance = (model.coefficients - torch.tensor([truth["a"], truth["b"]]).to(model.coefficients)).abs() / model.standard_errors
    return float(distance.max())


def log_likelihood(x: Tensor, edges: Tensor, coefficients: Tensor) -> Tensor:
    """Return log p(edges | x) (N,) in nats a graph under the given (a, b)."""
    S, e = pairs(x, edges)
    logit = S @ coefficients.to(S)
    return (e * logit - torch.nn.functional.softplus(logit)).view(len(x), -1).sum(1)


def calibration(x: Tensor, edges: Tensor, coefficients: Tensor) -> list[dict[str, float]]:
    """Observed and predicted edge probability over s = x_i^T x_j, in bins of as many pairs each.

    `z` is their difference in standard errors of the observed share, sqrt(mean p (1 - p) / pairs): about N(0, 1) in each bin
    where the model holds.
    """
    S, e = pairs(x, edges)
    order = S[:, 0].argsort()
    rows = []
    for index in torch.tensor_split(order, min(BINS, len(order))):
        p = torch.sigmoid(S[index] @ coefficients.to(S))
        error = float((p * (1 - p)).mean().div(len(index)).sqrt())
        observed, predicted = float(e[index].mean()), float(p.mean())
        rows.append({"s": float(S[index, 0].mean()), "observed": observed, "predicted": predicted, "error": error,
                     "z": (observed - predicted) / error if error else math.nan})  # fmt: skip
    return rows


def write_last(subject: Subject) -> None:
    """Print the last iterations of the ascent, and write newton.csv."""
    ascent, newton = subject.model.ascent.tolist(), subject.model.newton.tolist()
    for i, (a, b, value) in list(enumerate(ascent))[-LAST:]:
        print(f"ascent {i:4d}: a {a:.6f}  b {b:.6f}  log-likelihood {value:.10f} nats a graph")
    with (subject.folder / "newton.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["iteration", "a", "b", "log_likelihood", "gradient"])
        writer.writerows([i, *(f"{value:.10g}" for value in row)] for i, row in enumerate(newton))
