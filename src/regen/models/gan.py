"""Deep convolutional generative adversarial network (Goodfellow et al. 2014; architecture after Radford et al. 2016).

min_G max_D E log D(x) + E log(1 - D(G(z))), z ~ N(0, I). The two players take turns at every step. What they minimise is,
with d the discriminator's logit and f(t) = log(1 + e^-t):

* `non_saturating`: D: f(d(x)) + f(-d(G(z))); G: f(d(G(z))).
* `hinge` (Lim and Ye 2017): D: max(0, 1 - d(x)) + max(0, 1 + d(G(z))); G: -d(G(z)).
* `relativistic` (Jolicoeur-Martineau 2019; Huang et al. 2024): D: f(d(x) - d(G(z))); G: f(d(G(z)) - d(x)). Each sample is
  held against a real image, so dropping modes does not pay.

With `codes`, both players are told a coarse code c(x) of the image, found without labels (after Liu et al. 2020, Diverse image
generation via self-conditioned GANs): the image is cut into `bands` of rows, and k-means on the training images gives every
band `codes` centroids; c(x) names the nearest ones. D compares (x, c(x)) with (G(z, c(x)), c(x)). How often a kind occurs is
counted, not learned: for a sample, the first coordinates of z ~ N(0, I) draw the code of each band, given that of the band
above, as often as it follows in the training images. So bands meet that no training image has together (drawing whole rows
of codes would repeat training images). What the codes leave open is G's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from regen.errors import UserError
from regen.models.base import DataSpec, TrainedConfig, TrainedModel, as_images, chunks, normal
from regen.seeding import generator


class Config(TrainedConfig):
    """Parameters of a GAN. `learning_rate` is the generator's."""

    latent_dim: PositiveInt
    channels: list[PositiveInt] = Field(min_length=2)  # at full size, then at each halving; of both networks
    hidden: NonNegativeInt = 0  # units of the discriminator's layer before the last; 0 = none
    objective: Literal["non_saturating", "hinge", "relativistic"] = "non_saturating"
    discriminator_rate: float = Field(1.0, gt=0)  # learning rate of the discriminator, as a multiple of the generator's
    spectral_norm: bool = False  # bound the discriminator's slope (Miyato et al. 2018)
    r1: float = Field(0.0, ge=0)  # weight of gamma/2 |grad d(x)|^2 on real images (Mescheder et al. 2018)
    r2: float = Field(0.0, ge=0)  # the same on generated images
    penalty_every: PositiveInt = 1  # apply r1 and r2 at one step in so many, drawn at random, with so many times the weight
    grid: NonNegativeInt = 0  # pixel art drawn on so coarse a grid is generated on it and enlarged: 24 for punks; 0 = every pixel
    codes: NonNegativeInt = 0  # kinds of each band of rows that both players are told; 0 = they are told nothing
    bands: PositiveInt = 3  # of equal height, where there are codes


