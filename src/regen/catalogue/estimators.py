"""Measures of models with a known optimum: components, mixtures, regression, random graphs."""

from __future__ import annotations

from regen.catalogue.images import TRAIN
from regen.catalogue.measure import Measure

SEEN = "the training split's: the gap is what does not generalise"
EQUAL = "0: equal"

MEASURES = {
    "log_likelihood": Measure(
        "Log-likelihood", "nats an example", "higher", "Mean of log p(x) over test examples; exact.",
        "the truth's where it is known (the letters' entropy, the graphs' true coefficients), else the training split's",
    ),
    "log_likelihood_per_pixel": Measure(
        "Log-likelihood", "nats a pixel", "higher",
        "Mean of log p(x) over test images, a density of pixels from 0 to 1, divided by their number; exact.", SEEN,
    ),
    "em_log_likelihood_per_pixel": Measure(
        "Log-likelihood after EM with 30 % of the training pixels hidden", "nats a pixel", "higher",
        "Of test images, 16 latent dimensions.", "the closed form that sees every training pixel",
    ),
    "em_falls": Measure("Falls of the likelihood along EM", "iterations", "lower", "EM never lowers it.", "0"),
    "completion_mse": Measure(
        "Error where half of the image is filled in", "mean squared pixel difference", "lower",
        "Test images with the right or the lower half hidden: the expectation of the hidden half given the other one.",
        "the mean image in place of the hidden half: what knowing nothing gives",
    ),
    "noise_std": Measure("Noise, sigma", "pixel difference", "none", "Standard deviation of what the components leave.", "none"),
    "off_diagonal": Measure(
        "Largest covariance of two scores", "share of the largest variance", "lower",
        "Largest off-diagonal entry of C_Y = P C_X P^T over its largest entry: PCA's scores are uncorrelated.", EQUAL,
    ),
    "order_violations": Measure("Scores out of order", "scores", "lower", "Scores with more variance than the one before.", "0"),
    "variance_explained": Measure(
        "Variance explained", "share", "higher",
        "Share of the training variance that the components keep, or of the test targets' that a regression predicts.",
        "1 for components: all of it; the training split's share for a regression",
    ),
    "scikit_learn_difference": Measure(
        "Difference to scikit-learn's log-likelihood", "relative", "lower",
        "From the same data, the same start and the same noise: |ours / theirs - 1|.", EQUAL,
    ),
    # mixtures
    "cluster_macro_f1": Measure(
        "Clusters as classes, macro F1", "share", "higher",
        "Mean of F1 over the classes of test examples; a component is named by five labelled ones a class.", "1",
    ),
    "cluster_accuracy": Measure(
        "Clusters as classes, accuracy", "share", "higher", "Share of test examples in a component of their class.", "1"
    ),
    "components_by_bic": Measure(
        "Components by the information criterion", "of 1 to 8", "none",
        "The number with the lowest BIC: how many Gaussians the shape of the latents needs.", "none",
    ),
    "frechet_distance_mixture": Measure(
        "Frechet distance, latents from the mixture ({features} features)", "squared feature units", "lower",
        "Frechet distance to test images of what is decoded from draws of the mixture.", TRAIN,
    ),
    # regression
    "residual_variance": Measure(
        "Residual variance", "squared target units", "lower", "Mean squared residual of test examples.",
        "sigma^2, the maximum-likelihood estimate: the same of the training split",
    ),
    "lstsq_difference": Measure(
        "Difference to NumPy's least squares", "relative", "lower", "Largest of a weight, over the largest weight.", EQUAL
    ),
    # random graphs
    "edge_slope": Measure("a", "log-odds", "none", "P(edge) = sigmoid(a x_i.x_j + b), with its standard error.", "the true a"),
    "edge_bias": Measure("b", "log-odds", "none", "P(edge) = sigmoid(a x_i.x_j + b), with its standard error.", "the true b"),
    "errors_from_truth": Measure(
        "Distance from the truth", "standard errors", "lower",
        "The larger of a's and b's: below 2 in nine of ten data sets.", "none: it is drawn with the data",
    ),
    "ascent_log_likelihood": Measure(
        "Log-likelihood at the end of the ascent", "nats a graph", "higher", "Of the training graphs, by gradient ascent.",
        "the optimum, by Newton's method",
    ),
    "ascent_falls": Measure(
        "Falls of the likelihood along the ascent", "iterations", "lower", "Iterations after which it was lower than before.", "0"
    ),
    "newton_steps": Measure(
        "Newton's steps to the optimum", "steps", "lower", "Until the gradient is below 1e-10 a pair.", "none"
    ),
    "calibration_error": Measure(
        "Observed against predicted edges", "standard errors", "none",
        "Mean over bins of x_i.x_j of |observed - predicted share of edges|, in standard errors.",
        "sqrt(2 / pi), the mean of |N(0, 1)|: noise alone",
    ),
}  # fmt: skip
