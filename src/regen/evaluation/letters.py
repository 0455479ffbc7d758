"""Autoregressive models of letters: how near to the entropy, and are the samples letters, all of them equally often?"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regen.data.loaders.arrays import as_images
from regen.drawing import collage, plots
from regen.evaluation.subject import Subject
from regen.metrics.bootstrap import standard_error
from regen.metrics.values import EXACT, P_VALUE_SPREAD, Measured, mean, measured
from regen.seeding import derive_seed

SAMPLES = 10_000
SETS, LEVEL = 20, 0.05  # sets of so many samples that are tested for equal frequencies, and the test's level
DENSE_ENTRIES = 2**26 - 2  # of the tables p(x_i | x_1..x_{i-1}) for i = 1..25, written out


def evaluate(subject: Subject) -> Measured:
    """Measure likelihood and samples against the data's distribution: the letters are all there is, equally likely."""
    letters = as_images(np.array(subject.test["x"]))  # (26, 1, 5, 5)
    names = [subject.model.data.labels[int(c)] for c in subject.test["labels"]]
    samples = subject.model.sample(SAMPLES, seed=subject.seed).cpu()
    subject.picture("examples", collage.grid(inked(letters), 13, names))
    subject.picture("samples", collage.grid(inked(samples[:100]), 10))
    pixels = letters[0].numel()
    log_likelihood = subject.model.log_likelihood(letters.to(subject.model.device)).cpu()
    entropy = math.log(len(letters))
    for path in sorted(subject.folder.glob("epoch_*.png")):
        collage.save(collage.grid(inked(tiles(path, *letters.shape[2:])), 8), path)
    if (subject.folder / "training.csv").exists():
        plots.training_curves(
            subject.folder / "training.csv", subject.folder / "training.png", {"nats_per_pixel": entropy / pixels}
        )
    equal = equalities(samples, letters)
    counts, wrong = equal.sum(0), samples[~equal.any(1)]
    if len(wrong):
        subject.picture("malformed", collage.grid(inked(wrong[:50]), 10))
    write_frequencies(subject, list(names), counts)
    state = list(subject.model.state_dict().values())
    return {
        "nats_per_pixel": measured(-float(log_likelihood.mean()) / pixels, EXACT, bound=entropy / pixels),
        "log_likelihood": measured(float(log_likelihood.mean()), EXACT, bound=-entropy),
        "letters": mean(equal.any(1).double(), bound=1.0),
        "letters_covered": measured(float(covered(equal)), standard_error(covered, equal), bound=len(letters)),
        "letters_p_value": measured(equal_frequencies(counts), P_VALUE_SPREAD),
        "letters_tests_passed": mean(tests_passed(subject, letters).double(), real=1 - LEVEL),
        "parameters": measured(sum(value.numel() for value in state), EXACT, baseline=DENSE_ENTRIES),
        "bytes_held": measured(sum(value.numel() * value.element_size() for value in state), EXACT, baseline=8 * DENSE_ENTRIES),
    }


def inked(x: Tensor) -> Tensor:
    """Return binary images as dark ink on light paper with a margin, so that letters are read as such."""
    return 0.97 - 0.75 * torch.nn.functional.pad(x, (1, 1, 1, 1))


def tiles(path: Path, height: int, width: int) -> Tensor:
    """Return the images (n, 1, H, W) that stand edge to edge in a picture of the training."""
    with Image.open(path) as picture:
        levels = torch.from_numpy(np.array(picture.convert("L"))).float() / 255
    return levels.unfold(0, height, height).unfold(1, width, width).reshape(-1, 1, height, width)


def equalities(samples: Tensor, letters: Tensor) -> Tensor:
    """Return which of the samples (n, C, H, W) equals which of the letters (L, C, H, W), (n, L)."""
    return (samples.flatten(1)[:, None] == letters.flatten(1)).all(2)


def covered(equal: Tensor) -> Tensor:
    """Return how many of the letters occur among samples, from their equalities (n, L)."""
    return equal.any(0).sum()


def equal_frequencies(counts: Tensor) -> float:
    """Return the p-value of the chi-square test that all letters are equally likely: uniform in [0, 1] where they are."""
    from scipy.stats import chisquare

    return float(chisquare(counts.numpy()).pvalue) if int(counts.sum()) else 0.0


def tests_passed(subject: Subject, letters: Tensor) -> Tensor:
    """Return which of independent sets of samples pass the test of equal frequencies, (SETS,)."""
    seeds = [derive_seed(subject.seed, "letters", i) for i in range(SETS)]
    p_values = [equal_frequencies(equalities(subject.model.sample(SAMPLES, seed=seed).cpu(), letters).sum(0)) for seed in seeds]
    return torch.tensor(p_values) >= LEVEL


def write_frequencies(subject: Subject, names: list[str], counts: Tensor) -> None:
    """Write frequencies.csv and draw it, with the band that holds 95 % of fair counts."""
    with (subject.folder / "frequencies.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["letter", "samples", "expected"])
        writer.writerows([name, int(count), round(SAMPLES / len(names), 2)] for name, count in zip(names, counts, strict=True))
    fair = SAMPLES / len(names)
    half = 1.96 * math.sqrt(fair * (1 - 1 / len(names)))
    with plots.figure(subject.folder / "frequencies.png", (6.4, 2.9)) as (axis,):
        bars(axis, names, counts)
        axis.axhspan(fair - half, fair + half, color=plots.MUTED, alpha=0.18, linewidth=0)
        axis.axhline(fair, color=plots.MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        axis.set_ylabel(f"of {SAMPLES:,} samples")
        axis.grid(axis="x", visible=False)


def bars(axis: Any, names: list[str], counts: Tensor) -> None:
    """Draw upright bars."""
    axis.bar(range(len(names)), counts.tolist(), width=0.72, color=plots.COLOURS[0], alpha=0.85)
    axis.set_xticks(range(len(names)), [plots.plain(name) for name in names])
    axis.margins(x=0.01)
