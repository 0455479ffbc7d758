"""Linear-Gaussian regression."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("tables",)  # what its models learn on

MEASURES = {
    "variance_explained_train": Measure(
        "Variance of training targets explained", "share", "none",
        "The same share of the targets that the regression was fitted to: what it exceeds the test's by is overfitting.",
        bound="1: all of it",
    ),
    "residual_variance": Measure(
        "Residual variance", "squared target units", "lower", "Mean squared residual of test examples.",
    ),
    "residual_variance_train": Measure(
        "Residual variance of training examples", "squared target units", "none",
        "Mean squared residual of training examples: sigma^2, the maximum-likelihood estimate.",
    ),
    "lstsq_difference": Measure(
        "Difference to NumPy's least squares", "relative", "lower",
        "Largest difference of a weight, over the largest weight. Its error is that of rounding.",
        bound="0: both programs agree",
    ),
}  # fmt: skip

CAPTIONS = {
    "weights": Caption("Weights", "With two standard errors to each side; grey where 0 is within them."),
    "residuals": Caption("Residuals", "Over the prediction, and their distribution beside the model's N(0, sigma^2)."),
}
