"""Networks of a velocity v(x, t), told what is asked for where labels were learned: of latents (N, d), of images (N, C, H, W)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regen.errors import UserError

FREQUENCIES = 32  # of the sines and cosines that tell a network the time
HEAD = 32  # channels of an attention head
GROUPS = 8  # of group normalisation, at most


class Conditioning(nn.Module):
    """Time and what is asked for as one vector, by which layers are scaled and shifted.

    Args:
        hidden: its size.
        labels: how many things can be asked for.
    """

    def __init__(self, hidden: int, labels: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.asked: nn.Module | None = None
        if labels:  # what is 0 asks for nothing
            self.asked = nn.Sequential(nn.Linear(labels, hidden, bias=False), nn.SiLU(), nn.Linear(hidden, hidden, bias=False))

    def forward(self, t: Tensor, asked: Tensor | None) -> Tensor:
        """Return (N, hidden) of times (N,) and of what is asked for (N, labels), see `asking`; None = nothing."""
        angles = t[:, None] * torch.exp(torch.linspace(0, math.log(1000), FREQUENCIES, device=t.device))
        h: Tensor = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        return F.silu(h if self.asked is None or asked is None else h + self.asked(asked))


class Mlp(nn.Module):
    """Residual blocks on latents (N, d)."""

    def __init__(self, dim: int, hidden: int, blocks: int, labels: int) -> None:
        super().__init__()
        self.conditioning = Conditioning(hidden, labels)
        self.entry = nn.Linear(dim, hidden)
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(blocks))
        self.exit = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, dim))

    def forward(self, x: Tensor, t: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return v, (N, d)."""
        conditioning = self.conditioning(t, asked)
        h = self.entry(x)
        for block in self.blocks:
            h = block(h, conditioning)
        v: Tensor = self.exit(h)
        return v


class Block(nn.Module):
    """x + g * W2 silu(W1 (a * norm(x) + b)): the conditioning gives scale a, shift b and gate g, which begins at 0."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.body = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.modulation = zero(nn.Linear(hidden, 3 * hidden))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """Return (N, hidden) of the same and of the conditioning (N, hidden)."""
        scale, shift, gate = self.modulation(conditioning).chunk(3, dim=1)
        out: Tensor = x + gate * self.body(self.norm(x) * (1 + scale) + shift)
        return out


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of residual blocks on patches of pixels, with attention at the end (Ho et al. 2020).

    Args:
        shape: of an image (C, H, W).
        channels: at each size, from the largest; each is half the size of the one before.
        blocks: residual blocks at each size, on either way.
        patch: pixels a side that are taken together, as its smallest unit (Hoogeboom et al. 2023): the largest size is H / patch.
        labels: how many things can be asked for.

    Raises:
        UserError: the image's sides are not divisible by so many halvings of patches.
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int], blocks: int, patch: int, labels: int) -> None:
        super().__init__()
        factor = patch * 2 ** (len(channels) - 1)
        if any(side % factor for side in shape[1:]):
            raise UserError(f"channels: {len(channels)} sizes of patches of {patch} pixels need sides divisible by {factor}; "
                            f"got {'x'.join(map(str, shape[1:]))}")  # fmt: skip
        hidden, inputs = 4 * channels[0], shape[0] * patch * patch
        self.conditioning = Conditioning(hidden, labels)
        self.entry = nn.Sequential(nn.PixelUnshuffle(patch), nn.Conv2d(inputs, channels[0], 3, padding=1))
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(Stage(first, first, blocks, hidden) for first in channels)
        self.shrink = nn.ModuleList(nn.Conv2d(large, small, 3, 2, 1) for large, small in pairs)
        self.attention, self.after = Attention(channels[-1]), Stage(channels[-1], channels[-1], 1, hidden)
        enlarge = (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(small, large, 3, padding=1)) for large, small in pairs)
        self.enlarge = nn.ModuleList(enlarge)
        self.up = nn.ModuleList(Stage(2 * large, large, blocks, hidden) for large, _ in pairs)
        last = zero(nn.Conv2d(channels[0], inputs, 3, padding=1))
        self.exit = nn.Sequential(group_norm(channels[0]), nn.SiLU(), last, nn.PixelShuffle(patch))

    def forward(self, x: Tensor, t: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return v, (N, C, H, W)."""
        conditioning, h, skipped = self.conditioning(t, asked), self.entry(x), []
        for stage, shrink in zip(self.down, self.shrink, strict=False):
            h = stage(h, conditioning)
            skipped.append(h)
            h = shrink(h)
        h = self.after(self.attention(self.down[-1](h, conditioning)), conditioning)
        for stage, enlarge, skip in reversed(list(zip(self.up, self.enlarge, skipped, strict=True))):
            h = stage(torch.cat([enlarge(h), skip], 1), conditioning)
        v: Tensor = self.exit(h)
        return v


class Stage(nn.Module):
    """Residual blocks at one size."""

    def __init__(self, before: int, channels: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(channels if number else before, channels, hidden) for number in range(blocks))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """Return (N, channels, h, w) of (N, before, h, w)."""
        for block in self.blocks:
            x = block(x, conditioning)
        return x


class Residual(nn.Module):
    """Two convolutions beside a straight way; the conditioning scales and shifts in between (Dhariwal and Nichol 2021)."""

    def __init__(self, before: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Sequential(group_norm(before), nn.SiLU(), nn.Conv2d(before, channels, 3, padding=1))
        self.norm = group_norm(channels)
        self.modulation = nn.Linear(hidden, 2 * channels)
        self.second = nn.Sequential(nn.SiLU(), zero(nn.Conv2d(channels, channels, 3, padding=1)))
        self.straight = nn.Identity() if before == channels else nn.Conv2d(before, channels, 1)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """Return (N, channels, h, w) of (N, before, h, w)."""
        scale, shift = self.modulation(conditioning)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = self.straight(x) + self.second(self.norm(self.first(x)) * (1 + scale) + shift)
        return out


class Attention(nn.Module):
    """Every place looks at every other one (Vaswani et al. 2017). Written out, as a GPU's fused ones differ from run to run."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, channels // HEAD), 0, -1) if channels % heads == 0)
        self.norm, self.entry = group_norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.exit = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, h, w) of the same."""
        n, channels, height, width = x.shape
        query, key, value = (
            self.entry(self.norm(x)).reshape(n, 3, self.heads, -1, height * width).unbind(1)
        )  # (n, heads, c, places)
        # In single precision: in bf16 the gradient that torch.compile makes for a CPU is not finite.
        weights = (query.transpose(2, 3) @ key * query.shape[2] ** -0.5).float().softmax(3)
        seen = (value @ weights.transpose(2, 3)).reshape(n, channels, height, width)
        out: Tensor = x + self.exit(seen)
        return out


def group_norm(channels: int) -> nn.GroupNorm:
    """Return group normalisation (Wu and He 2018) in as many groups as divide the channels."""
    return nn.GroupNorm(math.gcd(channels, GROUPS), channels)


def zero(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Return a layer whose output begins at 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
