"""What a model is: a small `nn.Module` with the capabilities that make sense for it.

Every family has `Config` and `Model`. A model is trained in one of two ways:

* by gradient steps: `loss(batch, player)` (and `players` where several networks play against each other);
* in closed form: `fit(arrays)`.

and can do any of `sample`, `encode`, `decode`, `reconstruct`, `log_likelihood`, `elbo`, ... Evaluation asks
`hasattr(model, ...)` and shows what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from regen.errors import UserError
from regen.params import Block, ModelConfig
from regen.seeding import generator

Share = Annotated[float, Field(ge=0, lt=1)]


class DataSpec(Block):
    """What a model has to know of its data before it sees any: kept in model.json, so that a model loads without its data."""

    dataset: str
    kind: str
    shape: tuple[int, ...] = Field(strict=False)  # of one example; (channels, height, width) for images
    labels: tuple[str, ...] = Field((), strict=False)  # names of the classes or of the binary attributes

    @classmethod
    def of(cls, dataset: str, statistics: Mapping[str, Any]) -> DataSpec:
        """Return the spec of a prepared data set from its statistics.json."""
        return cls(dataset=dataset, kind=statistics["kind"], shape=statistics["shape"], labels=statistics.get("labels", ()))

    def expect(self, dimensions: int, what: str) -> tuple[int, ...]:
        """Return the shape of an example: of an image its channels, height and width.

        Raises:
            UserError: it has not so many dimensions.
        """
        if len(self.shape) != dimensions:
            raise UserError(f"dataset: {self.dataset} has no {what}, which this family needs (an example is {self.shape})")
        return self.shape


class TrainedConfig(ModelConfig):
    """What every model trained by gradient steps (`regen.training.loop`) has."""

    epochs: PositiveInt
    batch_size: PositiveInt  # over all processes together
    learning_rate: PositiveFloat  # peak of the schedule
    schedule: Literal["constant", "cosine", "one_cycle", "linear_tail"] = "constant"
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[Share, Share] = Field((0.9, 0.999), strict=False)  # decay of Adam's two moments
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(0.0, ge=0)  # largest gradient norm; 0 = no clipping
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the averaged weights that are evaluated; 0 = the last weights


class GenerativeModel(nn.Module):
    """Base of all models. `config` is the family's `Config`; parameters and buffers are the whole trained state."""

    def __init__(self, config: ModelConfig, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data = data

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter([*self.parameters(), *self.buffers()]), torch.empty(0)).device


class TrainedModel(GenerativeModel):
    """A model trained by gradient steps."""

    config: TrainedConfig  # narrowed: a family's Config extends it

    def players(self) -> dict[str, dict[str, nn.Parameter]]:
        """Named groups of parameters, each minimising its own `loss` in turn at every step. One, except in a GAN."""
        return {"player": dict(self.named_parameters())}

    def learning_rate(self, player: str) -> float:
        """Peak learning rate of one player."""
        return self.config.learning_rate

    def averaged(self) -> nn.Module:
        """The part whose exponential moving average is evaluated where `config.ema` > 0."""
        return self

    def settle(self) -> None:
        """Recompute what follows from the weights, once they are those to be evaluated. Most models have nothing to do."""

    def columns(self, arrays: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return what else a batch holds of each training example, computed from `arrays` once. Most models want nothing."""
        return {}

    def loss(self, batch: dict[str, Tensor], player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss that `player` minimises (a scalar: mean over the batch) and detached figures to log."""
        raise NotImplementedError


def normal(n: int, dim: int, seed: int, device: torch.device) -> Tensor:
    """Return (n, dim) draws of N(0, I), the same numbers on every device."""
    return torch.randn(n, dim, generator=generator(seed, "sample")).to(device)


def chunks(x: Tensor, size: int = 250) -> Iterator[Tensor]:
    """Split along the first axis, to bound the memory of an evaluation."""
    yield from torch.split(x, size)


def as_images(x: Any) -> Tensor:
    """Return uint8 (N, H, W, C) as float (N, C, H, W) in [0, 1], channels_last in memory: a view, then one conversion."""
    return torch.as_tensor(x).permute(0, 3, 1, 2).float().div_(255)
