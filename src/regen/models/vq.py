"""Autoencoder with discrete codes, and an LSTM that writes them: a generator of two parts (van den Oord et al. 2017).

The encoder puts D numbers at each place of a small map, and each is rounded to one of a few levels: finite scalar quantisation
(Mentzer et al. 2024), which leaves no code unused and needs no codebook that has to be learned beside the networks:

    q = round(h tanh(e(x))),   h = (levels - 1) / 2;   the gradient of q is that of h tanh(e(x))

First L = ||x - d(q / h)||^2 alone; from step `pretrain_steps` on the networks of images stay as they are, and an LSTM learns the
codes c = (c_1 .. c_P) of images, place by place, row by row:

    L = - sum_i log p(c_i | c_1 .. c_{i-1}) / P     nats a code

A sample is a map of codes drawn from the LSTM, and decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from regen.errors import UserError
from regen.models import layers
from regen.models.base import DataSpec, Depth, chunks
from regen.seeding import generator

CODES = 1 << 16  # at most


def _odd(levels: int) -> int:
    if levels % 2 == 0:
        raise ValueError("an odd number, so that one of them is 0")
    return levels


class Config(layers.ConvolutionalConfig):
    """Parameters of an autoencoder with discrete codes. `latent_dim` is their number in an image."""

    spatial: Literal[True] = True
    levels: list[Annotated[int, Field(ge=3, le=255), AfterValidator(_odd)]] = Field(  # of each number at a place: 7 x 7 x 5 codes
        [7, 7, 5], min_length=1, max_length=16
    )
    pretrain_steps: PositiveInt  # of the networks of images; the LSTM learns after them
    hidden: PositiveInt = 256  # units of the LSTM
    layers: Depth = 2  # of the LSTM
    dropout: float = Field(0.1, ge=0, lt=1)  # between them
    patience: Literal[0] = 0  # two losses follow each other


class Model(layers.ConvolutionalModel):
    """Encoder to a map of codes, decoder back, and the LSTM that writes such maps."""

    config: Config
    reach: Tensor
    base: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        height, width = layers.smallest(data.expect(3, "images"), config.channels)
        self.places, self.codes = height * width, math.prod(config.levels)
        if config.latent_dim != self.places:
            raise UserError(f"latent_dim: expected {self.places}, a code at each of {height}x{width} places; "
                            f"got {config.latent_dim}")  # fmt: skip
        if self.codes > CODES:
            raise UserError(f"levels: expected at most {CODES:,} codes, got {' x '.join(map(str, config.levels))}")
        numbers = len(config.levels) * self.places
        self.encoder, self.decoder = layers.of_data(config, data, numbers, numbers)
        self.writer = Writer(self.codes, self.places, config)
        levels = torch.tensor(config.levels)
        self.register_buffer("reach", (levels[:, None] - 1) / 2, persistent=False)
        self.register_buffer("base", (levels.cumprod(0) // levels)[:, None], persistent=False)  # a code's digits' worth

    @property
    def pretrained_at(self) -> int:
        """The step from which the LSTM learns."""
        return self.config.pretrain_steps

    def end_pretraining(self, images: Iterable[Tensor]) -> None:
        """Nothing has to be fitted: the LSTM begins as it was made."""

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error summed over an image, mean over the batch; from `pretrain_steps` on the nats of a code."""
        x = batch["x"]
        if self.training and self.step < self.config.pretrain_steps:
            output = self.decoder(self._scaled_back(self._quantised(x)))
            loss = F.mse_loss(self.predicted(output), self.scaled(x), reduction="sum") / len(x)
            return loss, {"loss": loss.detach(), "squared_error": loss.detach(), "nats_per_code": torch.zeros_like(loss)}
        self.encoder.eval()  # an image's codes no longer depend on the others of its batch
        with torch.no_grad():
            codes = self._codes(x)
        loss = F.cross_entropy(self.writer(codes).float().flatten(0, 1), codes.flatten())
        return loss, {"loss": loss.detach(), "squared_error": torch.zeros_like(loss), "nats_per_code": loss.detach()}

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] of the codes of images."""
        return torch.cat([self._decoded(self._codes(part)) for part in chunks(x)])

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]."""
        uniform = torch.rand(n, self.places, generator=generator(seed, "codes"), dtype=torch.float64)
        return torch.cat([self._decoded(self.writer.sample(part)) for part in chunks(uniform)])

    def _quantised(self, x: Tensor) -> Tensor:
        """Rounded numbers of images, (N, D, P), with the gradient that they had before."""
        z = self.encoder(self.scaled(x)).float().view(len(x), len(self.reach), -1).tanh() * self.reach
        rounded: Tensor = z + (z.round() - z).detach()
        return rounded

    def _codes(self, x: Tensor) -> Tensor:
        """The code at each place of images, (N, P)."""
        return ((self._quantised(x) + self.reach).round().long() * self.base).sum(1)

    def _decoded(self, codes: Tensor) -> Tensor:
        """Images of codes (N, P)."""
        levels = (2 * self.reach + 1).long()
        return self.image(self.decoder(self._scaled_back(codes[:, None] // self.base % levels - self.reach)))

    def _scaled_back(self, numbers: Tensor) -> Tensor:
        """Rounded numbers (N, D, P) on a scale of -1 to 1, as the decoder sees them."""
        return (numbers / self.reach).flatten(1)


class Writer(nn.Module):
    """An LSTM over the codes of a map, row by row, that is told at which place it is."""

    def __init__(self, codes: int, places: int, config: Config) -> None:
        super().__init__()
        self.code = nn.Embedding(codes + 1, config.hidden)  # the last one begins a map
        self.place = nn.Parameter(torch.zeros(places, config.hidden))
        dropout = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(config.hidden, config.hidden, config.layers, batch_first=True, dropout=dropout)
        self.logit = nn.Linear(config.hidden, codes)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the logits (N, P, K) of each code given those before it, of maps (N, P)."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.logit.out_features)
        hidden, _ = self.lstm(self.code(before) + self.place)
        logits: Tensor = self.logit(hidden)
        return logits

    def sample(self, uniform: Tensor) -> Tensor:
        """Return maps (n, P) for uniform draws (n, P): each code where its distribution's sum, on the CPU, reaches its draw."""
        code, state = torch.full((len(uniform),), self.logit.out_features, device=self.place.device), None
        written = []
        for place, draws in zip(self.place, uniform.T, strict=True):
            hidden, state = self.lstm((self.code(code) + place)[:, None], state)
            sums = self.logit(hidden[:, 0]).double().softmax(1).cpu().cumsum(1)  # a GPU's sums differ from run to run
            reached = torch.searchsorted(sums, draws[:, None].contiguous())[:, 0]
            code = reached.clamp(max=self.logit.out_features - 1).to(place.device)
            written.append(code)
        return torch.stack(written, 1)
