"""Measures of images: how well they are read, reconstructed, bounded in likelihood, and how real the new ones are."""

from __future__ import annotations

from regen.catalogue.measure import Measure

TRAIN = "the same figure of as many training images: what a perfect model would get, with the same counts"
TEST = "the same figure of the test images: new real pictures, not copied from anything"
PCA = "principal components, as many as latent dimensions: the best linear autoencoder"

MEASURES = {
    # likeness of samples, in features of a classifier
    "frechet_distance": Measure(
        "Frechet distance ({features} features)",
        "squared feature units",
        "lower",
        "Squared distance between Gaussians fitted to the features of samples and of test images.",
        TRAIN,
    ),
    "kernel_distance": Measure(
        "Kernel distance ({features} features)",
        "squared kernel units",
        "lower",
        "Squared maximum mean discrepancy under a cubic kernel, unbiased: 0 on average for equal distributions, at times less.",
        TRAIN,
    ),
    "precision": Measure(
        "Precision ({features} features)",
        "share",
        "higher",
        "Share of samples that lie among the test images: are they realistic?",
        TRAIN,
    ),
    "recall": Measure(
        "Recall ({features} features)",
        "share",
        "higher",
        "Share of test images that lie among the samples: is all of the variety there?",
        TRAIN,
    ),
    "density": Measure(
        "Density ({features} features)",
        "ratio",
        "higher",
        "How thickly the test images surround the samples, 1 for real ones: precision that an outlier does not flatter.",
        TRAIN,
    ),
    "coverage": Measure(
        "Coverage ({features} features)",
        "share",
        "higher",
        "Share of test images that have a sample close by: recall that an outlier does not flatter.",
        TRAIN,
    ),
    # memorised or not
    "copies": Measure(
        "Copies of training images",
        "share",
        "lower",
        "Share of samples that equal a training image, pixel for pixel in 8 bits.",
        TEST,
    ),
    "near_copies": Measure(
        "Near-copies of training images",
        "share",
        "lower",
        "Share of samples as near to a training image as only 5 % of real test images are.",
        TEST,
    ),
    "copying": Measure(
        "Nearer to training images than test images are",
        "probability",
        "none",
        "Probability that a sample is nearer to its nearest training image than a test image is: 1 if memorised, 0 if far off.",
        "0.5: samples as new as real new images",
    ),
    "nearest_distance": Measure(
        "Distance to the nearest training image",
        "RMS pixel difference",
        "none",
        "Median over samples of the root mean square pixel difference to the nearest training image, on a scale of 0 to 1.",
        TEST,
    ),
    # pixel art
    "on_grid": Measure(
        "Cells on the pixel grid",
        "share",
        "higher",
        "Share of the cells of the 24x24 grid that have one colour, give or take 8 grey levels.",
        TEST,
    ),
    "in_palette": Measure(
        "Pixels in the palette",
        "share",
        "higher",
        "Share of pixels within 8 grey levels, in every channel, of a colour of the training images.",
        TEST,
    ),
    # reconstruction
    "mse": Measure(
        "Reconstruction error",
        "mean squared pixel difference",
        "lower",
        "Mean squared difference between test images and their reconstructions, pixels from 0 to 1.",
        PCA,
    ),
    "psnr": Measure(
        "Peak signal-to-noise ratio",
        "dB",
        "higher",
        "-10 log10 of the mean squared error of each reconstructed test image, averaged over images.",
        PCA,
    ),
    "ssim": Measure(
        "Structural similarity",
        "index",
        "higher",
        "Likeness of local means, contrasts and structures of test images and their reconstructions, 1 if equal.",
        PCA,
    ),
    "noisy_psnr": Measure(
        "Peak signal-to-noise ratio before denoising",
        "dB",
        "none",
        "Of the test images with noise added, against the clean ones: where the denoiser starts.",
        "none: the noise is given",
    ),
    "denoised_psnr": Measure(
        "Peak signal-to-noise ratio after denoising",
        "dB",
        "higher",
        "Of the denoised test images, against the clean ones.",
        "the noisy images projected onto as many principal components as latent dimensions",
    ),
    # likelihood
    "elbo": Measure(
        "Evidence lower bound",
        "nats a dimension",
        "higher",
        "Lower bound on the log-likelihood of test images; of a density where pixels are Gaussian, so it may be positive.",
        "the importance-weighted bound: the gap is what the approximate posterior loses",
    ),
    "importance_weighted_bound": Measure(
        "Importance-weighted bound",
        "nats a dimension",
        "higher",
        "Tighter lower bound on the log-likelihood of test images.",
        "the same bound of training images: the gap is what does not generalise",
    ),
    "elbo_per_image": Measure(
        "Evidence lower bound",
        "nats an image",
        "higher",
        "The same lower bound, of whole images.",
        "the importance-weighted bound: the gap is what the approximate posterior loses",
    ),
    "importance_weighted_bound_per_image": Measure(
        "Importance-weighted bound",
        "nats an image",
        "higher",
        "The same tighter bound, of whole images.",
        "the same bound of training images: the gap is what does not generalise",
    ),
    "rate": Measure(
        "Rate",
        "nats an image",
        "none",
        "KL divergence from prior to posterior: how much the latents tell of a test image.",
        "none: more rate buys better reconstructions",
    ),
    # latent space
    "continuity": Measure(
        "Continuity of the latent space",
        "ratio",
        "higher",
        "Mean over largest change of the picture along paths between test latents: 1 if even, near 0 if it jumps.",
        "1: a cross-fade of pixels",
    ),
    "completeness_prior": Measure(
        "Completeness, latents from N(0, I) ({features} features)",
        "share",
        "higher",
        "Share of latents drawn from the prior whose pictures lie among the test images.",
        TRAIN,
    ),
    "completeness_fitted": Measure(
        "Completeness, latents from a fitted Gaussian ({features} features)",
        "share",
        "higher",
        "Share of latents drawn from a Gaussian fitted to the training latents whose pictures lie among the test images.",
        TRAIN,
    ),
    "completeness_midpoints": Measure(
        "Completeness, half-way between test latents ({features} features)",
        "share",
        "higher",
        "Share of midpoints between two test latents whose pictures lie among the test images.",
        TRAIN,
    ),
    "frechet_distance_prior": Measure(
        "Frechet distance, latents from N(0, I) ({features} features)",
        "squared feature units",
        "lower",
        "Frechet distance to test images of what is decoded from draws of the prior.",
        TRAIN,
    ),
    "frechet_distance_fitted": Measure(
        "Frechet distance, latents from a fitted Gaussian ({features} features)",
        "squared feature units",
        "lower",
        "Frechet distance to test images of what is decoded from draws of a Gaussian fitted to the training latents.",
        TRAIN,
    ),
    "frechet_distance_midpoints": Measure(
        "Frechet distance, half-way between test latents ({features} features)",
        "squared feature units",
        "lower",
        "Frechet distance to test images of what is decoded from midpoints between two test latents.",
        TRAIN,
    ),
    # classifiers
    "accuracy": Measure(
        "Accuracy",
        "share",
        "higher",
        "Share of test images whose class is read right.",
        "1: every image",
    ),
    "attribute_accuracy": Measure(
        "Accuracy over attributes",
        "share",
        "higher",
        "Share of all readings, an attribute of a test image each, that are right; high by itself where attributes are rare.",
        "1: every reading",
    ),
    "exact_match": Measure(
        "Exact match",
        "share",
        "higher",
        "Share of test images all of whose attributes are read right.",
        "1: every image",
    ),
    "macro_f1": Measure(
        "Macro F1",
        "share",
        "higher",
        "Mean of F1 over the attributes that occur among the test images: each counts the same, however rare.",
        "1: every reading",
    ),
}
