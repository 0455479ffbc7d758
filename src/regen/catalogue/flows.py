"""Flows: how far the velocity is from its target, how probable examples are, and what is read in images that were asked for."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("images", "letters", "latents")  # what its models learn on

MEASURES = {
    "bits_per_dimension": Measure(
        "Bits a dimension", "bits", "lower",
        "Bits that a test image's 8-bit pixels take under the model, mean over dimensions: a bound, from its density with "
        "uniform noise within each of the 256 levels. The divergence in it is estimated.",
        bound="0: an image that takes no bits",
    ),
    "latent_log_likelihood": Measure(
        "Log-likelihood of latents", "nats a dimension", "higher",
        "Mean of log p(z) over test images' latents: exact but for the steps of the solver up to 128 dimensions, of more its "
        "divergence is estimated. Of a density, so it may be positive; latents of another encoder have another scale.",
    ),
    "velocity_error": Measure(
        "Error of the velocity", "squared deviations", "lower",
        "Mean squared error of the velocity at test examples, over times from noise to data, mean over dimensions. It is 0 only "
        "where paths never cross.",
        baseline="the least error of a velocity that takes the dimensions for independent and normal",
    ),
    "velocity_error_train": Measure(
        "Error of the velocity, training examples", "squared deviations", "none",
        "The same at training examples: what it is less is memorised.",
    ),
    "read_as_asked": Measure(
        "Read as asked", "share", "higher",
        "Share of the labels of test images that the classifier reads in images that were asked for them, at guidance 2.",
        real="the same of the test images themselves",
    ),
}  # fmt: skip

CAPTIONS = {
    "paths": Caption("From noise to data", "Paths of noise at equal steps of time."),
    "asked": Caption("Asked for", "New images that were asked for one label each, the most frequent ones; guidance 2."),
    "guidance": Caption("Guidance", "From the same noise: asked for what stands at the left, and guided there more and more."),
    "guidance_curve": Caption(
        "Guidance against variety",
        "The more it is guided, the more of what was asked for is read, and the fewer test images have a sample close by.",
    ),
    "velocity_errors": Caption(
        "Error of the velocity", "At training and at test examples, from noise to data: apart where it memorises."
    ),
}
