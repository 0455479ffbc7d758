"""Convolutional encoders and decoders that the families of images share. Images are (N, C, H, W).

Two styles: with batch normalisation and leaky ReLU (Radford et al. 2016, section 3), or with biases and ReLU alone. They work in
place: nothing else reads what goes into them, and a training is some 5 % faster for it.
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
    spatial: bool = False  # latents keep their place: as many at each place of the smallest size, latent_dim of them in all
    batch_norm: bool = True  # else biases and ReLU alone
    standardise: bool = False  # pixels less their training mean, over their deviation; the decoder is then linear, else a sigmoid


class ConvolutionalModel(TrainedModel):
    """Images in, images out, and how their pixels are scaled in between."""

    config: ConvolutionalConfig

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of an image's latents, that `encode` gives as a row: (latent_dim,), or of a map where they keep their place."""
        config = self.config
        return latent_map(self.data.shape, config.channels, config.latent_dim) if config.spatial else (config.latent_dim,)

    def scaled(self, x: Tensor) -> Tensor:
        """Return images in [0, 1] as the networks see them."""
        return (x - self.data.mean) / self.data.std if self.config.standardise else x

    def image(self, output: Tensor) -> Tensor:
        """Return what the decoder put out as images in [0, 1]."""
        return (output * self.data.std + self.data.mean).clamp(0, 1) if self.config.standardise else output.sigmoid()

    def predicted(self, output: Tensor) -> Tensor:
        """Return what the decoder put out on the scale of `scaled`, in fp32, with its gradient."""
        return output.float() if self.config.standardise else output.float().sigmoid()


def encoder(
    shape: tuple[int, ...], channels: Sequence[int], features: int, batch_norm: bool = True, spatial: bool = False
) -> nn.Sequential:
    """Return a network from images of `shape` (C, H, W) to (N, features).

    One 4x4 convolution of stride 2 for each entry of `channels`, then one linear layer: of all places together, or of each place
    to its own part of the features where they are `spatial`.

    Raises:
        UserError: the images are too small for so many halvings, or not divisible by them; no map has so many features.
    """
    height, width = smallest(shape, channels)
    layers: list[nn.Module] = []
    for before, count in zip([shape[0], *channels], channels, strict=False):
        layers += [
            nn.Conv2d(before, count, 4, 2, 1, bias=not batch_norm),
            *_activation(count, batch_norm, nn.LeakyReLU(0.2, inplace=True)),
        ]
    if spatial:
        return nn.Sequential(*layers, nn.Conv2d(channels[-1], latent_map(shape, channels, features)[0], 1), nn.Flatten())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, features))


def decoder(
    shape: tuple[int, ...], channels: Sequence[int], latent_dim: int, batch_norm: bool = True, spatial: bool = False
) -> nn.Sequential:
    """Return the mirror image of `encoder`: from (N, latent_dim) to (N, *shape), without an activation at the end."""
    height, width = smallest(shape, channels)
    small = (channels[-1], height, width)
    if spatial:  # a place also sees its neighbours
        latents = latent_map(shape, channels, latent_dim)
        entry = [nn.Unflatten(1, latents), nn.Conv2d(latents[0], channels[-1], 3, padding=1, bias=not batch_norm)]
    else:
        entry = [nn.Linear(latent_dim, channels[-1] * height * width, bias=not batch_norm), nn.Unflatten(1, small)]
    layers: list[nn.Module] = [*entry, *_activation(channels[-1], batch_norm, nn.ReLU(inplace=True))]
    for count, following in zip(reversed(channels), reversed(channels[:-1]), strict=False):
        layers += [
            nn.ConvTranspose2d(count, following, 4, 2, 1, bias=not batch_norm),
            *_activation(following, batch_norm, nn.ReLU(inplace=True)),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(channels[0], shape[0], 4, 2, 1))


def of_data(config: ConvolutionalConfig, data: DataSpec, features: int, inputs: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the encoder to (N, features) and the decoder from (N, inputs) that a config asks for."""
    shape = data.expect(3, "images")
    return (
        encoder(shape, config.channels, features, config.batch_norm, config.spatial),
        decoder(shape, config.channels, inputs, config.batch_norm, config.spatial),
    )


def latent_map(shape: tuple[int, ...], channels: Sequence[int], latent_dim: int) -> tuple[int, int, int]:
    """Return the shape of latents that keep their place, (latent_dim / places, height, width).

    Raises:
        UserError: they cannot be shared out among the places of the smallest size.
    """
    height, width = smallest(shape, channels)
    count, left = divmod(latent_dim, height * width)
    if left:
        raise UserError(f"latent_dim: expected a multiple of {height * width}, as spatial latents have {height}x{width} places; "
                        f"got {latent_dim}")  # fmt: skip
    return count, height, width


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
    return [nn.BatchNorm2d(channels), with_norm] if batch_norm else [nn.ReLU(inplace=True)]
