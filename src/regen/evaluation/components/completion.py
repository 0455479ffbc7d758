"""Pixels that were not seen: filled in by their expectation given the others, and left out of a fit by EM."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regen.drawing import collage, plots
from regen.estimators.ppca import PPCA
from regen.evaluation.subject import Subject
from regen.metrics.values import EXACT, Measured, mean, measured
from regen.seeding import generator

SHOWN = 12
HIDDEN = 0.3  # share of the training pixels that EM does not see
EM_DIM = 16  # latent dimensions of its fit
TOLERANCE = 0.01  # nats an example: EM creeps at the end
NOT_SEEN = (0.74, 0.84, 0.94)  # colour of a hidden pixel


def completed(subject: Subject, train: Tensor, test: Tensor) -> Measured:
    """Hide the right or the lower half of test images and fill it in: E[x_hidden | x_seen]."""
    model, shown = subject.model, test[torch.randperm(len(test), generator=generator(subject.seed, "halves"))[:SHOWN]]
    rows = {"original": shown}
    errors, by_mean = [], []
    for name, half in (
        ("right", (..., slice(test.shape[3] // 2, None))),
        ("lower", (..., slice(test.shape[2] // 2, None), slice(None))),
    ):
        hidden = torch.zeros(test.shape[1:], dtype=torch.bool)
        hidden[half] = True
        guess = model.complete(test.masked_fill(hidden, math.nan))
        errors.append((guess - test)[:, hidden].double().square().mean(1))
        by_mean.append((model.mean.view(test.shape[1:]) - test)[:, hidden].double().square().mean(1))
        rows[f"{name} half hidden"] = covered(shown, hidden)
        rows[f"{name} half completed"] = model.complete(shown.masked_fill(hidden, math.nan))
    subject.picture("completed", collage.rows(rows))
    return {"completion_mse": mean(torch.stack(errors).mean(0), baseline=torch.stack(by_mean).mean(0))}


def fitted(subject: Subject, train: Tensor, test: Tensor) -> Measured:
    """Fit by EM to training images with a share of their pixels hidden, beside the closed form that sees them all."""
    flat, pixels = train.flatten(1).double(), train[0].numel()
    hidden = torch.rand(flat.shape, generator=generator(subject.seed, "hidden")) < HIDDEN
    seen = flat.masked_fill(hidden, math.nan)
    d = min(EM_DIM, subject.model.config.latent_dim)
    em, whole = PPCA(d, tol=TOLERANCE).fit(seen), PPCA(d).fit(flat)
    iterations = range(1, len(em.log_likelihoods_) + 1)
    plots.curves(
        {"EM": (list(iterations), [value / pixels / (1 - HIDDEN) for value in em.log_likelihoods_])},
        subject.folder / "em.png",
        "iteration",
        "log-likelihood, nats a seen pixel",
    )
    some = torch.randperm(len(train), generator=generator(subject.seed, "missing"))[:SHOWN]
    filled = em.complete(seen[some]).view(-1, *train.shape[1:]).float()
    cover = covered(train[some], hidden[some].view(filled.shape))
    subject.picture("missing", collage.rows({"original": train[some], "seen": cover, "filled in": filled}))
    rows = test.flatten(1)
    falls = torch.tensor(em.log_likelihoods_).diff()
    return {
        "em_log_likelihood_per_pixel": mean(em.score_samples(rows) / pixels, baseline=whole.score_samples(rows) / pixels),
        "em_falls": measured(float((falls < -1e-9).sum()), EXACT, bound=0.0),
    }


def covered(x: Tensor, hidden: Tensor) -> Tensor:
    """Return images (N, C, H, W) in RGB, with a colour of its own where a pixel is hidden."""
    colour = torch.tensor(NOT_SEEN)[:, None, None]
    return torch.where(hidden, colour, x).expand(-1, 3, -1, -1)
