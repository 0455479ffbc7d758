"""Variational autoencoder of tiles, small (after Higgins et al. 2017), and autoencoder where `beta` is 0.

L = E_q ||x - d(z)||^2 + beta KL(q(z|x) || N(0, I)) a tile, with q(z|x) = N(mu(x), diag sigma(x)^2) and x standardised by the
mean and deviation of the training pixels. ||x - d(z)||^2 is -log p(x|z) of a Gaussian of variance 1/2, up to a constant, so L
with beta = 1 is the negative ELBO. With beta = 0, z = mu(x): no noise, no prior, no generator.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from regen.data import arrays
from regen.data.tiles import Tiles
from regen.errors import UserError
from regen.models.base import DataSpec, TrainedConfig, TrainedModel, chunks, normal
from regen.seeding import derive_seed

VALIDATED = 2048  # tiles of the validation split, always the same


class Config(TrainedConfig):
    """Parameters of a tile VAE."""

    latent_dim: PositiveInt
    channels: list[PositiveInt] = Field(min_length=1)  # of the 4x4 convolutions, each halving the tile; mirrored in the decoder
    beta: float = Field(ge=0)  # weight of the KL term; 0 = autoencoder
    sampler: Literal["equal", "by_pixel", "by_density"] = "by_pixel"  # where tiles are taken (regen.data.tiles)
    tiles_per_epoch: PositiveInt = 32_768  # there is no end of tiles: an epoch is as many as this
    patience: NonNegativeInt = 0  # epochs without a better loss on the validation split before it stops; 0 = trains to the end


class Model(TrainedModel):
    """Encoder of tiles to the mean and log variance of `latent_dim` normal variables, and decoder back.

    Attributes:
        mean, std: of the training pixels, on a scale of 0 to 1; kept with the weights.
    """

    config: Config
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        depth, height, width = data.expect(3, "images")
        halved = 2 ** len(config.channels)
        if height % halved or width % halved:
            raise UserError(
                f"channels: {len(config.channels)} convolutions halve the tile {len(config.channels)} times, which needs sides "
                f"divisible by {halved}; got {height}x{width}"
            )
        small = (config.channels[-1], height // halved, width // halved)
        area = small[0] * small[1] * small[2]
        down, up = list[nn.Module](), list[nn.Module]()
        for wide, narrow in zip([depth, *config.channels], config.channels, strict=False):
            down += [nn.Conv2d(wide, narrow, 4, 2, 1), nn.ReLU()]
            up = [nn.ReLU(), nn.ConvTranspose2d(narrow, wide, 4, 2, 1), *up]
        heads = 2 if config.beta else 1  # mu, and log sigma^2
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(area, heads * config.latent_dim))
        self.decoder = nn.Sequential(nn.Linear(config.latent_dim, area), nn.Unflatten(1, small), *up)
        self.register_buffer("mean", torch.tensor(0.5))
        self.register_buffer("std", torch.tensor(0.25))
        if not config.beta:
            self.sample = None  # type: ignore[assignment,method-assign]  # no distribution of latents to draw from

    def batches(self, folder: Path, seed: int, devices: Any) -> TileBatches:
        """Return batches of tiles of a prepared data set, and take its mean and deviation as the model's own.

        Raises:
            UserError: the data set has no tiles, its file is missing or has changed, or there is no validation split to stop by.
        """
        train = arrays.statistics(folder)["splits"]["train"]
        self.mean.fill_(train["mean"] / 255)
        self.std.fill_(max(train["std"], 1.0) / 255)
        return TileBatches(self.config, folder, seed, devices)

    def loss(self, batch: dict[str, Tensor], player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ||x - d(z)||^2 + beta KL a tile, mean over the batch, with one draw of z a tile."""
        x = self._standardised(batch["x"])
        mu, log_variance = self._posterior(x)
        z = mu if log_variance is None else mu + torch.exp(log_variance / 2) * torch.randn_like(mu)
        error = F.mse_loss(self.decoder(z).float(), x, reduction="sum") / len(x)
        if log_variance is None:
            return error, {"loss": error.detach()}
        rate = _kl(mu, log_variance).mean()
        loss = error + self.config.beta * rate
        return loss, {"loss": loss.detach(), "squared_error": error.detach(), "rate": rate.detach()}

    @torch.no_grad()
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and sigma of q(z|x), each (N, latent_dim), for tiles (N, 1, T, T) in [0, 1]; sigma is 0 where beta is."""
        parts = [self._posterior(self._standardised(part)) for part in chunks(x)]
        mu = torch.cat([mu for mu, _ in parts])
        return mu, torch.cat([torch.zeros_like(mu) if v is None else torch.exp(v / 2) for mu, v in parts])

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior means (N, latent_dim) of tiles (N, 1, T, T) in [0, 1]."""
        return self.posterior(x)[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the tiles (N, 1, T, T), cut to [0, 1], of latents (N, latent_dim)."""
        return torch.cat([(self.decoder(part) * self.std + self.mean).clamp(0, 1) for part in chunks(z)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return d(mu(x)): tiles (N, 1, T, T) in [0, 1]."""
        return self.decode(self.encode(x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new tiles (n, 1, T, T) in [0, 1]: d(z) at z ~ N(0, I). None in an autoencoder."""
        return self.decode(normal(n, self.config.latent_dim, seed, self.device))

    @torch.no_grad()
    def errors(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return ||x - d(z)||^2 in squared standard deviations, at one draw of z, and the KL term in nats, each (N,)."""
        errors, rates = [], []
        for k, part in enumerate(chunks(x)):
            scaled = self._standardised(part)
            mu, log_variance = self._posterior(scaled)
            if log_variance is None:
                z, rate = mu, mu.new_zeros(len(mu))
            else:
                noise = normal(len(mu), mu.shape[1], derive_seed(seed, "errors", k), mu.device)
                z, rate = mu + torch.exp(log_variance / 2) * noise, _kl(mu, log_variance)
            errors.append((self.decoder(z) - scaled).square().flatten(1).sum(1))
            rates.append(rate)
        return torch.cat(errors), torch.cat(rates)

    def _standardised(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mu and log sigma^2 of standardised tiles, the latter within exp(+-20)."""
        mu, *rest = self.encoder(x).float().split(self.config.latent_dim, dim=1)
        return mu, rest[0].clamp(-20, 20) if rest else None


def _kl(mu: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mu, sigma^2) || N(0, I)) in nats, (N,)."""
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(1)


class TileBatches:
    """Batches of training tiles, and the loss on tiles of the validation split (see `regen.training.batches`).

    Attributes:
        per_epoch: steps an epoch.
        patience: epochs without a better validation loss before the training stops; 0 = never.
    """

    def __init__(self, config: Config, folder: Path, seed: int, devices: Any) -> None:
        if not devices.world_size <= config.batch_size <= config.tiles_per_epoch:
            raise UserError(
                f"batch_size: expected {devices.world_size} (processes) to {config.tiles_per_epoch} (tiles_per_epoch), "
                f"got {config.batch_size}"
            )
        if config.patience and "validation" not in arrays.statistics(folder)["splits"]:
            raise UserError(
                f"patience: {config.patience} epochs without a better validation loss, but {folder.name} has no such brain; "
                f"set datasets.{folder.name}.validation_brain, or patience: 0"
            )
        self.per_epoch = config.tiles_per_epoch // config.batch_size
        self.patience = config.patience
        self.seed = seed
        self.devices = devices
        self.tiles = Tiles(folder, "train", config.sampler, config.batch_size, seed)
        self.validation = Tiles(folder, "validation", config.sampler, VALIDATED, seed, "validation") if config.patience else None
        self._reader = ThreadPoolExecutor(1)  # reads the next step's tiles while this one is computed
        self._ahead: tuple[int, Future[Any]] | None = None

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch: `x` (n, 1, T, T) in [0, 1]."""
        wanted = self._ahead[1] if self._ahead and self._ahead[0] == step else self._read(step)
        self._ahead = step + 1, self._read(step + 1)
        return self._on_device(wanted.result())

    @torch.no_grad()
    def validate(self, model: TrainedModel) -> float:
        """Return the loss a tile on fixed tiles of the validation split, with fixed draws of z."""
        assert self.validation is not None
        torch.manual_seed(derive_seed(self.seed, "validation"))
        parts = chunks(self._on_device(self.validation.batch(0))["x"], 256)
        return sum(float(model.loss({"x": part}, "player")[0]) * len(part) for part in parts) / VALIDATED

    def _read(self, step: int) -> Future[Any]:
        return self._reader.submit(self.tiles.batch, step, slice(self.devices.rank, None, self.devices.world_size))

    def _on_device(self, tiles: Any) -> dict[str, Tensor]:
        return {"x": torch.from_numpy(tiles).to(self.devices.device)[:, None].float().div_(255)}
