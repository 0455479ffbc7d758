"""Flow matching (Lipman et al. 2023; Liu et al. 2023), of images or of an autoencoder's latents, which makes it a generator.

A network v learns the velocity of straight paths from noise to data, at x_t = (1 - t) x_0 + t x_1 with x_0 ~ N(0, I):

    E || v(x_t, t) - (x_1 - x_0) ||^2,   t uniform on [0, 1], or logit-normal (Esser et al. 2024).

A sample is noise carried along dx/dt = v(x, t) from t = 0 to 1; the same path backwards encodes an example as noise, and
log p(x_1) = log N(x_0; 0, I) - integral of div v (the instantaneous change of variables, Chen et al. 2018, equation 8).
Which latents, and the decoder that makes images of them, an encoding says (two stages: Dai and Wipf 2019).

Where labels are learned, v is told what is asked for, and guided away from what is not (Ho and Salimans 2022). A sample for which
nothing is asked first draws its labels: p(x) is the sum over labels of p(labels) p(x | labels).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from regen import label_tree
from regen.errors import UserError
from regen.models.base import ENCODING, DataSpec, Depth, TrainedConfig, TrainedModel, chunks, normal
from regen.networks import asking
from regen.networks.velocity import Mlp, UNet
from regen.seeding import generator

TASK = "flows"
DECODED = True  # the decoder of its latents belongs to it, so that it makes images
EXACT = 128  # dimensions at most of which the divergence is summed; of more, it is estimated
FORGOTTEN = 0.1  # share of examples of which the network is told nothing


class Config(TrainedConfig):
    """Parameters of a flow."""

    hidden: PositiveInt = 384  # units of a block, of latents without places
    places: list[PositiveInt] = Field([], max_length=2)  # down and across, of latents that keep their place
    channels: list[PositiveInt] = Field([], max_length=16)  # at each size of the image, or of such a map, from the largest
    blocks: Depth = 2  # residual blocks: of latents in all, of images at each size
    patch: PositiveInt = 1  # pixels a side that are taken together
    times: Literal["uniform", "logit_normal"] = "uniform"  # of the training
    conditional: bool = False  # also learn what the labels say, so that they can be asked for
    guidance: float = Field(1.0, ge=0)  # of samples where no labels are asked for: theirs are drawn, as often as they were seen
    solver: Literal["euler", "heun"] = "heun"  # Heun's method asks for the velocity twice a step
    steps: int = Field(16, ge=1, le=10_000)  # of the solver, from noise to data
    patience: Literal[0] = 0  # the loss is noisy, and the averaged weights are evaluated


class Model(TrainedModel):
    """Velocity of latents (N, d) or of images (N, C, H, W) at time t. Noise is (N, d), also an image's: d = C H W."""

    config: Config
    together: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.labels = data.labels if config.conditional else ()
        if config.conditional and not data.labels:
            raise UserError(f"conditional: {data.dataset} has no labels that could be asked for")
        if not config.conditional and config.guidance != 1:
            raise UserError("guidance: expected none where no labels are learned (conditional: false)")
        self.dim = math.prod(data.shape)
        if data.kind == ENCODING:
            data.expect(1, "latents")
        elif len(data.shape) != 3:
            raise UserError(f"dataset: {data.dataset} is of kind {data.kind}, and a flow learns on images or on latents; "
                            "name a data set of images, or one of encodings")  # fmt: skip
        elif config.places:
            raise UserError("places: expected none, as an image has its own; they are for latents")
        self.shape = _map(self.dim, config.places) if config.places else data.shape  # as the network sees an example
        if len(self.shape) == 1:
            if config.channels:
                raise UserError("channels: expected none where latents have no places")
            self.network: Any = Mlp(self.dim, config.hidden, config.blocks, len(self.labels))
        else:
            if not config.channels:
                raise UserError("channels: missing; expected those of each size of the image, such as [64, 128]")
            self.network = UNet(self.shape, config.channels, config.blocks, config.patch, len(self.labels))
        if self.labels:  # how often each two of them were seen together, and last how many examples were
            self.register_buffer("together", torch.zeros(len(self.labels) + 1, len(self.labels) + 1, dtype=torch.float64))

    @property
    def draws_labels(self) -> bool:
        """Whether a sample has labels of its own, and so is more than what its noise decodes to."""
        return bool(self.labels and self.together[-1, -1])

    def reading(self) -> dict[str, Any]:
        """The examples alone, or with their labels, and not the images beside latents."""
        return {"names": ["x", "labels"] if self.labels else ["x"]}

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error of the velocity, mean over dimensions and batch: 0 only where paths never cross."""
        x = batch["x"]
        asked = None
        if self.labels:
            present = asking.present(batch["labels"], len(self.labels))
            asked = asking.forgotten(asking.known(batch["labels"], present), FORGOTTEN)
            if self.training:
                counted = F.pad(present.double(), (0, 1), value=1)
                self.together += counted.T @ counted
        t = (
            torch.rand(len(x), device=x.device)
            if self.config.times == "uniform"
            else torch.randn(len(x), device=x.device).sigmoid()
        )
        loss = self.error(x, t, torch.randn(x.shape, device=x.device), asked).mean()
        return loss, {"loss": loss.detach()}

    def error(self, x: Tensor, t: Tensor, noise: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the squared error of the velocity, (N,), mean over dimensions, at times t (N,) from `noise` to examples x."""
        end = self._standardised(x.float())
        between = torch.lerp(noise, end, t.reshape(-1, *[1] * (x.ndim - 1)))
        return (self.velocity(between, t, asked).float() - (end - noise)).square().flatten(1).mean(1)

    def velocity(self, x: Tensor, t: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return v(x, t), of the shape of standardised examples x, at times (N,), or at one time for all, (1,)."""
        v: Tensor = self.network(x.reshape(-1, *self.shape), t, asked)
        return v.reshape(x.shape)

    def asked(self, names: Sequence[str]) -> Tensor:
        """Return what `names` of labels ask for, (1, labels).

        Raises:
            UserError: labels were not learned, a name is none of them, or two of them exclude each other.
        """
        if not self.labels:
            raise UserError(
                f"a flow that learned no labels of {self.data.dataset} cannot be asked for any; train one with conditional: true"
            )
        return asking.asked(names, self.labels, self.together)

    def sample(self, n: int, seed: int = 0, asked: Tensor | None = None, guidance: float | None = None) -> Tensor:
        """Return n examples: noise carried from t = 0 to 1.

        Args:
            n: how many.
            seed: of the noise.
            asked: (n or 1, labels), 1 = with, -1 = without, 0 = either, see `asked`; None = drawn, where labels were learned.
            guidance: 0 = as if nothing were asked, 1 = as learned, more = further away from what was not asked for; None = the
                config's.
        """
        if asked is None and self.draws_labels:
            asked = label_tree.drawn(n, self.together, seed)
        return self.decode(normal(n, self.dim, seed, self.device), asked, self.config.guidance if guidance is None else guidance)

    @torch.no_grad()
    def decode(self, z: Tensor, asked: Tensor | None = None, guidance: float = 1.0) -> Tensor:
        """Return the examples at the end of the paths that start at noise z (N, d)."""
        wanted = None if asked is None else asked.to(z).expand(len(z), -1)
        ends = []
        for rows in torch.split(torch.arange(len(z), device=z.device), self._chunk()):
            part = None if wanted is None else wanted[rows]
            ends.append(self._restored(self.carried(z[rows], 0.0, 1.0, asked=part, guidance=guidance)))
        return torch.cat(ends)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the noise (N, d) whose paths end at examples x: the same paths backwards."""
        parts = chunks(x, self._chunk())
        return torch.cat([self.carried(self._standardised(part.float()), 1.0, 0.0).flatten(1) for part in parts])

    @torch.no_grad()
    def carried(
        self, x: Tensor, begin: float, end: float, steps: int = 0, asked: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        """Return standardised examples at t = end of the paths that are at x at t = begin; in `steps`, or the config's."""

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            if asked is None or guidance == 0:
                return self.velocity(x, t)
            if guidance == 1:
                return self.velocity(x, t, asked)
            both = self.velocity(torch.cat([x, x]), t, torch.cat([asked, torch.zeros_like(asked)]))
            with_it, without = both.chunk(2)
            return torch.lerp(without, with_it, guidance)

        return self._integrated(velocity, x.reshape(-1, *self.data.shape), begin, end, steps)

    def log_likelihood(self, x: Tensor, seed: int = 0) -> Tensor:
        """Return log p(x), (N,), in nats, of examples x: the integral is Heun's or Euler's.

        The divergence is exact up to `EXACT` dimensions; of more it is e' (dv/dx) e at one e of random signs an example, right on
        average (Hutchinson 1990; Grathwohl et al. 2019).
        """
        exact = self.dim <= EXACT
        signs = torch.randint(0, 2, (len(x), self.dim), generator=generator(seed, "signs")).to(x.device).float() * 2 - 1
        size = 100 if exact else self._chunk() // 4
        parts = zip(chunks(x, size), chunks(signs, size), strict=True)
        return torch.cat([self._log_likelihood(part.float(), self._exact if exact else self._estimated(e)) for part, e in parts])

    def _log_likelihood(self, x: Tensor, slope: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        state = F.pad(self._standardised(x).flatten(1), (0, 1))  # (N, d + 1): the last column is the integral
        start = self._integrated(slope, state, 1.0, 0.0)
        log_normal = -0.5 * (start[:, :-1].square().sum(1) + self.dim * math.log(2 * math.pi))
        return log_normal + start[:, -1] - self.dim * math.log(self.data.std)

    def _exact(self, state: Tensor, t: Tensor) -> Tensor:
        """Velocity and divergence, (N, d + 1)."""

        def one(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            v = self.velocity(x.reshape(1, *self.data.shape), t[None]).flatten()
            return v, v

        jacobian, v = torch.func.vmap(torch.func.jacrev(one, has_aux=True))(state[:, :-1], t.expand(len(state)))
        return torch.cat([v, jacobian.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)], 1).detach()

    def _estimated(self, signs: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The same, the divergence estimated."""

        def slope(state: Tensor, t: Tensor) -> Tensor:
            with torch.enable_grad():
                x = state[:, :-1].detach().requires_grad_()
                v = self.velocity(x.reshape(-1, *self.data.shape), t).flatten(1)
                (products,) = torch.autograd.grad((v * signs).sum(), x)
            return torch.cat([v.detach(), (products * signs).sum(1, keepdim=True)], 1)

        return slope

    def _integrated(
        self, slope: Callable[[Tensor, Tensor], Tensor], x: Tensor, begin: float, end: float, steps: int = 0
    ) -> Tensor:
        """Solve dx/dt = slope(x, t) from t = begin to end in equal steps."""
        times = torch.linspace(begin, end, (steps or self.config.steps) + 1, device=x.device)
        for now, then in itertools.pairwise(times):
            first = slope(x, now[None])
            ahead = x + (then - now) * first
            if self.config.solver == "heun":
                ahead = x + (then - now) / 2 * (first + slope(ahead, then[None]))
            x = ahead
        return x

    def _chunk(self) -> int:
        """Examples at a time."""
        return 1000 if len(self.data.shape) == 1 else 200

    def _standardised(self, x: Tensor) -> Tensor:
        return (x - self.data.mean) / self.data.std

    def _restored(self, x: Tensor) -> Tensor:
        restored = x * self.data.std + self.data.mean
        return restored if len(self.data.shape) == 1 else restored.clamp(0, 1)


def _map(dim: int, places: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of a map of so many latents, (channels, height, width)."""
    if len(places) != 2 or dim % math.prod(places):
        raise UserError(f"places: expected two numbers, down and across, that share out {dim} latents; got {list(places)}")
    height, width = places
    return dim // (height * width), height, width
