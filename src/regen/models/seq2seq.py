"""Encoder-decoder of LSTMs that answers questions of arithmetic (Sutskever, Vinyals and Le 2014; Cho et al. 2014).

A query of T characters, or of T images of handwritten characters, becomes one context c: the last states of the encoder. The
decoder sees c at each of the U positions of the answer and names or draws all of its characters. With h_u = decoder(c)_u:

* text: p(y_u | x) = softmax(W h_u), loss -sum_u log p(y_u | x) / U, in nats a character;
* image: y^_u = draw(h_u), loss ||y_u - y^_u||^2: the drawing of least squared error is the mean of all handwriting;
* image, `latent_dim` > 0: p(y_u | c) = int p(y_u | c, z) N(z; 0, I) dz, c being the character named from h_u: a conditional VAE
  (Sohn, Lee and Yan 2015), each draw of z another handwriting. Loss -E_q[log p(y_u | c, z)] + KL(q(z | y_u, c) || N(0, I)), in
  nats a glyph, for the true c (teacher forcing, Williams and Zipser 1989): else z would learn to tell what is drawn.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from regen.models import layers, variational
from regen.models.base import DataSpec, Depth, TrainedConfig, TrainedModel, chunks
from regen.seeding import generator

TASK = "arithmetic"


class Config(TrainedConfig):
    """Parameters of an encoder-decoder."""

    source: Literal["text", "image"]
    target: Literal["text", "image"]
    encoder_layers: Depth = 1
    decoder_layers: Depth = 1
    hidden: PositiveInt = 256  # units of an LSTM; in each direction
    bidirectional: bool = False  # encoder that also reads from right to left
    embedding: PositiveInt = 64  # numbers a character; a glyph's, where it is named: the mean over the characters it may be
    dropout: float = Field(0.0, ge=0, lt=1)  # of characters read, of the context, and between layers
    naming: float = Field(0.0, ge=0)  # weight of a loss that also names each character that is read or drawn as an image
    glyphs: PositiveInt = 40  # images of each character that the queries of one batch are written with
    read_channels: list[PositiveInt] = Field([32, 64, 128], min_length=1)  # of convolutions that read, each halving a glyph
    shift: NonNegativeInt = 0  # pixels by which a glyph that is read is moved at random to each side, on empty ground
    draw_channels: list[PositiveInt] = Field([32, 64], min_length=1, max_length=2)  # of those that draw it, first to last
    latent_dim: NonNegativeInt = 0  # of a drawing's handwriting, which needs `naming`; 0 = the mean of all handwriting
    output_std: PositiveFloat = 0.25  # sigma of p(y|h, z) in a sampling decoder: smaller is sharper, and needs more of z

    @field_validator("latent_dim")
    @classmethod
    def _named(cls, latent_dim: int, info: ValidationInfo) -> int:
        if latent_dim and not info.data.get("naming"):
            raise ValueError("0 where naming is 0: a character is named before it is drawn")
        return latent_dim


class Model(TrainedModel):
    """Reader of characters or glyphs, encoder, decoder, and a head that names or draws."""

    SHARED = frozenset({"glyphs", "glyph_tokens"})
    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.query_length, self.answer_length, *self.glyph = data.expect(4, "queries")
        symbols, hidden = len(data.labels), config.hidden
        shape = (1, *self.glyph)
        if config.source == "text" or config.naming:
            self.embed = nn.Embedding(symbols, config.embedding)
        if config.source == "image":
            self.read = reader(shape, config.read_channels, symbols if config.naming else config.embedding)
        self.encoder = nn.LSTM(config.embedding, hidden, config.encoder_layers, bidirectional=config.bidirectional,
                               dropout=config.dropout if config.encoder_layers > 1 else 0)  # fmt: skip
        context = hidden * (1 + config.bidirectional)
        self.decoder = nn.LSTM(context, hidden, config.decoder_layers, dropout=config.dropout if config.decoder_layers > 1 else 0)
        if config.target == "image":
            self.draw = layers.decoder(shape, config.draw_channels, hidden + config.latent_dim)
            if config.latent_dim:
                self.symbol = nn.Embedding(symbols, hidden)  # what to draw
                self.style = layers.encoder(shape, config.draw_channels, hidden)
                self.posterior = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * config.latent_dim))
        if config.target == "text" or config.naming:
            self.name = nn.Linear(hidden, symbols)

    def reading(self) -> dict[str, Any]:
        """What the loader of queries is asked for: see `regen.data.loaders.arithmetic`."""
        config = self.config
        return {"source": config.source, "target": config.target, "glyphs": config.glyphs}

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of queries `x` (N, T) and `answers` (N, U), tokens.

        Where queries are images, `x` holds places among the `glyphs` (M, H, W), which show the characters `glyph_tokens` (M,):
        each glyph is read once, however often it is used. Where answers are images, `drawings` (N, H, W) show one character
        of each, at the place `drawn` (N,): drawing all U places of every answer made a step U times as slow and hardly better.
        """
        if self.config.source == "image":
            read = self.read(batch["glyphs"][:, None]).float()  # (M, symbols), or (M, embedding) where none is named
            embedded = F.embedding(batch["x"].T, self._meaning(read))
        else:
            embedded = self.embed(batch["x"].T)
        h = self._decode(F.dropout(embedded, self.config.dropout, self.training))  # (U, N, hidden)
        answers = batch["answers"].T  # (U, N)
        loss, figures = h.new_zeros((), dtype=torch.float32), dict[str, Tensor]()
        if self.config.target == "image":
            place = batch["drawn"], torch.arange(len(batch["drawn"]), device=h.device)
            shown = self.symbol(answers[place]) if self.config.latent_dim else h[place]
            loss, figures = self._drawing_loss(shown, batch["drawings"][:, None])
        if hasattr(self, "name"):
            logits = self.name(h).float()
            named = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
            right = logits.argmax(2) == answers
            figures |= {"accuracy": right.float().mean(), "exact": right.all(0).float().mean()}
            loss = loss + (named if self.config.target == "text" else self.config.naming * named)
        if self.config.source == "image" and self.config.naming:
            figures["read_accuracy"] = (read.argmax(1) == batch["glyph_tokens"]).float().mean()
            loss = loss + self.config.naming * F.cross_entropy(read, batch["glyph_tokens"])
        return loss, {"loss": loss.detach(), **figures}

    @torch.no_grad()
    def answer_logits(self, x: Tensor) -> Tensor:
        """Return the logits (N, U, symbols) of the answers to queries: tokens (N, T), or images (N, T, H, W) in [0, 1]."""
        return torch.cat([self.name(self._decode(self._embed(part))).transpose(0, 1) for part in chunks(x)])

    @torch.no_grad()
    def drawings(self, x: Tensor, seed: int = 0) -> Tensor:
        """Return the drawn answers (N, U, H, W) in [0, 1]; where there is a latent, in a handwriting drawn from `seed`."""
        noise, drawn = generator(seed, "handwriting"), []
        for part in chunks(x):
            h = self._decode(self._embed(part)).flatten(0, 1)
            if self.config.latent_dim:
                h = self.symbol(self.name(h).argmax(1))
            z = torch.randn(len(h), self.config.latent_dim, generator=noise).to(h.device)
            images = self.draw(torch.cat([h, z], 1)).sigmoid()
            drawn.append(images.view(self.answer_length, len(part), *self.glyph).transpose(0, 1))
        return torch.cat(drawn)

    def texts(self, tokens: Tensor) -> list[str]:
        """Return tokens (N, T) as texts, without the spaces at their ends."""
        return ["".join(self.data.labels[token] for token in row).rstrip() for row in tokens.tolist()]

    def _embed(self, x: Tensor) -> Tensor:
        """(T, N, embedding) of queries: tokens (N, T), or images (N, T, H, W)."""
        x = x.transpose(0, 1)
        embedded: Tensor = self.embed(x) if x.ndim == 2 else self._meaning(self.read(x.reshape(-1, 1, *x.shape[2:])))
        return embedded.view(*x.shape[:2], -1)

    def _meaning(self, read: Tensor) -> Tensor:
        """Return (M, embedding) of glyphs: where they are named, E[embedding of the character], once trained the likeliest's."""
        if not self.config.naming:
            return read
        if not self.training:
            read = F.one_hot(read.argmax(1), read.shape[1]).log()
        return read.softmax(1).to(self.embed.weight.dtype) @ self.embed.weight

    def _decode(self, embedded: Tensor) -> Tensor:
        """(U, N, hidden) for embedded queries (T, N, embedding)."""
        _, (last, _) = self.encoder(embedded)
        last = torch.cat([*last[-1 - self.config.bidirectional :]], 1)  # of the topmost layer, both directions
        context = F.dropout(last, self.config.dropout, self.training)
        h: Tensor = self.decoder(context.expand(self.answer_length, -1, -1).contiguous())[0]
        return F.dropout(h, self.config.dropout, self.training)

    def _drawing_loss(self, h: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the glyphs y (N, 1, H, W) drawn from h (N, hidden), per glyph."""
        if not self.config.latent_dim:
            squared = (self.draw(h).float().sigmoid() - y).square()
            return squared.sum((1, 2, 3)).mean(), {"squared_error": squared.detach().mean()}
        mu, log_variance = variational.split(self.posterior(torch.cat([self.style(y), h], 1)))
        z = variational.draw(mu, log_variance, torch.randn_like(mu))
        squared = (self.draw(torch.cat([h, z], 1)).float().sigmoid() - y).square()
        distortion = squared.sum((1, 2, 3)).mean() / (2 * self.config.output_std**2)
        rate = variational.kl(mu, log_variance).mean()
        return distortion + rate, {"squared_error": squared.detach().mean(), "rate": rate.detach()}


def reader(shape: tuple[int, ...], channels: list[int], outputs: int, features: int = 128) -> nn.Sequential:
    """Return a network from glyphs (N, 1, H, W) to (N, outputs): two convolutions a count of channels, the first of stride 2."""
    stack: list[nn.Module] = []
    previous, height, width = shape
    for place, count in enumerate(channels):
        for depth, size, stride in ((previous, 3 if place else 5, 2), (count, 3, 1)):
            stack += [nn.Conv2d(depth, count, size, stride, size // 2, bias=False), nn.BatchNorm2d(count), nn.ReLU(inplace=True)]
        previous, height, width = count, -(-height // 2), -(-width // 2)
    head = [nn.Linear(previous * height * width, features), nn.ReLU(), nn.Linear(features, outputs)]
    return nn.Sequential(*stack, nn.Flatten(), *head)
