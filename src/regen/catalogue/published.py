"""Figures that the reference reports published, to stand beside ours. By model key and measure."""

from __future__ import annotations

from regen.metrics.values import Measured

PUBLISHED: dict[str, dict[str, float]] = {  # the punks' reports classified by eye and published no figure
    "letters_tables": {"bytes_held": 536_870_896},
    "letters_lstm": {"nats_per_pixel": 0.163, "letters_covered": 4, "parameters": 12_961},
    "classrooms_graph": {"edge_slope": 6.70, "edge_bias": -6.16, "ascent_falls": 18},  # by a wrong gradient, on graphs of its own
    "digits148_vae": {"ssim": 0.828},
    # 0.77 is by the training loss, KL included.
    "brains_vae": {"train_loss": 940, "test_brain_variance_explained": 0.77, "coverage_p": 0.0},
    "digits148_mixture": {"cluster_accuracy": 0.76},
    "arithmetic_text_to_text": {"character_accuracy": 0.5873, "cross_entropy": 1.1486},
    "arithmetic_image_to_text": {"character_accuracy": 0.5606},
}

# Studies: {study: {values of the cell: {measure: published}}}.
STUDIED: dict[str, dict[str, dict[str, float]]] = {}
_FRACTIONS = ("0.9", "0.8", "0.7", "0.6", "0.5", "0.4", "0.3", "0.2", "0.1")
_LAYERS = ("1,1", "1,2", "1,3", "1,4", "1,5", "2,1", "3,1", "4,1", "5,1")  # of encoder and decoder
_ACCURACY = (0.5873, 0.5578, 0.5612, 0.547, 0.5242, 0.488, 0.4663, 0.4247, 0.4005)
_NATS = (1.1486, 1.2187, 1.2283, 1.2778, 1.3224, 1.4134, 1.492, 1.6475, 1.8311)
_TEXT_TO_TEXT = (0.5661, 0.5872, 0.6368, 0.6231, 0.6259, 0.5916, 0.6059, 0.6201, 0.5912)
_IMAGE_TO_TEXT = (0.4863, 0.4981, 0.4877, 0.4953, 0.4777, 0.5366, 0.5591, 0.5606, 0.5201)
_TEXT_TO_IMAGE = (0.5809, 0.5878, 0.5877, 0.5872, 0.588, 0.5871, 0.5872, 0.5876, 0.5875)  # of the reverse task
for _study in ("arithmetic_fractions", "arithmetic_fractions_as_published"):
    STUDIED[_study] = {
        fraction: {"character_accuracy": accuracy, "cross_entropy": nats}
        for fraction, accuracy, nats in zip(_FRACTIONS, _ACCURACY, _NATS, strict=True)
    }
for _task, _name, _column in (
    ("text_to_text", "character_accuracy", _TEXT_TO_TEXT),
    ("image_to_text", "character_accuracy", _IMAGE_TO_TEXT),
    ("text_to_image", "squared_error", _TEXT_TO_IMAGE),
):
    for _study in (f"arithmetic_{_task}_layers", f"arithmetic_{_task}_layers_as_published"):
        STUDIED[_study] = {pair: {_name: value} for pair, value in zip(_LAYERS, _column, strict=True)}


def beside(key: str, measured: Measured) -> Measured:
    """Return the measures of one model with the published figures added."""
    published = PUBLISHED.get(key, {})
    return {name: entry | ({"reference": published[name]} if name in published else {}) for name, entry in measured.items()}
