"""Augmentation: each training image mirrored or moved at random. The draws of a step are a function of the seed and the step."""

from __future__ import annotations

import torch
from torch import Tensor

from regen.data.loaders import Share
from regen.data.loaders.memory import sent
from regen.errors import UserError
from regen.seeding import generator


def augmented(x: Tensor, share: Share, step: int) -> Tensor:
    """Return a process's images (n, H, W, C) of a step, mirrored left to right by chance (`share.flip`) and moved by up to
    `share.shift` pixels along both axes; what comes in at a border is the picture mirrored there.

    Drawn for the whole batch from (seed, "augment", step), of which a process takes its part: several agree with one.
    """
    if not (share.flip or share.shift):
        return x
    draws = generator(share.seed, "augment", step)
    mirrored = torch.rand(share.batch_size, generator=draws) < (0.5 if share.flip else 0.0)
    moves = torch.randint(-share.shift, share.shift + 1, (2, share.batch_size), generator=draws)
    mirrored, (down, right) = sent(mirrored[share.mine], x.device), sent(moves[:, share.mine], x.device)
    n, height, width = x.shape[:3]
    rows = _inside(torch.arange(height, device=x.device) + down[:, None], height)
    columns = _inside(torch.arange(width, device=x.device) + right[:, None], width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    return x[torch.arange(n, device=x.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def refuse(share: Share, why: str) -> None:
    """Refuse augmentation of what cannot be mirrored or moved.

    Raises:
        UserError: `share` asks for it.
    """
    if share.flip:
        raise UserError(f"models.{share.name}.flip: expected false, as {why}; got true")
    if share.shift:
        raise UserError(f"models.{share.name}.shift: expected 0, as {why}; got {share.shift}")


def _inside(place: Tensor, side: int) -> Tensor:
    """Return places beyond a border of 0 .. side - 1 mirrored into it, the edge included: -1 is 0, side is side - 1."""
    place = place % (2 * side)
    return torch.minimum(place, 2 * side - 1 - place)
