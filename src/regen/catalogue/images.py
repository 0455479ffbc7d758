"""Images: how well they are read, reconstructed, bounded in likelihood, and how real the new ones are."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("images", "letters")  # what its models learn on

TRAIN = "the same for as many real training images in place of samples: what a perfect model would get"
TEST = "the same for real test images in place of samples"
PCA = "principal component analysis with as many components as latent dimensions"
SETS = "Mean over four sets of samples, with the standard deviation between sets."
IMPORTANCE = "the importance-weighted bound, which is never lower on average: the gap is what the approximate posterior loses"

MEASURES = {
    # likeness of samples, in features of a classifier
    "kernel_distance": Measure(
        "Kernel distance ({features} features)", "squared kernel units", "lower",
        "Squared maximum mean discrepancy between samples and test images under a cubic kernel, unbiased: 0 on average for equal "
        f"distributions, so at times below 0. {SETS}",
        real=TRAIN,
    ),
    "precision": Measure(
        "Precision ({features} features)", "share", "higher",
        f"Share of samples that lie among the test images: are they realistic? {SETS}", real=TRAIN,
    ),
    "recall": Measure(
        "Recall ({features} features)", "share", "higher",
        f"Share of test images that lie among the samples: is all of the variety there? {SETS}", real=TRAIN,
    ),
    "density": Measure(
        "Density ({features} features)", "ratio", "higher",
        f"How thickly the test images surround the samples, 1 for real ones: a precision that no outlier raises. {SETS}",
        real=TRAIN,
    ),
    "coverage": Measure(
        "Coverage ({features} features)", "share", "higher",
        f"Share of test images that have a sample close by: a recall that no outlier raises. {SETS}", real=TRAIN,
    ),
    # memorised or not
    "copies": Measure(
        "Copies of training images", "share", "lower",
        "Share of samples that equal a training image, pixel for pixel in 8 bits. Where no two images are alike, as among punks, "
        "test images have none; what share chance alone would copy stands below the title of the data set.",
        real=TEST,
    ),
    "near_copies": Measure(
        "Near-copies of training images", "share", "lower",
        "Share of samples as near to a training image as only 5 % of real test images are. Blurred images lie near to all "
        "others, so they count, too: the pictures of nearest training images tell which it is.",
        real=TEST,
    ),
    "copying": Measure(
        "Nearer to training images than test images are", "probability", "none",
        "Probability that a sample is nearer to its nearest training image than a test image is: 1 where training images are "
        "repeated, 0 where samples are far from all of them.",
        real="0.5: test images are as near as test images are",
    ),
    "nearest_distance": Measure(
        "Distance to the nearest training image", "RMS pixel difference", "none",
        "Median over samples of the root mean square pixel difference to the nearest training image, on a scale of 0 to 1.",
        real=TEST,
    ),
    # pixel art
    "on_grid": Measure(
        "Cells on the pixel grid", "share", "higher",
        "Share of the cells of the 24x24 grid that have one colour, give or take 8 grey levels.", real=TEST,
    ),
    "in_palette": Measure(
        "Pixels in the palette", "share", "higher",
        "Share of pixels within 8 grey levels, in every channel, of a colour of the training images.", real=TEST,
    ),
    # reconstruction
    "psnr": Measure(
        "Peak signal-to-noise ratio", "dB", "higher",
        "-10 log10 of the mean squared error of each reconstructed test image, averaged over images.", baseline=PCA,
    ),
    "ssim": Measure(
        "Structural similarity", "index", "higher",
        "Likeness of local means, contrasts and structures of test images and their reconstructions, 1 if equal.", baseline=PCA,
    ),
    "noisy_psnr": Measure(
        "Peak signal-to-noise ratio before denoising", "dB", "none",
        "Of the test images with noise added, against the clean ones: where the denoiser starts.",
    ),
    "denoised_psnr": Measure(
        "Peak signal-to-noise ratio after denoising", "dB", "higher", "Of the denoised test images, against the clean ones.",
        baseline="the noisy images projected onto as many principal components as latent dimensions",
    ),
    # likelihood
    "elbo": Measure(
        "Evidence lower bound", "nats a dimension", "higher",
        "Lower bound on the log-likelihood of test images; of a density where pixels are Gaussian, so it may be positive.",
        bound=IMPORTANCE,
    ),
    "importance_weighted_bound": Measure(
        "Importance-weighted bound", "nats a dimension", "higher", "Tighter lower bound on the log-likelihood of test images.",
    ),
    "importance_weighted_bound_train": Measure(
        "Importance-weighted bound of training images", "nats a dimension", "none",
        "The same bound on training images: what it exceeds the test's by is overfitting.",
    ),
    "elbo_per_image": Measure(
        "Evidence lower bound", "nats an image", "higher", "The same lower bound, of whole images.", bound=IMPORTANCE,
    ),
    "importance_weighted_bound_per_image": Measure(
        "Importance-weighted bound", "nats an image", "higher", "The same tighter bound, of whole images.",
    ),
    "importance_weighted_bound_train_per_image": Measure(
        "Importance-weighted bound of training images", "nats an image", "none", "The same of training images, of whole images.",
    ),
    "rate": Measure(
        "Rate", "nats an image", "none",
        "KL divergence from prior to posterior: what the latents tell of a test image. More rate buys better reconstructions.",
    ),
    # latent space
    "continuity": Measure(
        "Continuity of the latent space", "ratio", "higher",
        "Mean over largest change of the picture along paths between test latents: 1 if even, near 0 if it jumps.",
        bound="1: every step changes the picture as much, as in a cross-fade of pixels",
    ),
    "completeness_prior": Measure(
        "Completeness, latents from the prior ({features} features)", "share", "higher",
        f"Share of latents drawn from the prior, N(0, I) or VaDE's mixture, whose pictures lie among the test images. {SETS}",
        real=TRAIN,
    ),
    "completeness_fitted": Measure(
        "Completeness, latents from a fitted Gaussian ({features} features)", "share", "higher",
        f"Share of latents drawn from a Gaussian fitted to the training latents whose pictures lie among the test images. {SETS}",
        real=TRAIN,
    ),
    "completeness_midpoints": Measure(
        "Completeness, half-way between test latents ({features} features)", "share", "higher",
        f"Share of midpoints between two test latents whose pictures lie among the test images. {SETS}", real=TRAIN,
    ),
    "frechet_distance_fitted": Measure(
        "Frechet distance, latents from a fitted Gaussian ({features} features)", "squared feature units", "lower",
        f"Frechet distance to test images of what is decoded from draws of a Gaussian fitted to the training latents. {SETS}",
        real=TRAIN,
    ),
    "frechet_distance_midpoints": Measure(
        "Frechet distance, half-way between test latents ({features} features)", "squared feature units", "lower",
        f"Frechet distance to test images of what is decoded from midpoints between two test latents. {SETS}", real=TRAIN,
    ),
    "completeness_reconstructions": Measure(
        "Completeness, reconstructions of training images ({features} features)", "share", "higher",
        f"Share of reconstructed training images that lie among the test images: the most that drawn latents can be expected to "
        f"reach. {SETS}", real=TRAIN,
    ),
    "frechet_distance_reconstructions": Measure(
        "Frechet distance, reconstructions of training images ({features} features)", "squared feature units", "lower",
        f"Frechet distance to test images of reconstructed training images: what no draws of latents are better than. {SETS}",
        real=TRAIN,
    ),
    # classifiers
    "accuracy": Measure(
        "Accuracy", "share", "higher", "Share of test images whose class is read right.", bound="1: every image",
    ),
    "rotation_accuracy": Measure(
        "Accuracy over rotations", "share", "higher",
        "Share of the four rotations of test images, by 0, 90, 180 and 270 degrees, that are told apart. It is no end in itself: "
        "it needs features of what is in the image, and no labels.",
        baseline="1/4: guessing",
    ),
    "attribute_accuracy": Measure(
        "Accuracy over attributes", "share", "higher",
        "Share of all readings, an attribute of a test image each, that are right; high by itself where attributes are rare.",
        bound="1: every reading",
    ),
    "exact_match": Measure(
        "Exact match", "share", "higher", "Share of test images all of whose attributes are read right.", bound="1: every image",
    ),
    "macro_f1": Measure(
        "Macro F1", "share", "higher",
        "Mean of F1 over the attributes that occur among the test images: each counts the same, however rare.",
        bound="1: every reading",
    ),
}  # fmt: skip

CAPTIONS = {
    "denoising": Caption("Denoising", "Clean test images, the noisy ones that the model sees, and what it makes of them."),
    "interpolation_linear": Caption("Linear interpolation", "On a straight line between two latents."),
    "interpolation_spherical": Caption("Spherical interpolation", "On the arc between two latents, which keeps their length."),
    "latent_grid": Caption(
        "Latent plane", "The first two latent dimensions, or principal axes of the latents, in equal steps about the mean."
    ),
    "samples_nearest": Caption(
        "Nearest training image of each", "At the place of each new image the training image that is nearest to it, by pixels."
    ),
    "neighbours_pixels": Caption(
        "Nearest training images, by pixels",
        "Memorised or new? Each sample beside the nearest of the training images, or of 50,000 drawn from more.",
    ),
    "neighbours_features": Caption("Nearest training images, by features", "The same in the classifier's features."),
    "latents": Caption("Latents", "Test images' places in the latent plane, coloured by a class that the model was never told."),
    "manifold": Caption(
        "The whole latent plane", "20 x 20 latents at equal steps of probability under N(0, I), from 5 % to 95 %, decoded."
    ),
    "attributes": Caption("Hardest attributes", "Attributes that the classifier reads worst, by F1."),
    "mistakes": Caption("Mistakes", "Test images that the classifier reads wrongly."),
}
