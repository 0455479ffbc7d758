"""What a conditional model is asked for: a number a label, 1 = with, -1 = without, 0 = either.

Of classes, which exclude each other, one is 1 and the others are 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from regen import blocks
from regen.errors import UserError

EXPECTED = 8  # examples in which two labels would meet by chance: above it, that they never do is no accident


def present(labels: Tensor, count: int) -> Tensor:
    """Return 1 where an example has a label, (N, count), of classes (N,) or of attributes (N, count)."""
    return (F.one_hot(labels.long(), count) if labels.ndim == 1 else labels).float()


def known(labels: Tensor, present: Tensor) -> Tensor:
    """Return all that labels say: that an example is not of another class, its own one says already."""
    return present if labels.ndim == 1 else present * 2 - 1


def forgotten(asked: Tensor, share: float) -> Tensor:
    """Return what is asked (N, labels) less what is left open: all of it in so large a share of examples, else any part of it.

    A person names what an image shall have, seldom what not. So of what an example has a random share is kept, from none to all;
    and of what it has not a share of its own, in every second example none.
    """
    n, labels = asked.shape
    shares = torch.rand(n, 2, device=asked.device)  # of what it has, and of what it has not
    shares[:, 1] *= torch.rand(n, device=asked.device) < 0.5
    kept = torch.rand(n, labels, device=asked.device) < torch.where(asked > 0, shares[:, :1], shares[:, 1:])
    one_of_many = (asked >= 0).all(1, keepdim=True)  # a class is told or not
    whole = torch.rand(n, 1, device=asked.device) >= share
    return asked * ((kept | one_of_many) & whole)


def asked(names: Sequence[str], labels: Sequence[str], together: Tensor) -> Tensor:
    """Return what is asked by names of labels, (1, labels); `top hat` is `topHat`, too.

    Args:
        names: what a person typed.
        labels: what a model learned.
        together: (labels + 1, labels + 1) how often two of them were seen in one example, and last how many examples there were.

    Raises:
        UserError: an unknown name, or two that exclude each other: classes, or what never met, though by chance it would have.
    """
    found = {_plain(label): number for number, label in enumerate(labels)} | {
        label: number for number, label in enumerate(labels)
    }
    wanted = torch.zeros(1, len(labels))
    for name in names:
        key = name.strip() if name.strip() in found else _plain(name)
        if key not in found:
            blocks.known(name.strip(), list(labels), "with", "label")
        wanted[0, found[key]] = 1
    numbers = wanted[0].nonzero().flatten().tolist()
    for a, b in itertools.combinations(numbers, 2):
        if together[a, b] == 0 and (_of_one_label(together) or _expected(together, a, b) > EXPECTED):
            raise UserError(f"with: {labels[a]} and {labels[b]} exclude each other: no training image has both")
    return wanted


def _of_one_label(together: Tensor) -> bool:
    """Whether each example has one label alone: a class."""
    met = together[:-1, :-1]
    return bool(met.sum() == met.diagonal().sum() > 0)


def _expected(together: Tensor, a: int, b: int) -> float:
    """Return in how many examples two labels would meet by chance, at the least.

    Examples were counted at every pass. There were no more passes than the rarest label was counted.
    """
    counts = together.diagonal()[:-1]
    return float(counts[a] * counts[b] / (together[-1, -1] * counts[counts > 0].min()))


def _plain(name: str) -> str:
    """Return a name's letters and digits alone, in small ones."""
    return "".join(sign for sign in name.casefold() if sign.isalnum()) or name
