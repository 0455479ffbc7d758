"""What a model is: a small `nn.Module` with the capabilities that make sense for it.

Every family has `Config` and `Model`. A model is made in one of two ways:

* trained by gradient steps (`regen.models`): `loss(batch, network)`, and `networks` where several are trained against each other;
* fitted to all the data (`regen.estimators`): `fit(arrays)`.

and can do any of `sample`, `encode`, `decode`, `reconstruct`, `log_likelihood`, `elbo`, ... Evaluation asks
`hasattr(model, ...)` and shows what it finds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from torch import Tensor, nn

from regen.blocks import Block, ModelConfig
from regen.errors import UserError
from regen.seeding import generator

LARGEST = 1 << 28  # numbers an example
ENCODING = "encoding"  # kind of the data sets that are latents
Depth = Annotated[int, Field(ge=1, le=64)]  # layers of one kind, one after another
Decay = Annotated[float, Field(ge=0, lt=1)]


class DataSpec(Block):
    """What a model has to know of its data before it sees any: kept in model.json, so that a model loads without its data."""

    dataset: str
    kind: str
    shape: tuple[PositiveInt, ...] = Field(strict=False)  # of one example; (channels, height, width) for images
    labels: tuple[str, ...] = Field((), strict=False)  # names of the classes or of the binary attributes
    mean: float = 0.5  # of the training images' pixels, on a scale of 0 to 1; of latents, of all their numbers
    std: float = Field(0.25, gt=0)

    @field_validator("shape")
    @classmethod
    def _fits(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(shape) > LARGEST:
            raise ValueError(f"an example of at most {LARGEST:,} numbers")
        return shape

    @classmethod
    def of(cls, dataset: str, statistics: Mapping[str, Any]) -> DataSpec:
        """Return the spec of a prepared data set from its statistics.json."""
        known = {"dataset": dataset, "kind": statistics["kind"], "shape": statistics["shape"]}
        train = statistics["splits"]["train"]
        if statistics["kind"] == ENCODING:
            known |= {"mean": train["mean"], "std": train["std"] or 1.0}
        elif len(statistics["shape"]) == 3:
            known |= {"mean": train["mean"] / 255, "std": max(train["std"], 1.0) / 255}
        return cls(**known, labels=statistics.get("labels", ()))

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
    microbatch: NonNegativeInt = 0  # examples at a time in a process, whose gradients are added up; 0 = all of its batch at once
    compile: bool = False  # by torch.compile: needs a C++ compiler, and pays in long trainings
    learning_rate: PositiveFloat  # peak of the schedule
    schedule: Literal["constant", "cosine", "one_cycle", "linear_tail"] = "constant"
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), strict=False)  # decay of Adam's two moments
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(0.0, ge=0)  # largest gradient norm; 0 = no clipping
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the averaged weights that are evaluated; 0 = the last weights
    train_fraction: float = Field(1.0, gt=0, le=1)  # share of the training examples that is used
    steps_per_epoch: NonNegativeInt = 0  # 0 = one pass over those examples; tiles of sections never run out, and need a number
    flip: bool = False  # mirror training images left to right by chance
    shift: NonNegativeInt = 0  # pixels by which they are moved at random to each side, mirrored at the border
    patience: NonNegativeInt = 0  # epochs without a better loss on the validation split before it stops; 0 = trains to the end


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

    def check(self) -> None:
        """Look at weights that were loaded, finite and of the right shapes. Raises ValueError where they can be of no model."""


class TrainedModel(GenerativeModel):
    """A model trained by gradient steps."""

    SHARED: frozenset[str] = frozenset()  # tensors of a batch that belong to all its examples together, and not one to each
    config: TrainedConfig  # narrowed: a family's Config extends it
    step: int = 0  # of the training, set by its loop

    def networks(self) -> dict[str, dict[str, nn.Parameter]]:
        """Named groups of parameters, each minimising its own `loss` in turn at every step. One, except in a GAN."""
        return {"network": dict(self.named_parameters())}

    def learning_rate(self, network: str) -> float:
        """Peak learning rate of one network."""
        return self.config.learning_rate

    def averaged(self) -> nn.Module:
        """The part whose exponential moving average is evaluated where `config.ema` > 0."""
        return self

    def recalibrate(self) -> None:
        """Recompute what follows from the final weights, as batch normalisation's statistics. Most models have nothing to do."""

    @property
    def pretrained_at(self) -> int:
        """Step before which something else is learned first; 0 = nothing is."""
        return 0

    def end_pretraining(self, images: Iterable[Tensor]) -> None:
        """Begin what follows at step `pretrained_at`, after an epoch's images, in evaluation mode."""
        raise NotImplementedError

    def reading(self) -> dict[str, Any]:
        """What this model asks of its data's loader besides the size of a batch. Most models want nothing."""
        return {}

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss that `network` minimises (a scalar: mean over the batch) and detached figures to log."""
        raise NotImplementedError


def normal(n: int, dim: int, seed: int, device: torch.device) -> Tensor:
    """Return (n, dim) draws of N(0, I), the same numbers on every device."""
    return torch.randn(n, dim, generator=generator(seed, "sample")).to(device)


def chunks(x: Tensor, size: int = 250) -> Iterator[Tensor]:
    """Split along the first axis, to bound the memory of an evaluation."""
    yield from torch.split(x, size)
