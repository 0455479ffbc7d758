"""What each picture shows: title and one sentence, by file name, in the order of the page."""

from __future__ import annotations

CAPTIONS: dict[str, tuple[str, str]] = {
    "examples": ("Test images", "Images that no model was trained on."),
    "training": ("Training", "Means over each epoch."),
    "progress_first": ("First epoch", "What the model made after its first epoch."),
    "progress_middle": ("Half-way", "The same latents, half-way through the training."),
    "progress_last": ("Last epoch", "The same latents at the end."),
    "samples": ("New images", "Drawn at random, not chosen."),
    "samples_prior": (
        "Decoded from N(0, I)",
        "An autoencoder learns no distribution of latents: standard normal ones decode to nothing real.",
    ),
    "reconstructions": ("Reconstructions", "Test images, what the model makes of them, and PCA with as many numbers an image."),
    "denoising": ("Denoising", "Clean test images, the noisy ones that the model sees, and what it makes of them."),
    "interpolation_linear": ("Linear interpolation", "On a straight line between two latents."),
    "interpolation_spherical": ("Spherical interpolation", "On the arc between two latents, which keeps their length."),
    "traversal": ("Traversal", "One latent dimension a row, from -3 to 3 standard deviations, all others fixed."),
    "latent_grid": ("Latent plane", "The first two latent dimensions, at equal steps of probability."),
    "neighbours_pixels": (
        "Nearest training images, by pixels",
        "Memorised or new? Each sample beside the training images nearest to it.",
    ),
    "neighbours_features": ("Nearest training images, by features", "The same in the judge's features."),
    "attributes": ("Hardest attributes", "Attributes that the judge reads worst, by F1."),
    "confusion": ("Confusion", "True classes against those that the judge reads."),
    "answers": ("Answers", "The first forty unseen queries, with what was answered, and the true answer where that is wrong."),
    "handwriting": ("Handwriting", "Ten drawings of each digit, in answers to different queries."),
    "failures": (
        "Which answers fail",
        "Share of wrong answers by the kind of query, with its standard error; the number of queries.",
    ),
    "distribution": ("Answers over all values", "How often each value is the true answer, and how often it is given."),
    "distances": ("How far off", "Distance from the true answer: of the wrong answers, and of all."),
    "mistakes": ("Mistakes", "Test images that the judge reads wrongly."),
}


def caption(name: str) -> tuple[str, str]:
    """Return the title and the sentence for one picture; the file's own name where nobody wrote one."""
    return CAPTIONS.get(name, (name.replace("_", " ").capitalize(), ""))


def order(name: str) -> tuple[int, str]:
    """Sort key: the order of CAPTIONS, then by name."""
    names = list(CAPTIONS)
    return (names.index(name) if name in names else len(names), name)
