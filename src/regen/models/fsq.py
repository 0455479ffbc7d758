"""Autoencoder with discrete codes, and an LSTM that writes them: a generator of two parts (van den Oord et al. 2017).

The encoder puts D numbers at each place of a small map, and each is rounded to one of a few levels: finite scalar quantisation
(Mentzer et al. 2024), which needs no codebook that has to be learned beside the networks. The D rounded numbers are a code:

    q = round(h tanh(e(x))),   h = (levels - 1) / 2;   the gradient of q is that of h tanh(e(x))

The codes c = (c_1 .. c_P) of an image, place by place and row by row, are what the LSTM learns. Both learn at once, neither from
the other's loss:

    L = ||x - d(q / h)||^2 - sum_i log p(c_i | c_1 .. c_{i-1}) / P

A sample is a map of codes drawn from the LSTM, and decoded.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from regen.errors import UserError
from regen.models import layers
from regen.models.base import DataSpec, Depth, chunks
from regen.seeding import generator

LARGEST = 1 << 16  # codebook


def _odd(levels: int) -> int:
    if levels % 2 == 0:
        raise ValueError("an odd number, so that one of them is 0")
    return levels


Levels = Annotated[int, Field(ge=3, le=255), AfterValidator(_odd)]


class Config(layers.ConvolutionalConfig):
    """Parameters of an autoencoder with discrete codes. `latent_dim` is the number of its codes an image."""

    spatial: Literal[True] = True  # a code stands at a place of the smallest size, of which there are latent_dim
    levels: list[Levels] = Field([7, 7, 5], max_length=16)  # of each number of a code, odd: together they make 7 x 7 x 5 codes
    hidden: PositiveInt = 256  # units of the LSTM
    layers: Depth = 1  # of the LSTM
    dropout: float = Field(0.1, ge=0, lt=1)  # of what the LSTM is told of the codes before


class Model(layers.ConvolutionalModel):
    """Encoder to a map of codes, decoder back, and the LSTM that writes such maps."""

    config: Config
    half_width: Tensor
    basis: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        height, width = layers.smallest(data.expect(3, "images"), config.channels)
        self.places, self.codebook_size = height * width, math.prod(config.levels)
        if config.latent_dim != self.places:
            raise UserError(f"latent_dim: expected {self.places}, a code at each of {height}x{width} places; "
                            f"got {config.latent_dim}")  # fmt: skip
        if not config.levels or self.codebook_size > LARGEST:
            raise UserError(f"levels: expected some that make {LARGEST:,} codes at most, got {config.levels}")
        numbers = len(config.levels) * self.places
        self.encoder, self.decoder = layers.of_data(config, data, numbers, numbers)
        self.prior = CodePrior(self.codebook_size, self.places, config)
        levels = torch.tensor(config.levels)
        self.register_buffer("half_width", (levels[:, None] - 1) / 2, persistent=False)  # (D, 1)
        self.register_buffer("basis", (levels.cumprod(0) // levels)[:, None], persistent=False)  # what a step of each is worth

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error summed over an image plus the nats of a code, means over the batch."""
        x = batch["x"]
        numbers = self._quantised(x)
        output = self.decoder(self._flat(numbers))
        squared_error = F.mse_loss(self.predicted(output), self.scaled(x), reduction="sum") / len(x)
        codes = self._codes(numbers.detach())
        nats = F.cross_entropy(self.prior(codes).float().flatten(0, 1), codes.flatten())
        loss = squared_error + nats
        return loss, {"loss": loss.detach(), "squared_error": squared_error.detach(), "nats_per_code": nats.detach()}

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] of the codes of images."""
        return torch.cat([self.image(self.decoder(self._flat(self._quantised(part)))) for part in chunks(x)])

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]."""
        uniform = torch.rand(n, self.places, generator=generator(seed, "codes"), dtype=torch.float64)
        codes = (self.prior.sample(part) for part in chunks(uniform))
        return torch.cat([self.image(self.decoder(self._flat(self._numbers(part)))) for part in codes])

    def _quantised(self, x: Tensor) -> Tensor:
        """Rounded numbers of images, (N, D, P), with the gradient that they had before."""
        z = self.encoder(self.scaled(x)).float().view(len(x), len(self.half_width), -1).tanh() * self.half_width
        rounded: Tensor = z + (z.round() - z).detach()
        return rounded

    def _codes(self, numbers: Tensor) -> Tensor:
        """Codes (N, P) of rounded numbers (N, D, P); any of them where a network has diverged, which the loss then tells."""
        codes = ((numbers + self.half_width).round().long() * self.basis).sum(1)
        return codes.clamp(0, self.codebook_size - 1)

    def _numbers(self, codes: Tensor) -> Tensor:
        """Rounded numbers (N, D, P) of codes (N, P)."""
        return codes[:, None] // self.basis % (2 * self.half_width + 1).long() - self.half_width

    def _flat(self, numbers: Tensor) -> Tensor:
        """Rounded numbers (N, D, P) on a scale of -1 to 1, as the decoder sees them: (N, D P)."""
        return (numbers / self.half_width).flatten(1)


class CodePrior(nn.Module):
    """p(c_i | c_1 .. c_{i-1}) by an LSTM over the codes of a map, row by row, that is told at which place it is."""

    def __init__(self, codebook_size: int, places: int, config: Config) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.code = nn.Embedding(codebook_size + 1, config.hidden)  # the last one begins a map
        self.place = nn.Parameter(torch.zeros(places, config.hidden))
        self.lstm = nn.LSTM(config.hidden, config.hidden, config.layers, batch_first=True)
        self.logit = nn.Linear(config.hidden, codebook_size)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the logits (N, P, K) of each code given those before it, of maps (N, P)."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.logit.out_features)
        hidden, _ = self.lstm(F.dropout(self.code(before), self.dropout, self.training) + self.place)
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
