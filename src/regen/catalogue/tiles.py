"""Measures of models of tiles of sections."""

from __future__ import annotations

from regen.catalogue.measure import Measure

TRAIN = "the same figure of training tiles"

MEASURES = {
    "test_brain_variance_explained": Measure(
        "Variance explained on the test brain",
        "share",
        "higher",
        "One less the squared reconstruction error of the test brain's tiles over their variance about their mean tile.",
        "principal components of training tiles, as many as latent dimensions: the best linear autoencoder",
    ),
    "train_loss": Measure(
        "Loss of training tiles",
        "squared deviations a tile",
        "lower",
        "Squared error in standard deviations of the training pixels, summed over a tile, plus beta times the rate.",
        "none: it hangs on beta",
    ),
    "test_loss": Measure(
        "Loss of the test brain's tiles",
        "squared deviations a tile",
        "lower",
        "The loss that the model is trained by, on tiles of a brain that it has not seen.",
        "none: it hangs on beta",
    ),
    "aggregate_divergence": Measure(
        "Aggregate posterior against the prior",
        "nats",
        "lower",
        "KL divergence to N(0, I) of the Gaussian with the mean and covariance of latents over all training tiles.",
        "0: new tiles are decoded from where the decoder has learned",
    ),
    "active_latents": Measure(
        "Active latents",
        "latents",
        "none",
        "Latents whose posterior mean varies from tile to tile by more than 0.01; the others keep to the prior.",
        "all latents",
    ),
    "detail": Measure(
        "Detail of new tiles",
        "ratio",
        "none",
        "Mean squared difference of neighbouring pixels, relative to the test brain's tiles: below 1 where tiles are too smooth.",
        TRAIN,
    ),
    "plane_variance": Measure(
        "Latent variance in the plane",
        "share",
        "none",
        "Share of the variance of latents that their first two principal components hold: how much the plot shows.",
        "none",
    ),
    "coverage_p": Measure(
        "Even coverage by the by_pixel sampler",
        "p-value",
        "none",
        "Chi-square test, 10 million draws, that training pixels are seen equally often; below 0.01 they are not.",
        "none: uniform from 0 to 1 where coverage is even",
    ),
}
