"""Answers to questions of arithmetic: how many are right, by character and whole, which fail, and how well they are drawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regen.data.loaders.arithmetic import Handwriting
from regen.drawing import collage
from regen.evaluation.arithmetic import failures, plots
from regen.evaluation.subject import Subject
from regen.metrics.distances import SETS
from regen.metrics.frechet import frechet_distance
from regen.metrics.values import EXACT, Measured, mean, measured, over_sets
from regen.seeding import generator

COMPARED = 1000  # digits a set whose features are compared
SHOWN = 40  # answers beside their queries
FAINT = 0.2  # levels up to this are no ink
INK = 4.0  # sum of the levels above FAINT under which a glyph is a space: the thinnest handwritten 1 has 12
MINUS_ROWS, MINUS_SHARE = slice(9, 19), 0.985  # a minus sign keeps to the middle rows; 22 of MNIST's 70,000 digits do


@dataclass(frozen=True)
class Test:
    """The test queries, as the model takes them, and their true answers, in new handwriting where images are asked for."""

    subject: Subject

    @cached_property
    def queries(self) -> Tensor:
        """Tokens (N, T)."""
        return torch.from_numpy(self.subject.test["x"].copy()).long()

    @cached_property
    def answers(self) -> Tensor:
        """Tokens (N, U)."""
        return torch.from_numpy(self.subject.test["answers"].copy()).long()

    @cached_property
    def handwriting(self) -> Handwriting:
        """The test split's glyphs."""
        return Handwriting(self.subject.data, "test")

    @cached_property
    def given(self) -> Tensor:
        """What the model is shown: tokens (N, T), or images (N, T, H, W)."""
        if self.subject.model.config.source == "text":
            return self.queries
        return self.handwriting.draw(self.queries, generator(self.subject.seed, "test queries"))

    @cached_property
    def drawn(self) -> Tensor:
        """True answers as images (N, U, H, W)."""
        return self.handwriting.draw(self.answers, generator(self.subject.seed, "test answers"))


def evaluate(subject: Subject) -> Measured:
    """Measure and draw all of a model that answers queries; returns what belongs in metrics/<model>.json."""
    test = Test(subject)
    device = subject.model.device
    if subject.model.config.target == "text":
        logits = subject.model.answer_logits(test.given.to(device)).float().cpu()
        read, measures = logits.argmax(2), named_measures(logits, test.answers)
        measures |= exact_measures(read, test.answers)
        if subject.model.config.source == "image":
            strips = test.given[:SHOWN]
            subject.picture("answers", plots.strips(strips, subject.model, test.queries, read, test.answers))
    else:
        drawings = subject.model.drawings(test.given.to(device), subject.seed).float().cpu()
        read, measures = drawn_measures(subject, test, drawings)
        shown = drawings[:SHOWN]
        queries = test.given if subject.model.config.source == "image" else None
        subject.picture("answers", plots.strips(shown, subject.model, test.queries, read, test.answers, queries))
    measures |= constants(subject, test.answers)
    measures |= failures.evaluate(subject, test.queries, read, test.answers)
    return measures


def named_measures(logits: Tensor, answers: Tensor) -> Measured:
    """Return the cross-entropy -log p(y_u | x), mean over characters, of logits (N, U, V) and tokens (N, U)."""
    nats = F.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view(answers.shape)
    return {"cross_entropy": mean(nats.mean(1), bound=0.0)}


def exact_measures(read: Tensor, answers: Tensor, read_real: Tensor | None = None) -> Measured:
    """Return both accuracies of tokens (N, U): per character, padding included, and of whole answers.

    They are bounded by 1 or, of drawings, stand beside those of `read_real`: tokens read in real handwriting of the true answers.
    """

    def accuracies(tokens: Tensor) -> tuple[Tensor, Tensor]:
        right = (tokens == answers).double()
        return right.mean(1), right.amin(1)

    names = ("character_accuracy", "exact_accuracy")
    if read_real is None:
        return {name: mean(right, bound=1.0) for name, right in zip(names, accuracies(read), strict=True)}
    pairs = zip(names, accuracies(read), accuracies(read_real), strict=True)
    return {name: mean(right, real=real) for name, right, real in pairs}


def constants(subject: Subject, answers: Tensor) -> Measured:
    """Return both accuracies of the best constant, over all queries: test answers alone lack what is common in training."""
    every = torch.cat([torch.from_numpy(subject.train["answers"].copy()).long(), answers])
    counts = np.unique(every.numpy(), axis=0, return_counts=True)[1]
    usual = every.mode(0).values  # the most frequent character at each position
    return {
        "character_accuracy_constant": measured((every == usual).double().mean().item(), EXACT),
        "exact_accuracy_constant": measured(counts.max().item() / len(every), EXACT),
    }


