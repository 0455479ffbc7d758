"""Every measure in metrics/*.json and every picture in figures/: what it means, and what stands beside it.

One module for each task of `regen.evaluation`; `shared` has what several tasks have.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from regen import blocks
from regen.catalogue import arithmetic, components, flows, graphs, images, letters, mixtures, regression, shared, tiles
from regen.catalogue.measure import Caption, Measure

__all__ = [
    "CAPTIONS", "MEASURES", "READS", "TASKS", "Caption", "Measure", "caption", "epoch_of", "face", "foremost",
    "measure", "order", "title", "title_of",
]  # fmt: skip

TASKS = (shared, images, flows, arithmetic, letters, components, mixtures, regression, graphs, tiles)
MEASURES: dict[str, Measure] = {name: measure for task in TASKS for name, measure in task.MEASURES.items()}
READS: dict[str, tuple[str, ...]] = {
    task.__name__.rpartition(".")[2]: task.READS for task in TASKS if hasattr(task, "READS")
}  # what the models of a task learn on: `EXAMPLES` of a kind of data set
CAPTIONS: dict[str, Caption] = {name: caption for task in TASKS for name, caption in task.CAPTIONS.items()}

# The one figure and the one picture of a model where there is room for no more: the first of these that it has.
FOREMOST = (
    "exact_match", "accuracy", "rotation_accuracy", "character_accuracy", "nats_per_pixel", "test_brain_variance_explained",
    "cluster_accuracy", "frechet_distance", "completion_mse", "log_likelihood", "variance_explained",
)  # fmt: skip
RECONSTRUCTED = ("denoised_psnr", "psnr")  # of an autoencoder, which is no generator
FACES = ("samples", "answers", "completed", "ellipses", "graphs", "weights", "mistakes", "examples")


def measure(name: str) -> Measure:
    """Return one measure.

    Raises:
        UserError: there is no such measure.
    """
    blocks.known(name, list(MEASURES), "metrics", "measure")
    return MEASURES[name]


def title(name: str, features: str = "classifier", network: str = "", target: str = "") -> str:
    """Return a measure's title, naming the model that gave the features: "Frechet distance (punks_classifier features)".

    Where that model's network is `inception`, and nowhere else, it is the literature's: "FID (inception features)". Where its
    target is `rotation` it saw no labels, and that is said: "Frechet distance (faces64_classifier rotation features)".
    """
    text = measure(name).title.format(features=f"{features} rotation" if target == "rotation" else features)
    for ours, theirs in (("Frechet distance", "FID"), ("Kernel distance", "KID")) if network == "inception" else ():
        text = text.replace(ours, theirs)
    return text


def title_of(name: str, block: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the title of a model's measure, by its block and those of all `models`: of these one is its classifier."""
    features = block.get("classifier", "none")
    classifier = models.get(features, {})
    return title(name, features, classifier.get("network", ""), classifier.get("target", ""))


def caption(name: str) -> Caption:
    """Return the title and the sentence for one picture; the file's own name where nobody wrote one."""
    if (epoch := epoch_of(name)) is not None:
        return Caption(CAPTIONS["epoch"].title.format(epoch), CAPTIONS["epoch"].text)
    return CAPTIONS.get(name, Caption(name.replace("_", " ").capitalize(), ""))


def epoch_of(name: str) -> int | None:
    """Return the epoch after which a model made the picture `epoch_0004`; None of other pictures."""
    return int(match[1]) if (match := re.fullmatch(r"epoch_(\d{4,9})", name)) else None


def order(name: str) -> tuple[int, int, str]:
    """Sort key: the order of CAPTIONS, then by epoch, then by name."""
    names, epoch = list(CAPTIONS), epoch_of(name)
    kind = name if epoch is None else "epoch"
    return (names.index(kind) if kind in names else len(names), epoch or 0, name)


def foremost(names: Collection[str], family: str) -> str:
    """Return the measure that tells most of a model of this family that has these measures; "" where it has none."""
    ranked = (*(RECONSTRUCTED if family == "autoencoder" else ()), *FOREMOST, *MEASURES)
    return next((name for name in ranked if name in names), "")


def face(names: Collection[str]) -> str:
    """Return the picture that stands for a model that has these pictures; "" where it has none."""
    return next((name for name in (*FACES, *CAPTIONS, *sorted(names)) if name in names), "")
