"""Labels of new examples: what is drawn has the counts of what was seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regen import label_tree


def together(labels: Tensor) -> Tensor:
    """As a flow counts them."""
    counted = F.pad(labels.double(), (0, 1), value=1)
    return counted.T @ counted


def heads(n: int) -> Tensor:
    """Two kinds, of which the first wears no hat, two hats, and two rings, which depend on hats alone: a tree."""

    torch.manual_seed(0)
    kind = torch.rand(n) < 0.3
    hat = torch.where(kind, torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, True), 2)
    chances = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.05, 0.05, 0.9]])[hat]
    ring = torch.multinomial(chances, 1)[:, 0]
    return torch.cat([F.one_hot(kind.long(), 2), F.one_hot(hat, 3)[:, :2], F.one_hot(ring, 3)[:, :2]], 1).float()


def test_labels_that_never_met_are_values_of_one_variable():
    groups = label_tree.apart(together(heads(5000))[:-1, :-1])
    assert sorted(map(sorted, groups)) == [[0, 2, 3], [1], [4, 5]] or sorted(map(sorted, groups)) == [[0, 1], [2, 3], [4, 5]]


def test_single_labels_and_pairs_are_drawn_as_often_as_they_were_seen():
    seen = heads(20_000)
    drawn = label_tree.drawn(20_000, together(seen), seed=1)
    of_seen, of_drawn = (part.T @ part / len(part) for part in (seen, drawn))
    assert (of_seen - of_drawn).abs().max() < 5 * (0.25 / 20_000) ** 0.5 * 2**0.5
    never = together(seen)[:-1, :-1] == 0
    assert not (together(drawn)[:-1, :-1][never]).any()


def test_a_chain_is_found():
    """a - b - c, in which a and c tell of each other only what b does: the tree of a - c is less probable."""
    torch.manual_seed(1)
    a = torch.rand(20_000) < 0.5
    b = a ^ (torch.rand(20_000) < 0.2)
    c = b ^ (torch.rand(20_000) < 0.2)
    variables = label_tree.tree(together(torch.stack([a, b, c], 1)))
    by_label = {variable.labels[0]: variable for variable in variables}
    edges = {frozenset((label, variables[one.parent].labels[0])) for label, one in by_label.items()} - {
        frozenset((n,)) for n in range(3)
    }
    assert edges == {frozenset((0, 1)), frozenset((1, 2))}


def test_classes_are_one_variable():
    labels = F.one_hot(torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 5000, True), 3).float()
    (variable,) = label_tree.tree(together(labels))
    assert sorted(variable.labels) == [0, 1, 2]
    assert variable.chances[0, -1] == 0  # of no class
    drawn = label_tree.drawn(5000, together(labels), seed=0)
    assert (drawn.sum(1) == 1).all()
    assert (drawn.mean(0) - labels.mean(0)).abs().max() < 0.03


def test_the_same_seed_draws_the_same():
    counts = together(heads(1000))
    first, again, other = (label_tree.drawn(100, counts, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("count", [0, 1])
def test_a_label_that_was_never_seen_is_never_drawn(count):
    labels = heads(1000)
    labels[:, 5] = 0
    labels[:count, 5] = 1
    drawn = label_tree.drawn(1000, together(labels), seed=0)
    assert drawn[:, 5].sum() <= count * 12
