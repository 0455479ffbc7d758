"""Figures that others have published on the same task: they stand beside ours on the page, with who published them.

A figure belongs to what was modelled and how (`about`), not to a model's name in params.yaml: renaming a model loses nothing.
Nothing here is read when models are trained or evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from regen.params import Params


def report(task: str) -> str:
    """Return the source of what the project's reference reports say; more is not known of them."""
    return f"the reference report on {task}; its author and place are not recorded here"


@dataclass(frozen=True)
class Published:
    """Figures from one source.

    Attributes:
        figures: by measure.
        source: who published them, and what to know of them.
        about: values of the model's block, and of its data set's, that the figures are of: {"family": "vae", "kind": "brains"}.
        setting: values that a study varies, where the figures belong to one of its rows.
    """

    figures: Mapping[str, float]
    source: str
    about: Mapping[str, Any]
    setting: Mapping[str, Any] = field(default_factory=dict)


LETTERS, DIGITS, ARITHMETIC = report("letters"), report("the digits 1, 4 and 8"), report("arithmetic")

# The reports on punks classified by eye, and published no figure.
PUBLISHED = [
    Published(
        {"bytes_held": 536_870_896}, f"{LETTERS}: the dense tables, written out", {"family": "prefix_tables", "kind": "letters"}
    ),
    Published(
        {"nats_per_pixel": 0.163, "letters_covered": 4, "parameters": 12_961}, LETTERS,
        {"family": "pixel_lstm", "kind": "letters"},
    ),
    Published(
        {"edge_slope": 6.70, "edge_bias": -6.16, "ascent_falls": 18},
        f"{report('random graphs')}: by a wrong gradient, on graphs of its own", {"family": "random_graph", "kind": "classrooms"},
    ),
    Published({"ssim": 0.828}, DIGITS, {"family": "vae", "kind": "mnist", "digits": [1, 4, 8]}),
    Published(
        {"cluster_accuracy": 0.76}, DIGITS, {"family": "gaussian_mixture", "kind": "mnist", "digits": [1, 4, 8]}
    ),
    Published(
        {"train_loss": 940, "test_brain_variance_explained": 0.77, "coverage_p": 0.0},
        f"{report('brain sections')}, on sections of its own: the variance explained is by the training loss, KL included; the "
        "p-value is of its sampler",
        {"family": "vae", "kind": "brains"},
    ),
]  # fmt: skip

# Arithmetic: {fraction of the training queries: accuracy by character, cross-entropy}.
_FRACTIONS = {
    0.9: (0.5873, 1.1486), 0.8: (0.5578, 1.2187), 0.7: (0.5612, 1.2283), 0.6: (0.547, 1.2778), 0.5: (0.5242, 1.3224),
    0.4: (0.488, 1.4134), 0.3: (0.4663, 1.492), 0.2: (0.4247, 1.6475), 0.1: (0.4005, 1.8311),
}  # fmt: skip
# Layers of encoder and decoder, and the accuracy by character or the squared error with them.
_LAYERS = ((1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1), (3, 1), (4, 1), (5, 1))
_BY_LAYERS = [
    ("text", "text", "character_accuracy", ARITHMETIC, (0.5661, 0.5872, 0.6368, 0.6231, 0.6259, 0.5916, 0.6059, 0.6201, 0.5912)),
    ("image", "text", "character_accuracy", ARITHMETIC, (0.4863, 0.4981, 0.4877, 0.4953, 0.4777, 0.5366, 0.5591, 0.5606, 0.5201)),
    ("text", "image", "squared_error",
     f"{ARITHMETIC}: of the reverse task, and printed ten times too large; one constant drawing has 0.0587 there",
     (0.5809, 0.5878, 0.5877, 0.5872, 0.588, 0.5871, 0.5872, 0.5876, 0.5875)),
]  # fmt: skip


def _arithmetic(source: str, target: str) -> dict[str, str]:
    return {"family": "seq2seq", "kind": "arithmetic", "source": source, "target": target}


PUBLISHED += [
    Published(dict(zip(("character_accuracy", "cross_entropy"), _FRACTIONS[0.9], strict=True)), ARITHMETIC,
              _arithmetic("text", "text")),
    Published({"character_accuracy": 0.5606}, f"{ARITHMETIC}: the best of its numbers of layers", _arithmetic("image", "text")),
]  # fmt: skip
PUBLISHED += [
    Published(
        {"character_accuracy": accuracy, "cross_entropy": nats}, ARITHMETIC, _arithmetic("text", "text"),
        {"train_fraction": fraction},
    )
    for fraction, (accuracy, nats) in _FRACTIONS.items()
]  # fmt: skip
PUBLISHED += [
    Published(
        {measure: value}, source, _arithmetic(given, target), {"encoder_layers": encoder, "decoder_layers": decoder}
    )
    for given, target, measure, source, values in _BY_LAYERS
    for (encoder, decoder), value in zip(_LAYERS, values, strict=True)
]  # fmt: skip


def beside(key: str, given: Params, setting: Mapping[str, Any] | None = None) -> dict[str, tuple[float, str]]:
    """Return what is published of a model of params.yaml, or of one setting of a study of it: {measure: (figure, source)}."""
    return {
        name: (value, published.source)
        for published in PUBLISHED
        if bool(published.setting) == (setting is not None)
        and _holds(published.setting, setting or {})
        and _holds(published.about, described(key, given))
        for name, value in published.figures.items()
    }


def described(key: str, given: Params) -> dict[str, Any]:
    """Return the values of a model's block, and of the blocks of the data that it is trained on."""
    block = given.models[key]
    return data(block["dataset"], given) | block


def data(key: str, given: Params) -> dict[str, Any]:
    """Return the block of a data set; of queries their kind too; of latents the block of the images that they encode."""
    if key in given.queries:
        return {**given.queries[key], "kind": "arithmetic"}
    if key in given.encodings:
        return data(given.encodings[key]["dataset"], given)
    return dict(given.datasets.get(key, {}))


def _holds(wanted: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return all(name in values and values[name] == value for name, value in wanted.items())
