"""Batches of arithmetic: queries and their answers, as tokens or in new handwriting at each step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regen.data import arrays
from regen.data.loaders import Share
from regen.data.loaders.augment import refuse
from regen.data.loaders.memory import sent
from regen.data.loaders.passes import Passes
from regen.errors import UserError
from regen.seeding import generator

Form = Literal["text", "image"]


def read(folder: Path, share: Share, source: Form, target: Form, glyphs: int = 40) -> QueryBatches:
    """Return the batches of prepared queries. Args: see `QueryBatches`."""
    return QueryBatches(folder, share, source, target, glyphs)


class QueryBatches:
    """Every training query once a pass, in a new order each time, in new handwriting at each step.

    Args:
        folder: of the prepared queries.
        share: how much, and whose part; a glyph that is read is moved at random by up to `share.shift` pixels to each side.
        source, target: whether queries and answers are tokens or images.
        glyphs: images of each character that the queries of one batch are written with.

    Raises:
        UserError: there are fewer queries than one batch needs, a process would get none, or they are to be mirrored.
    """

    def __init__(self, folder: Path, share: Share, source: Form, target: Form, glyphs: int) -> None:
        if share.flip:
            refuse(share, "handwriting is not read in a mirror")
        content = arrays.load(folder, "train")
        self.passes, self.share = Passes(len(content["x"]), share), share
        self.per_epoch = self.passes.per_epoch
        self.queries, self.answers = (torch.from_numpy(content[name].copy()).long() for name in ("x", "answers"))
        self.source, self.target, self.glyphs = source, target, glyphs
        self.handwriting = Handwriting(folder, "train", share.device) if "image" in (source, target) else None

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch: `x` (n, T) and `answers` (n, U), tokens.

        Where queries are images, `x` holds places among the `glyphs` (M, H, W), which show the characters `glyph_tokens` (M,).
        Where answers are images, `drawings` (n, H, W) show one character of each, at the place `drawn` (n,).
        """
        index = self.passes(step)
        queries, answers = self.queries[index], self.answers[index]
        batch = {"x": queries, "answers": answers}
        draws = generator(self.share.seed, "handwriting", step, self.share.rank)
        if self.handwriting and self.source == "image":
            batch |= self._written(queries, draws)
        if self.handwriting and self.target == "image":
            drawn = torch.randint(answers.shape[1], (len(answers),), generator=draws)
            shown = answers[torch.arange(len(answers)), drawn]
            batch |= {"drawn": drawn, "drawings": self.handwriting.draw(shown, draws)}
        return {name: sent(value, self.share.device) for name, value in batch.items()}

    def validation(self) -> Iterator[dict[str, Tensor]]:
        """Yield nothing: queries have no validation split."""
        yield from ()

    def _written(self, queries: Tensor, draws: torch.Generator) -> dict[str, Tensor]:
        """Return a batch's own glyphs, some of each character, and the place of each query's characters among them."""
        assert self.handwriting
        symbols = len(self.handwriting.first)
        tokens = torch.arange(symbols).repeat_interleave(self.glyphs)
        images = self.handwriting.draw(tokens, draws)
        if self.share.shift:
            images = shifted(images, self.share.shift, draws)
        places = queries * self.glyphs + torch.randint(self.glyphs, queries.shape, generator=draws)
        return {"x": places, "glyphs": images, "glyph_tokens": tokens}


class Handwriting:
    """The images of every character, in one pool on the device: a glyph is a place in it.

    `folder` holds the prepared queries, `split` says whose digits and operators.
    """

    def __init__(self, folder: Path, split: str, device: torch.device | str = "cpu") -> None:
        statistics = arrays.statistics(folder)
        names = statistics["digit_labels"]
        images = torch.from_numpy(_array(folder, f"digits_{split}")[..., 0])
        labels = torch.from_numpy(_array(folder, f"digits_{split}_labels"))
        order = labels.argsort(stable=True)  # the digits class by class
        places, start = {}, 0
        for label, count in enumerate(labels.bincount(minlength=len(names)).tolist()):
            places[names[label]] = (start, count)
            start += count
        parts = [images[order]]
        for sign, drawn in zip(statistics["operators"], _array(folder, f"operators_{split}"), strict=True):
            places[sign] = (start, len(drawn))
            parts.append(torch.from_numpy(drawn))
            start += len(drawn)
        places[" "] = (start, 1)
        self.pool = torch.cat([*parts, parts[0].new_zeros(1, *parts[0].shape[1:])]).to(device)  # (M, H, W) uint8
        self.first, self.count = torch.tensor([places[symbol] for symbol in statistics["labels"]]).unbind(1)

    def mean(self, token: int) -> Tensor:
        """Return the mean image (H, W) of one character, in [0, 1]."""
        first, count = int(self.first[token]), int(self.count[token])
        return (self.pool[first : first + count].double().mean(0) / 255).float()

    def draw(self, tokens: Tensor, draws: torch.Generator) -> Tensor:
        """Return an image in [0, 1] of each character, drawn at random from those that show it: tokens (...) -> (..., H, W)."""
        share = torch.rand(tokens.shape, generator=draws, dtype=torch.float64)
        tokens = tokens.long().cpu()
        place = self.first[tokens] + (share * self.count[tokens]).long()
        return self.pool[sent(place, self.pool.device)].float().div_(255)


def _array(folder: Path, name: str) -> np.ndarray:
    try:
        array: np.ndarray = np.load(folder / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise UserError(
            f"{folder}/{name}.npy: missing or damaged ({error}); run `dvc repro --force queries@{folder.name}`"
        ) from None
    return array


def shifted(images: Tensor, most: int, draws: torch.Generator) -> Tensor:
    """Move each image (M, H, W) by up to `most` pixels along both axes."""
    height, width = images.shape[1:]
    padded = F.pad(images, (most,) * 4)
    down, right = torch.randint(2 * most + 1, (2, len(images)), generator=draws)
    down, right = sent(down, images.device), sent(right, images.device)
    rows = down[:, None, None] + torch.arange(height, device=images.device)[:, None]
    columns = right[:, None, None] + torch.arange(width, device=images.device)
    return padded[torch.arange(len(images), device=images.device)[:, None, None], rows, columns]
