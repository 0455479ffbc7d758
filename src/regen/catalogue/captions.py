"""What each picture shows: title and one sentence, by file name, in the order of the page."""

from __future__ import annotations

CAPTIONS: dict[str, tuple[str, str]] = {
    "examples": ("Test images", "Images that no model was trained on."),
    "training": ("Training", "Means over each epoch; where there are no epochs, each iteration."),
    "progress_first": ("First epoch", "What the model made after its first epoch."),
    "progress_middle": ("Half-way", "The same, half-way through the training."),
    "progress_last": ("Last epoch", "The same at the end."),
    "samples": (
        "New images",
        "Drawn at random, not chosen: from the prior or, where a model has none, from a Gaussian fitted to its latents.",
    ),
    "samples_prior": (
        "Decoded from N(0, I)",
        "Latents from a standard normal, whatever the distribution of the model's own latents.",
    ),
    "reconstructions": ("Reconstructions", "Test images, what the model makes of them, and PCA with as many numbers an image."),
    "denoising": ("Denoising", "Clean test images, the noisy ones that the model sees, and what it makes of them."),
    "interpolation_linear": ("Linear interpolation", "On a straight line between two latents."),
    "interpolation_spherical": ("Spherical interpolation", "On the arc between two latents, which keeps their length."),
    "traversal": (
        "Traversal",
        "One latent dimension a row, from low to high, all others fixed. Where a latent draws a code, the image jumps.",
    ),
    "latent_grid": (
        "Latent plane",
        "The first two latent dimensions, or principal axes of the latents, in equal steps about the mean.",
    ),
    "neighbours_pixels": (
        "Nearest training images, by pixels",
        "Memorised or new? Each sample beside the training images nearest to it.",
    ),
    "neighbours_features": ("Nearest training images, by features", "The same in the classifier's features."),
    # letters
    "frequencies": ("Frequencies", "How often each letter was drawn. The band holds 95 % of the counts of a fair draw."),
    "malformed": ("Malformed samples", "Samples that are no letter."),
    # components
    "components": ("Components", "What each component looks like, the mean first."),
    "missing": (
        "Fitted with missing pixels",
        "Training images, the pixels that EM saw of them (70 %), and its expectation of the others.",
    ),
    "completed": (
        "Completed from half",
        "Unseen images, half of them hidden, and the hidden half's expectation given the other.",
    ),
    "traversal_small": ("Traversal by 0.05", "The published step of 0.05 standard deviations can hardly be seen."),
    "latents_2d": (
        "Two latent dimensions",
        "E[z|x] in the model with two dimensions, coloured by class. Dark rims: test images.",
    ),
    "latents_3d": ("Three latent dimensions", "The same with three dimensions."),
    "latents": ("Latents", "Test images' places in the latent plane, coloured by a class that the model was never told."),
    "manifold": (
        "The whole latent plane",
        "20 x 20 latents at equal steps of probability under N(0, I), from 5 % to 95 %, decoded.",
    ),
    "scree": ("Scree", "Variances of the components in falling order, and the share that the first ones explain."),
    "decorrelation": ("Decorrelation", "Covariances of pixels and of scores: the components' scores are uncorrelated."),
    "sizes": ("Over the number of dimensions", "One decomposition holds the models of all sizes. Figures: of unseen images."),
    "em": ("EM", "Log-likelihood of the seen pixels along EM with 30 % of the pixels hidden."),
    # mixtures
    "ellipses": (
        "Components",
        "Test latents by class, and 1, 2 and 3 standard deviations of each component with the class it is named for.",
    ),
    "responsibilities": ("Responsibilities", "Which class's components answer for each place of the plane. Dots: test latents."),
    "bic": ("Information criterion", "BIC over the number of components."),
    # regression and graphs
    "weights": ("Weights", "With two standard errors to each side; grey where 0 is within them."),
    "residuals": ("Residuals", "Over the prediction, and their distribution beside the model's N(0, sigma^2)."),
    "graphs": ("New graphs", "Drawn from the model. A node's colour is its three features."),
    "calibration": (
        "Calibration",
        "Observed share of edges over the similarity of two nodes, and the fitted and the true probability.",
    ),
    "ascent": ("To the optimum", "Gradient ascent never falls; Newton's method needs a few steps."),
    "attributes": ("Hardest attributes", "Attributes that the classifier reads worst, by F1."),
    "confusion": ("Confusion", "True classes or characters against those that are given or read."),
    "answers": ("Answers", "The first forty unseen queries, with what was answered, and the true answer where that is wrong."),
    "handwriting": ("Handwriting", "Ten drawings of each digit, in answers to different queries."),
    "failures": (
        "Which answers fail",
        "Share of wrong answers by the kind of query, with its standard error; the number of queries.",
    ),
    "distribution": ("Answers over all values", "How often each value is the true answer, and how often it is given."),
    "distances": ("How far off", "Distance from the true answer: of the wrong answers, and of all."),
    # tiles of sections
    "sections": ("Sections", "The first six of each brain, reduced to one size; with its split."),
    "samples_few": ("Ten new tiles", "Twice as large."),
    "interpolation_section": ("Within one section", "From one tile of a section of the test brain to another of its tiles."),
    "interpolation_sections": ("Between two sections", "From a tile of one section of the test brain to a tile of another."),
    "latents_by_brain": (
        "Latents by brain",
        "The first two principal components of 3,000 tiles' latents, as many of each brain; in grey, the other brains'.",
    ),
    "aggregate_variances": (
        "Aggregate posterior, by latent",
        "Variance of each latent over all training tiles, of which the posterior means have one part and its width the other.",
    ),
    "aggregate_norms": (
        "Aggregate posterior, by length",
        "How long latents are: those that the decoder has seen, and those of the prior that new tiles are made of.",
    ),
    "coverage": (
        "How often each row is seen",
        "By tiles of one size, in a section of four: positions inside alone miss the edges, the references' the last one quite.",
    ),
    "mistakes": ("Mistakes", "Test images that the classifier reads wrongly."),
}


def caption(name: str) -> tuple[str, str]:
    """Return the title and the sentence for one picture; the file's own name where nobody wrote one."""
    return CAPTIONS.get(name, (name.replace("_", " ").capitalize(), ""))


def order(name: str) -> tuple[int, str]:
    """Sort key: the order of CAPTIONS, then by name."""
    names = list(CAPTIONS)
    return (names.index(name) if name in names else len(names), name)