class Model(TrainedModel):
    """Generator from `latent_dim` normal variables to images, and the discriminator that it was trained against."""

    config: Config
    enlarged: Tensor
    centres: Tensor
    chain: Tensor  # (bands, codes above, codes): cumulative shares of a band's codes, given the code of the band above

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        depth, full, _ = data.expect(3, "images")
        size = config.grid or full  # at which G draws and D looks
        halvings = len(config.channels) - 1
        if size % 2**halvings:
            raise UserError(f"channels: {halvings} halvings need a side divisible by {2**halvings}; got {size} pixels")
        small = size >> halvings
        bands = config.bands if config.codes else 1
        told = bands * config.codes
        if size % bands:
            raise UserError(f"bands: expected a divisor of {size} pixels, got {bands}")
        if told and bands > config.latent_dim:
            raise UserError(f"latent_dim: expected at least {bands}, one for the code of each band; got {config.latent_dim}")
        self.generator = _generator(
            depth, small, config.channels, config.latent_dim - bands + told if told else config.latent_dim
        )
        self.discriminator = _discriminator(depth, small, config.channels, config.hidden, 1 + told)
        if told:
            self.register_buffer("chain", torch.zeros(bands, config.codes, config.codes))
        if config.spectral_norm:
            for layer in self.discriminator:
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)
        self.register_buffer("enlarged", _nearest(size, full), persistent=False)
        self.register_buffer("centres", _nearest(full, size), persistent=False)
        self._drawn = torch.empty(0)  # one forward pass of G serves both players of a step

    def columns(self, arrays: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return the `codes` (N, bands) of the training images, and keep how often each occurs."""
        if not self.config.codes:
            return {}
        x = self._coarse(as_images(np.array(arrays["x"])))
        if len(x) < self.config.codes:
            raise UserError(f"codes: expected at most {len(x)}, the number of training images; got {self.config.codes}")
        codes = torch.stack([_k_means(band.flatten(1), self.config.codes, seed) for band in x.chunk(self.config.bands, 2)], 1)
        above = torch.zeros(len(x), dtype=torch.long)  # nothing is above the first band
        for shares, following in zip(self.chain, codes.T, strict=True):
            pairs = (above * self.config.codes + following).bincount(minlength=shares.numel()).view_as(shares).double()
            shares.copy_(pairs.cumsum(1) / pairs.sum(1, keepdim=True).clamp(min=1))
            above = following
        return {"codes": codes}

    def players(self) -> dict[str, dict[str, nn.Parameter]]:
        """The discriminator, then the generator."""
        return {name: dict(getattr(self, name).named_parameters()) for name in ("discriminator", "generator")}

    def learning_rate(self, player: str) -> float:
        """Peak learning rate of one player."""
        return self.config.learning_rate * (self.config.discriminator_rate if player == "discriminator" else 1)

    def averaged(self) -> nn.Module:
        """The generator: samples are drawn from its averaged weights."""
        return self.generator

    def loss(self, batch: dict[str, Tensor], player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one player, mean over the batch. The generator's turn follows the discriminator's."""
        real = self._coarse(batch["x"])
        told = self._told(batch["codes"]) if self.config.codes else None
        if player == "generator":
            drawn, self._drawn = self._drawn, torch.empty(0)
            loss = self._generator_loss(real, drawn, told)
            return loss, {"generator": loss.detach()}
        z = torch.randn(len(real), self.config.latent_dim, device=real.device)
        self._drawn = self.generator(self._inputs(z, told))
        drawn = self._drawn.detach().to(real.dtype)
        on_real, on_drawn = self._logit(torch.cat([real, drawn]), None if told is None else told.repeat(2, 1)).chunk(2)
        if self.config.objective == "hinge":
            loss = F.relu(1 - on_real).mean() + F.relu(1 + on_drawn).mean()
        elif self.config.objective == "relativistic":
            loss = F.softplus(on_drawn - on_real).mean()
        else:
            loss = F.softplus(-on_real).mean() + F.softplus(on_drawn).mean()
        figures = {"discriminator": loss.detach(), "realness_gap": (on_real - on_drawn).detach().mean()}
        if torch.rand(()) < 1 / self.config.penalty_every:
            for images, weight in ((real, self.config.r1), (drawn, self.config.r2)):
                if weight:
                    loss = loss + weight / 2 * self.config.penalty_every * self._squared_slope(images, told)
        return loss, figures

    def settle(self) -> None:
        """Let the generator's batch normalisation see what its averaged weights give: those statistics are no average."""
        norms = [module for module in self.generator.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        training = self.generator.training
        self.generator.train()
        with torch.no_grad():
            for z in chunks(normal(2048, self.config.latent_dim, 0, self.device), 256):
                self.generator(self._inputs(z))
        self.generator.train(training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return G(z): images (N, C, H, W) in [0, 1] of latents (N, latent_dim)."""
        drawn = torch.cat([self.generator(self._inputs(part)) for part in chunks(z)])
        return drawn[..., self.enlarged, :][..., self.enlarged].add(1).div(2)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]: G(z) at z ~ N(0, I)."""
        return self.decode(normal(n, self.config.latent_dim, seed, self.device))

    def _coarse(self, x: Tensor) -> Tensor:
        """What D looks at: images in [-1, 1] on the coarse grid."""
        return x[..., self.centres, :][..., self.centres] * 2 - 1

    def _told(self, codes: Tensor) -> Tensor:
        """Return codes one-hot, one band after another: (N, bands * codes)."""
        return F.one_hot(codes, self.config.codes).flatten(1).float()

    def _inputs(self, z: Tensor, told: Tensor | None = None) -> Tensor:
        """What G makes an image of: z; with codes, those given or drawn by the first coordinates of z, and the others."""
        if not self.config.codes:
            return z
        bands = len(self.chain)
        if told is None:
            drawn = [torch.zeros(len(z), dtype=torch.long, device=z.device)]
            for shares, rank in zip(self.chain, torch.special.ndtr(z[:, :bands]).T, strict=True):
                passed = (shares[drawn[-1]] < rank[:, None]).sum(1)
                drawn.append(passed.clamp(max=self.config.codes - 1))
            told = self._told(torch.stack(drawn[1:], 1))
        return torch.cat([z[:, bands:], told], 1)

    def _logit(self, x: Tensor, told: Tensor | None) -> Tensor:
        """D's logit: the last layer's first unit, and of its others those of the codes told."""
        logits: Tensor = self.discriminator(x).float()
        return logits[:, 0] if told is None else logits[:, 0] + (logits[:, 1:] * told).sum(1)

    def _generator_loss(self, real: Tensor, drawn: Tensor, told: Tensor | None) -> Tensor:
        on_drawn = self._logit(drawn, told)
        if self.config.objective == "hinge":
            return -on_drawn.mean()
        if self.config.objective == "relativistic":
            with torch.no_grad():  # no way from d(x) to G
                on_real = self._logit(real, told)
            return F.softplus(on_real - on_drawn).mean()
        return F.softplus(-on_drawn).mean()

    def _squared_slope(self, images: Tensor, told: Tensor | None = None) -> Tensor:
        x = images.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self._logit(x, told).sum(), x, create_graph=True)
        return slope.float().square().sum((1, 2, 3)).mean()


def _generator(depth: int, small: int, channels: list[int], latent_dim: int) -> nn.Sequential:
    """From (N, latent_dim) to (N, depth, size, size) in [-1, 1]: dense, then doubled in size up to `channels[0]` maps."""
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, channels[-1] * small * small, bias=False),
        nn.Unflatten(1, (channels[-1], small, small)),
        nn.BatchNorm2d(channels[-1]),
        nn.ReLU(),
    ]
    for count, following in zip(reversed(channels), reversed(channels[:-1]), strict=False):
        layers += [nn.ConvTranspose2d(count, following, 4, 2, 1, bias=False), nn.BatchNorm2d(following), nn.ReLU()]
    layers += [nn.Conv2d(channels[0], depth, 3, 1, 1), nn.Tanh()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.02)
    return nn.Sequential(*layers)


