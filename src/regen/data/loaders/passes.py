"""Which examples a step takes: every one once a pass, in an order of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from regen.data.loaders import Share
from regen.errors import UserError
from regen.seeding import generator


class Passes:
    """Indices of step n's examples: pass after pass, each in an order drawn from (seed, pass), incomplete batches left out.

    Args:
        examples: how many there are; of them the first `share.train_fraction` are used.
        share: how many a step, and which of them are this process's.

    Raises:
        UserError: there are fewer examples than one batch needs, or processes cannot share one equally.
    """

    def __init__(self, examples: int, share: Share) -> None:
        self.examples, self.share = round(share.train_fraction * examples), share
        check_batch_size(share, self.examples)
        self.per_pass = self.examples // share.batch_size
        self.per_epoch = share.steps_per_epoch or self.per_pass
        self._pass, self._order = -1, torch.empty(0, dtype=torch.long)

    def __call__(self, step: int) -> Tensor:
        """Return the indices of this process's share of one step's batch, on the CPU."""
        number, position = divmod(step, self.per_pass)
        if number != self._pass:
            self._order = torch.randperm(self.examples, generator=generator(self.share.seed, "order", number))
            self._pass = number
        start = position * self.share.batch_size
        return self._order[start : start + self.share.batch_size][self.share.mine]


def check_batch_size(share: Share, examples: int | None = None) -> None:
    """Refuse a batch that is larger than the data (None: endless), or that processes cannot share equally.

    Of unequal shares the mean of the processes' gradients would not be the batch's.

    Raises:
        UserError: naming what is possible.
    """
    fits = examples is None or share.batch_size <= examples
    if not fits or share.batch_size % share.processes:
        least = f"a multiple of {share.processes} (processes)" if share.processes > 1 else "1"
        most = " or more" if examples is None else f" to {examples} (training examples)"
        raise UserError(f"models.{share.name}.batch_size: expected {least}{most}, got {share.batch_size}")
