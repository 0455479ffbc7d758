"""Flows: of images, or of latents and with their decoder a generator of two stages (`regen.models.two_stages`)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.drawing import collage, plots
from regen.errors import UserError
from regen.evaluation import asked
from regen.evaluation.images import images
from regen.evaluation.images.subject import Images
from regen.evaluation.subject import Subject
from regen.metrics.values import Measured, mean
from regen.metrics.values import pixels as as_floats
from regen.models import two_stages
from regen.models.base import GenerativeModel
from regen.seeding import generator

BOUNDED = 100  # examples whose likelihood is integrated: each step of it differentiates every dimension, or a sum of them
COMPARED = 1000  # examples of a split at which the velocity is held against its target
TIMES = 10  # parts of the time from noise to data
PATHS = 8  # that are drawn


class Decoded(Images):
    """A subject whose data are latents, beside the images that they encode."""

    @cached_property
    def train(self) -> dict[str, np.ndarray]:
        """Arrays of the training split, the images as `x`."""
        return _of_images(super().train)

    @cached_property
    def test(self) -> dict[str, np.ndarray]:
        """Arrays of the test split, the images as `x`."""
        return _of_images(super().test)


class Pixels(GenerativeModel):
    """A flow of images as the evaluation of images asks for it: its noise is all that it draws."""

    def __init__(self, flow: Any) -> None:
        known = {name: getattr(flow.config, name) for name in type(flow.config).model_fields}
        super().__init__(two_stages.Config.model_construct(**known, latent_dim=flow.dim), flow.data)
        self.flow = flow

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images."""
        drawn: Tensor = self.flow.sample(n, seed=seed)
        return drawn

    def encode(self, x: Tensor) -> Tensor:
        """Return the noise of images."""
        noise: Tensor = self.flow.encode(x)
        return noise

    def decode(self, z: Tensor) -> Tensor:
        """Return the images of noise."""
        ends: Tensor = self.flow.decode(z)
        return ends


def evaluate(subject: Subject) -> Measured:
    """Measure and draw what a flow makes, how far its velocity is from its target, and how probable test examples are."""
    model: Any = subject.model
    known = {field.name: getattr(subject, field.name) for field in fields(subject)}
    if hasattr(model, "latents"):
        check_places(model)
        flow, show = model.latents, lambda x: model.image(flow._restored(x))
        latents = {name: torch.from_numpy(np.array(split["x"][:COMPARED])) for name, split in _splits(subject)}
        both: Images = Decoded(**known, draws_labels=flow.draws_labels)
        measures = {"latent_log_likelihood": _log_likelihood(flow, latents["test"][:BOUNDED])}
    else:
        flow, show = model, lambda x: model._restored(x)
        both = Images(**{**known, "model": Pixels(model)}, draws_labels=flow.draws_labels)
        latents = {name: as_floats(x[:COMPARED]) for name, x in (("train", both.train_x), ("test", both.test_x))}
        measures = {"bits_per_dimension": _bits(flow, both.test_x[:BOUNDED], subject.seed)}
    measures |= velocity_errors(flow, latents["train"], latents["test"], subject)
    draw_paths(flow, show, subject)
    measures |= images.evaluate(both)
    if flow.labels:
        measures |= asked.evaluate(both, flow)
    return measures


def velocity_errors(flow: Any, train: Tensor, test: Tensor, subject: Subject) -> Measured:
    """Hold the velocity at test examples against its target, at times from noise to data; draw it beside training examples.

    What stands beside it is the least error of a velocity that takes the dimensions for independent and normal: at a variance s
    of one, v = E[x_1 - x_0 | x_t] leaves s / ((1 - t)^2 + s t^2), of which the mean over t is pi/2 sqrt(s).
    """
    at, found = (torch.arange(TIMES) + 0.5) / TIMES, {}
    for name, x in (("train", train), ("test", test)):
        draws, size = generator(subject.seed, "velocity", name), flow._chunk()
        noise = torch.randn(x.shape, generator=draws)
        t = (
            torch.arange(TIMES)[:, None] + torch.rand(TIMES, len(x), generator=draws)
        ) / TIMES  # every example in each part of the time
        with torch.no_grad():
            found[name] = torch.stack([
                torch.cat([
                    flow.error(*(part[i : i + size].to(flow.device) for part in (x, times, noise))).cpu().double()
                    for i in range(0, len(x), size)
                ])
                for times in t
            ])  # fmt: skip
    lines = {name: (at.tolist(), errors.mean(1).tolist()) for name, errors in found.items()}
    plots.curves(lines, subject.folder / "velocity_errors.png", "time, from noise to data", "squared error of the velocity")
    variance = flow._standardised(train).flatten(1).double().var(0)
    independent = float(torch.pi / 2 * variance.sqrt().mean())
    return {
        "velocity_error": mean(found["test"].mean(0)) | {"baseline": independent},
        "velocity_error_train": mean(found["train"].mean(0)),
    }


def draw_paths(flow: Any, show: Callable[[Tensor], Tensor], subject: Subject) -> None:
    """Draw where the paths of some noise are at equal steps of time."""
    x = torch.randn(PATHS, flow.dim, generator=generator(subject.seed, "sample")).to(flow.device)
    states = [x.reshape(-1, *flow.data.shape)]
    for begin, end in itertools.pairwise(np.linspace(0, 1, TIMES + 1).tolist()):
        states.append(flow.carried(states[-1], begin, end, max(1, flow.config.steps // TIMES)))
    shown = torch.stack([show(state).cpu() for state in states], 1).flatten(0, 1)
    headers = [f"{number / TIMES:g}" for number in range(TIMES + 1)]
    rows = {f"{number}": row for number, row in enumerate(torch.split(shown, len(states)), 1)}
    subject.picture("paths", collage.rows(rows, headers))


def _log_likelihood(flow: Any, x: Tensor) -> dict[str, float]:
    """In nats a dimension."""
    return mean(flow.log_likelihood(x.to(flow.device)).cpu().double() / flow.dim)


def _bits(flow: Any, x: Tensor, seed: int) -> dict[str, float]:
    """Bits a dimension of 8-bit images (N, C, H, W): a bound, by the density of the same with uniform noise within each level."""
    noise = torch.rand(x.shape, generator=generator(seed, "dequantised"))
    return mean(8 - _nats(flow, (x.float() + noise) / 256) / np.log(2))


def _nats(flow: Any, x: Tensor) -> Tensor:
    found: Tensor = flow.log_likelihood(x.to(flow.device)).cpu().double() / flow.dim
    return found


def check_places(model: Any) -> None:
    """Refuse a flow that takes latents for a map that they are not. Raises UserError."""
    taken, places = model.latents.config.places, list(getattr(model.images, "latent_shape", ())[1:])
    if taken and taken != places:
        raise UserError(f"places: the latents have {places or 'none'}, got {taken}")


def _splits(subject: Subject) -> list[tuple[str, dict[str, np.ndarray]]]:
    return [("train", subject.train), ("test", subject.test)]


def _of_images(split: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {("x" if name == "images" else name): array for name, array in split.items() if name != "x"}
