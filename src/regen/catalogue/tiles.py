"""Tiles of sections."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

MEASURES = {
    "test_brain_variance_explained": Measure(
        "Variance explained on the test brain", "share", "higher",
        "One less the squared reconstruction error of the test brain's tiles over their variance about their mean tile.",
        baseline="principal components of training tiles, as many as latent dimensions",
    ),
    "train_loss": Measure(
        "Loss of training tiles", "squared deviations a tile", "lower",
        "Squared error in standard deviations of the training pixels, summed over a tile, plus beta times the rate. Losses "
        "of different beta cannot be compared.",
    ),
    "test_loss": Measure(
        "Loss of the test brain's tiles", "squared deviations a tile", "lower",
        "The loss that the model is trained by, on tiles of a brain that it has not seen.",
    ),
    "aggregate_divergence": Measure(
        "Aggregate posterior against the prior", "nats", "lower",
        "KL divergence to N(0, I) of the Gaussian with the mean and covariance of latents over all training tiles.",
        bound="0: new tiles are decoded from latents like those of training tiles",
    ),
    "active_latents": Measure(
        "Active latents", "latents", "none",
        "Latents whose posterior mean varies from tile to tile by more than 0.01; the others keep to the prior.",
        bound="all latents",
    ),
    "detail": Measure(
        "Detail of new tiles", "ratio", "none",
        "Mean squared difference of neighbouring pixels, relative to the test brain's tiles: below 1 where tiles are too smooth.",
        real="the same for training tiles in place of new ones",
    ),
    "plane_variance": Measure(
        "Latent variance in the plane", "share", "none",
        "Share of the variance of latents that their first two principal components hold: how much the plot shows.",
    ),
    "coverage_p": Measure(
        "Even coverage by the by_pixel sampler", "p-value", "none",
        "Chi-square test, 10 million draws, that training pixels are seen equally often; below 0.01 they are not. Where they are "
        "it is any number from 0 to 1, as often one as another.",
    ),
}  # fmt: skip

CAPTIONS = {
    "sections": Caption("Sections", "The first six of each brain, reduced to one size; with its split."),
    "samples_few": Caption("Ten new tiles", "Twice as large."),
    "interpolation_section": Caption("Within one section", "From one tile of a section of the test brain to another tile of it."),
    "interpolation_sections": Caption(
        "Between two sections", "From a tile of one section of the test brain to a tile of another."
    ),
    "latents_by_brain": Caption(
        "Latents by brain",
        "The first two principal components of 3,000 tiles' latents, as many of each brain; in grey, the other brains'.",
    ),
    "aggregate_variances": Caption(
        "Aggregate posterior, by latent",
        "Variance of each latent over all training tiles: the variance of the posterior means, and the posterior's own width.",
    ),
    "aggregate_norms": Caption(
        "Aggregate posterior, by length",
        "How long latents are: those that the decoder was trained on, and those of the prior that new tiles are made of.",
    ),
    "coverage": Caption(
        "How often each row is seen",
        "Tiles of one size in a section four times as high. Tiles that lie inside the section see its edges too seldom; the "
        "published sampler never sees the last row.",
    ),
}