def _discriminator(depth: int, small: int, channels: list[int], hidden: int, logits: int) -> nn.Sequential:
    """From (N, depth, size, size) to (N, logits). No batch normalisation: it would let images of a batch see each other."""
    layers: list[nn.Module] = []
    for count, following in zip([depth, *channels[1:-1]], channels[1:], strict=True):
        convolution = nn.Conv2d(count, following, 4, 2, 1)
        nn.init.kaiming_normal_(convolution.weight, 0.2)
        layers += [convolution, nn.LeakyReLU(0.2)]
    features = channels[-1] * small * small
    if hidden:
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, logits))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, logits))


def _nearest(source: int, target: int) -> Tensor:
    """Index of the source pixel whose cell holds the centre of each target pixel: enlarging and its exact inverse."""
    return torch.div((2 * torch.arange(target) + 1) * source, 2 * target, rounding_mode="floor")


def _k_means(x: Tensor, k: int, seed: int, rounds: int = 25) -> Tensor:
    """Return (N,): which of k centroids each x (N, pixels) is nearest to, after Lloyd's algorithm.

    It starts from k of the x, each drawn with a chance that grows with its squared distance from those before it (k-means++,
    Arthur and Vassilvitskii 2007): drawn evenly, most would be the same few common bands, and rare ones had no kind of their own.
    """
    random = generator(seed, "codes")
    chosen = torch.randint(len(x), (1,), generator=random)
    gaps = torch.full((len(x),), torch.inf)
    for _ in range(k - 1):
        gaps = gaps.minimum((x - x[chosen[-1]]).square().sum(1).cpu())
        chosen = torch.cat([chosen, torch.multinomial(gaps + 1e-9, 1, generator=random)])  # where all have a kind: any
    centroids = x[chosen.to(x.device)]
    for _ in range(rounds):
        nearest = (x @ centroids.T * 2 - centroids.square().sum(1)).argmax(1)
        size = torch.bincount(nearest, minlength=k)[:, None]
        means = torch.zeros_like(centroids).index_add_(0, nearest, x) / size.clamp(min=1)
        centroids = torch.where(size > 0, means, centroids)
    return nearest