def drawn_measures(subject: Subject, test: Test, drawings: Tensor) -> tuple[Tensor, Measured]:
    """Return what the classifier reads in drawings (N, U, H, W), as tokens, and how near they come to real handwriting."""
    answers, real, seed = test.answers, test.drawn, subject.seed
    train = Handwriting(subject.data, "train")
    labels: list[str] = subject.statistics["labels"]
    symbols = len(labels)
    means = torch.stack([train.mean(code) for code in range(symbols)])  # (V, H, W)
    shares = F.one_hot(torch.from_numpy(subject.train["answers"].copy()).long(), symbols).double().mean(0)  # (U, V)
    blur = torch.einsum("uv,vhw->uhw", shares, means.double())
    measures = {
        "squared_error": mean(_squared(drawings, real), baseline=_squared(means[answers], real)),
        "squared_error_black": mean(_squared(torch.zeros_like(real), real)),
        "squared_error_mean": mean(_squared(blur.float().expand_as(real), real)),
    }
    read, read_real = read_tokens(subject.classifier, labels, drawings), read_tokens(subject.classifier, labels, real)
    digit = answers < 10
    measures["digits_read"] = mean((read == answers)[digit].double(), real=(read_real == answers)[digit].double())
    measures |= exact_measures(read, answers, read_real)
    # diversity: two drawings of one digit, in answers to different queries
    own, others = drawings[digit], test.handwriting.draw(answers, generator(seed, "other answers"))[digit]
    if len(apart := diversity(own, answers[digit])):
        measures["diversity"] = mean(apart, real=diversity(real[digit], answers[digit]))
    measures["greyness"] = mean(greyness(own), real=greyness(real[digit]))
    new = train.draw(answers, generator(seed, "training digits"))[digit]
    if (n := min(COMPARED, len(own) // SETS)) > 1:  # digits a set
        a, b, c = (
            torch.split(subject.apply(subject.classifier.features, x[: SETS * n, None]), n)[:SETS] for x in (own, others, new)
        )
        distances = [[frechet_distance(x, torch.cat(b)) for x in sets] for sets in (a, c)]
        measures["frechet_distance"] = over_sets(distances[0], real=distances[1])
    else:
        print(f"{subject.model.data.dataset}: {len(own)} digits in test answers are too few to compare {SETS} sets of them: "
              "frechet_distance is left out", file=sys.stderr)  # fmt: skip
    columns = [own[answers[digit] == code][:10] for code in range(10)]
    if all(len(column) == 10 for column in columns):
        subject.picture("handwriting", collage.rows({str(code): columns[code][:, None] for code in range(10)}))
    return read, measures


def read_tokens(classifier: Any, labels: Sequence[str], drawings: Tensor) -> Tensor:
    """Return the characters (N, U) in drawings (N, U, H, W): no ink is a space, ink in the middle a minus, else a digit."""
    glyphs = drawings.flatten(0, 1)
    strokes = (glyphs - FAINT).clamp_min(0)
    ink = strokes.sum((1, 2))
    tokens = torch.full((len(glyphs),), labels.index(" "))
    digit = ink >= INK
    if "-" in labels:
        minus = digit & (strokes[:, MINUS_ROWS].sum((1, 2)) > MINUS_SHARE * ink)
        tokens[minus] = labels.index("-")
        digit &= ~minus
    places = digit.nonzero()[:, 0]
    for part in torch.split(places, 1000) if len(places) else ():
        tokens[part] = classifier.logits(glyphs[part][:, None].to(classifier.device)).argmax(1).cpu()
    return tokens.view(drawings.shape[:2])


def diversity(glyphs: Tensor, tokens: Tensor) -> Tensor:
    """Return the root mean square pixel difference of each glyph (N, H, W) to the next one of the same character, if any."""
    apart = [torch.empty(0)]
    for code in tokens.unique().tolist():  # type: ignore[no-untyped-call]
        same = glyphs[tokens == code]
        if len(same) > 1:
            apart.append((same - same.roll(1, 0)).square().mean((1, 2)).sqrt())
    return torch.cat(apart)


def greyness(glyphs: Tensor) -> Tensor:
    """Return the mean of 4 p (1 - p) over the pixels of each glyph (N, H, W): 0 for black and white, high where it is blurred."""
    return (4 * glyphs * (1 - glyphs)).mean((1, 2))


def _squared(drawings: Tensor, real: Tensor) -> Tensor:
    return (drawings - real).square().mean((1, 2, 3))
