"""A conditional flow: does the classifier read in its images what they were asked for, and how varied are they then?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regen.drawing import collage, plots
from regen.evaluation.images.subject import Images
from regen.metrics import neighbours
from regen.metrics.values import Measured, mean
from regen.networks import asking

GUIDANCE = (0.0, 1.0, 2.0, 3.0, 4.0)
USUAL = 2.0  # the guidance at which the figures are taken
ASKED = 500  # test images whose labels are asked for
SHOWN, COLUMNS = 8, 10  # rows of pictures: labels, and images of each


def evaluate(subject: Images, flow: Any) -> Measured:
    """Ask for the labels of test images, of attributes those that they have; draw what comes of it at several guidances."""
    assert subject.labels is not None
    labels = subject.labels[:ASKED]
    wanted = asking.present(labels, len(flow.labels))
    draw_labels(subject, flow, wanted)
    few = wanted[: SHOWN * SHOWN : SHOWN]
    columns = torch.stack([drawn(subject, flow, few, guidance) for guidance in GUIDANCE], 1)
    names = [", ".join(name for name, one in zip(flow.labels, row, strict=True) if one) for row in few]
    headers = [f"{guidance:g}" for guidance in GUIDANCE]
    subject.picture(
        "guidance",
        collage.rows({f"{n}. {name}": row for n, (name, row) in enumerate(zip(names, columns, strict=True), 1)}, headers),
    )
    reader = subject.classifier
    if tuple(getattr(reader, "labels", ())) != tuple(flow.labels):
        return {}
    test = subject.test_x[:ASKED]
    balls, shares, covered = neighbours.Manifold(subject.features(test)), [], []
    for guidance in GUIDANCE:
        images = drawn(subject, flow, wanted, guidance)
        shares.append(read(subject, images, wanted))
        covered.append(balls.measures(subject.features(images))["coverage"])
    lines = {"read as asked": (GUIDANCE, [float(share.mean()) for share in shares]), "coverage": (GUIDANCE, covered)}
    of_real = read(subject, test, wanted)
    plots.curves(
        lines, subject.folder / "guidance_curve.png", "guidance", "share", levels={"read, of real images": float(of_real.mean())}
    )
    return {"read_as_asked": mean(shares[GUIDANCE.index(USUAL)], real=of_real)}


def drawn(subject: Images, flow: Any, wanted: Tensor, guidance: float) -> Tensor:
    """Return an image for each row of what is asked for, from the same noise at every guidance."""
    latents = flow.sample(len(wanted), seed=subject.seed, asked=wanted, guidance=guidance)
    return subject.apply(subject.model.image, latents) if hasattr(subject.model, "images") else latents.cpu()


def read(subject: Images, images: Tensor, wanted: Tensor) -> Tensor:
    """Return the share of what each image was asked for that the classifier reads in it; those asked for nothing are left out."""
    logits = subject.apply(subject.classifier.logits, images)
    found = (
        asking.present(logits.argmax(1), wanted.shape[1])
        if subject.labels is not None and subject.labels.ndim == 1
        else logits > 0
    )
    asked = wanted.sum(1)
    return (found * wanted).sum(1)[asked > 0].double() / asked[asked > 0]


def draw_labels(subject: Images, flow: Any, wanted: Tensor) -> None:
    """Draw one row of images for each label that test images have most often."""
    often = wanted.sum(0).argsort(descending=True, stable=True)[:SHOWN]
    each = torch.eye(len(flow.labels))[often].repeat_interleave(COLUMNS, 0)
    images = torch.split(drawn(subject, flow, each, USUAL), COLUMNS)
    subject.picture("asked", collage.rows({flow.labels[label]: row for label, row in zip(often.tolist(), images, strict=True)}))
