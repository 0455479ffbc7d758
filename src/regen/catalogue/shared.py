"""Measures and pictures that models of several tasks have."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

EQUAL = "0: both programs agree"

MEASURES = {
    "log_likelihood": Measure(
        "Log-likelihood", "nats an example", "higher", "Mean of log p(x) over test examples; exact.",
        bound="the mean under the distribution that the data were drawn from, which no model exceeds on average",
    ),
    "log_likelihood_train": Measure(
        "Log-likelihood of training examples", "nats an example", "none",
        "The same mean over the examples that the model was fitted to: what it exceeds the test's by is overfitting.",
    ),
    "mse": Measure(
        "Reconstruction error", "mean squared pixel difference", "lower",
        "Mean squared difference between test images and their reconstructions, pixels from 0 to 1.",
        baseline="principal component analysis with as many components as latent dimensions",
    ),
    "variance_explained": Measure(
        "Variance explained", "share", "higher",
        "Share of the training images' variance that the components keep, or of the test targets' that a regression predicts.",
        bound="1: all of it",
    ),
    "scikit_learn_difference": Measure(
        "Difference to scikit-learn's log-likelihood", "relative", "lower",
        "|ours / theirs - 1| from the same data and the same start. Its error is that of rounding.", bound=EQUAL,
    ),
    "frechet_distance": Measure(
        "Frechet distance ({features} features)", "squared feature units", "lower",
        "Squared distance between Gaussians fitted to the features of samples and of test images: the mean over four sets of "
        "samples, with the standard deviation between sets.",
        real="the same for as many real training images in place of samples",
    ),
    "frechet_distance_prior": Measure(
        "Frechet distance, latents from the prior ({features} features)", "squared feature units", "lower",
        "Frechet distance to test images of what is decoded from draws of the model's prior: N(0, I), or VaDE's mixture.",
        real="the same for as many real training images in place of samples",
    ),
    "cluster_macro_f1": Measure(
        "Clusters as classes, macro F1", "share", "higher",
        "Mean of F1 over the classes of test examples. A component stands for the class of the five labelled training examples a "
        "class that it answers for.",
        bound="1: every component is a class",
    ),
    "cluster_accuracy": Measure(
        "Clusters as classes, accuracy", "share", "higher", "Share of test examples whose component stands for their class.",
        bound="1: every component is a class",
    ),
}  # fmt: skip

CAPTIONS = {
    "examples": Caption("Test images", "Images that no model was trained on."),
    "training": Caption("Training", "Means over each epoch; of a model that is fitted by iterations, each iteration."),
    "epoch": Caption("Epoch {}", "What the model made after so many epochs: of the same noise, or of the same images."),
    "samples": Caption(
        "New images",
        "Drawn at random, not chosen: from the prior or, where a model has none, from a Gaussian fitted to its latents.",
    ),
    "samples_prior": Caption(
        "Decoded from the prior", "Latents drawn from the prior; of an autoencoder, which has none, from a standard normal."
    ),
    "reconstructions": Caption("Reconstructions", "Test images, what the model makes of them, and PCA with as many components."),
    "confusion": Caption("Confusion", "True classes or characters against those that are given or read."),
    "ellipses": Caption(
        "Components",
        "Test latents by class, and 1, 2 and 3 standard deviations of each component with the class that it is named after.",
    ),
    "responsibilities": Caption(
        "Responsibilities", "The class of the most probable component, over the plane. Dots: test latents."
    ),
    "components": Caption("Components", "What each component looks like, the mean first."),
    "traversal": Caption("Traversal", "One latent dimension a row, from low to high, all others fixed."),
}
