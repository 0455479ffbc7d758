"""Principal components, with noise (PPCA) and without (PCA)."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("images", "letters")  # what its models learn on

MEASURES = {
    "log_likelihood_per_pixel": Measure(
        "Log-likelihood", "nats a pixel", "higher",
        "Mean of log p(x) over test images, a density of pixels from 0 to 1, divided by their number; exact.",
    ),
    "log_likelihood_per_pixel_train": Measure(
        "Log-likelihood of training images", "nats a pixel", "none",
        "The same of the images that the model was fitted to: what it exceeds the test's by is overfitting.",
    ),
    "em_log_likelihood_per_pixel": Measure(
        "Log-likelihood after EM with 30 % of the training pixels hidden", "nats a pixel", "higher",
        "Of test images, 16 latent dimensions.", baseline="the closed form, which sees every training pixel",
    ),
    "em_falls": Measure("Falls of the likelihood along EM", "iterations", "lower", "EM never lowers it.", bound="0: none"),
    "completion_mse": Measure(
        "Error where half of the image is filled in", "mean squared pixel difference", "lower",
        "Test images with the right or the lower half hidden: the expectation of the hidden half given the other one.",
        baseline="the mean image in place of the hidden half",
    ),
    "noise_std": Measure("Noise, sigma", "pixel difference", "none", "Standard deviation of what the components leave."),
    "off_diagonal": Measure(
        "Largest covariance of two scores", "share of the largest variance", "lower",
        "Largest off-diagonal entry of C_Y = P C_X P^T over its largest entry. PCA's scores are uncorrelated, so it is rounding.",
        bound="0: uncorrelated",
    ),
    "order_violations": Measure(
        "Scores out of order", "scores", "lower", "Scores with more variance than the one before.", bound="0: none",
    ),
}  # fmt: skip

CAPTIONS = {
    "missing": Caption(
        "Fitted with missing pixels", "Training images, the pixels that EM saw of them (70 %), and its expectation of the others."
    ),
    "completed": Caption(
        "Completed from half", "Unseen images, half of them hidden, and the hidden half's expectation given the other."
    ),
    "traversal_small": Caption("Traversal by 0.05", "The published step of 0.05 standard deviations can hardly be seen."),
    "latents_2d": Caption(
        "Two latent dimensions", "E[z|x] in the model with two dimensions, coloured by class. Dark rims: test images."
    ),
    "latents_3d": Caption("Three latent dimensions", "The same with three dimensions."),
    "scree": Caption("Scree", "Variances of the components in falling order, and the share that the first ones explain."),
    "decorrelation": Caption("Decorrelation", "Covariances of pixels and of scores: the components' scores are uncorrelated."),
    "sizes": Caption("Over the number of dimensions", "One decomposition holds all sizes. Figures: of unseen images."),
    "em": Caption("EM", "Log-likelihood of the seen pixels along EM with 30 % of the pixels hidden."),
}
