"""Convolutional encoders and decoders shared by the image families. Images are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from regen.errors import UserError


def encoder(shape: tuple[int, ...], channels: Sequence[int], features: int) -> nn.Sequential:
    """Return a network from images of `shape` (C, H, W) to (N, features).

    One 4x4 convolution of stride 2 for each entry of `channels`, with batch normalisation and leaky ReLU
    (Radford et al. 2016, section 3), then one linear layer.

    Raises:
        UserError: the images are too small for so many halvings, or not divisible by them.
    """
    layers: list[nn.Module] = []
    previous, height, width = shape
    _check(height, width, channels)
    for count in channels:
        layers += [nn.Conv2d(previous, count, 4, 2, 1, bias=False), nn.BatchNorm2d(count), nn.LeakyReLU(0.2)]
        previous = count
    area = (height >> len(channels)) * (width >> len(channels))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(previous * area, features))


def decoder(shape: tuple[int, ...], channels: Sequence[int], latent_dim: int) -> nn.Sequential:
    """Return the mirror image of `encoder`: from (N, latent_dim) to logits of images of `shape` (C, H, W)."""
    depth, height, width = shape
    _check(height, width, channels)
    small = (height >> len(channels), width >> len(channels))
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, channels[-1] * small[0] * small[1], bias=False),
        nn.Unflatten(1, (channels[-1], *small)),
        nn.BatchNorm2d(channels[-1]),
        nn.ReLU(),
    ]
    for count, following in zip(reversed(channels), [*reversed(channels[:-1]), None], strict=True):
        if following is None:
            layers.append(nn.ConvTranspose2d(count, depth, 4, 2, 1))
        else:
            layers += [nn.ConvTranspose2d(count, following, 4, 2, 1, bias=False), nn.BatchNorm2d(following), nn.ReLU()]
    return nn.Sequential(*layers)


def _check(height: int, width: int, channels: Sequence[int]) -> None:
    if not channels:
        raise UserError("channels: expected at least one convolution, got []")
    factor = 2 ** len(channels)
    if height % factor or width % factor:
        raise UserError(
            f"channels: {len(channels)} convolutions halve the image {len(channels)} times, "
            f"which needs sides divisible by {factor}; got {height}x{width}"
        )
