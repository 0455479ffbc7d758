"""Gaussian mixtures on latents."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("latents", "tables")  # what its models learn on

MEASURES = {
    "components_by_bic": Measure(
        "Components by the information criterion", "of 1 to 8", "none",
        "The number with the lowest BIC: how many Gaussians the shape of the latents needs.",
    ),
    "frechet_distance_mixture": Measure(
        "Frechet distance, latents from the mixture ({features} features)", "squared feature units", "lower",
        "Frechet distance to test images of what is decoded from draws of the mixture: the mean over four sets of samples, with "
        "the standard deviation between sets.",
        real="the same for as many real training images in place of samples",
    ),
}  # fmt: skip

CAPTIONS = {"bic": Caption("Information criterion", "BIC over the number of components.")}
