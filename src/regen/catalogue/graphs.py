"""Random graphs."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("graphs",)  # what its models learn on

MEASURES = {
    "edge_slope": Measure(
        "a", "log-odds", "none", "P(edge) = sigmoid(a x_i.x_j + b), with its standard error.",
        real="the true a, which the graphs were drawn with",
    ),
    "edge_bias": Measure(
        "b", "log-odds", "none", "P(edge) = sigmoid(a x_i.x_j + b), with its standard error.",
        real="the true b, which the graphs were drawn with",
    ),
    "errors_from_truth": Measure(
        "Distance from the truth", "standard errors", "lower",
        "The larger of a's and b's: below 2 in nine of ten data sets, since the truth is known up to the chance of the draw.",
    ),
    "ascent_log_likelihood": Measure(
        "Log-likelihood at the end of the ascent", "nats a graph", "higher", "Of the training graphs, by gradient ascent.",
        bound="the optimum, by Newton's method",
    ),
    "ascent_falls": Measure(
        "Falls of the likelihood along the ascent", "iterations", "lower", "Iterations after which it was lower than before.",
        bound="0: none",
    ),
    "newton_steps": Measure("Newton's steps to the optimum", "steps", "lower", "Until the gradient is below 1e-10 a pair."),
    "calibration_error": Measure(
        "Observed against predicted edges", "standard errors", "none",
        "Mean over bins of x_i.x_j of |observed - predicted share of edges|, in standard errors.",
        real="sqrt(2 / pi), the mean of |N(0, 1)|: what graphs drawn from the model itself have",
    ),
}  # fmt: skip

CAPTIONS = {
    "graphs": Caption("New graphs", "Drawn from the model. A node's colour is its three features."),
    "calibration": Caption(
        "Calibration", "Observed share of edges over the similarity of two nodes, and the fitted and the true probability."
    ),
    "ascent": Caption("To the optimum", "Gradient ascent never falls; Newton's method needs a few steps."),
}
