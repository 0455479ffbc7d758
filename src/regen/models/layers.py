"""Convolutional encoders and decoders that the families of images share. Images are (N, C, H, W).

Two styles: with batch normalisation and leaky ReLU (Radford et al. 2016, section 3), or with biases and ReLU alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from regen.errors import UserError
from regen.models.base import DataSpec, TrainedConfig, TrainedModel


class ConvolutionalConfig(TrainedConfig):
    """What autoencoders and variational autoencoders of images have."""

    latent_dim: PositiveInt
    channels: list[PositiveInt] = Field(
        min_length=1
    )  # of the encoder's convolutions, each halving the image; the decoder is its mirror
    batch_norm: bool = True  # else biases and ReLU alone
    standardise: bool = False  # pixels less their training mean, over their deviation; the decoder is then linear, else a sigmoid


class ConvolutionalModel(TrainedModel):
    """Images in, images out, and how their pixels are scaled in between."""

    config: ConvolutionalConfig

    def scaled(self, x: Tensor) -> Tensor:
        """Return images in [0, 1] as the networks see them."""
        return (x - self.data.mean) / self.data.std if self.config.standardise else x

    def image(self, output: Tensor) -> Tensor:
        """Return what the decoder put out as images in [0, 1]."""
        return (output * self.data.std + self.data.mean).clamp(0, 1) if self.config.standardise else output.sigmoid()

    def predicted(self, output: Tensor) -> Tensor:
        """Return what the decoder put out on the scale of `scaled`, in fp32, with its gradient."""
        return output.float() if self.config.standardise else output.float().sigmoid()


def encoder(shape: tuple[int, ...], channels: Sequence[int], features: int, batch_norm: bool = True) -> nn.Sequential:
    """Return a network from images of `shape` (C, H, W) to (N, features).

    One 4x4 convolution of stride 2 for each entry of `channels`, then one linear layer.

    Raises:
        UserError: the images are too small for so many halvings, or not divisible by them.
    """
    height, width = smallest(shape, channels)
    layers: list[nn.Module] = []
    for before, count in zip([shape[0], *channels], channels, strict=False):
        layers += [nn.Conv2d(before, count, 4, 2, 1, bias=not batch_norm), *_activation(count, batch_norm, nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, features))


def decoder(shape: tuple[int, ...], channels: Sequence[int], latent_dim: int, batch_norm: bool = True) -> nn.Sequential:
    """Return the mirror image of `encoder`: from (N, latent_dim) to (N, *shape), without an activation at the end."""
    height, width = smallest(shape, channels)
    small = (channels[-1], height, width)
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, channels[-1] * height * width, bias=not batch_norm),
        nn.Unflatten(1, small),
        *_activation(channels[-1], batch_norm, nn.ReLU()),
    ]
    for count, following in zip(reversed(channels), reversed(channels[:-1]), strict=False):
        layers += [
            nn.ConvTranspose2d(count, following, 4, 2, 1, bias=not batch_norm),
            *_activation(following, batch_norm, nn.ReLU()),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(channels[0], shape[0], 4, 2, 1))


def of_data(config: ConvolutionalConfig, data: DataSpec, features: int, inputs: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the encoder to (N, features) and the decoder from (N, inputs) that a config asks for."""
    shape = data.expect(3, "images")
    return (
        encoder(shape, config.channels, features, config.batch_norm),
        decoder(shape, config.channels, inputs, config.batch_norm),
    )


def smallest(shape: tuple[int, ...], channels: Sequence[int]) -> tuple[int, int]:
    """Return height and width after one halving for each entry of `channels`.

    Raises:
        UserError: there is none, or the sides are not divisible by so many halvings.
    """
    if not channels:
        raise UserError("channels: expected at least one convolution, got []")
    height, width = shape[1:]
    factor = 2 ** len(channels)
    if height % factor or width % factor:
        raise UserError(
            f"channels: {len(channels)} convolutions halve the image {len(channels)} times, "
            f"which needs sides divisible by {factor}; got {height}x{width}"
        )
    return height // factor, width // factor


def _activation(channels: int, batch_norm: bool, with_norm: nn.Module) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), with_norm] if batch_norm else [nn.ReLU()]
