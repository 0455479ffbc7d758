"""Labels of new examples, drawn from a distribution that is fitted to how often each two labels were seen together.

Labels that never met are values of one variable, as classes are, or hats of which a head wears one. The variables are a tree,
each depending on one other: of all trees the most probable (Chow and Liu 1968), which keeps single labels' counts and its pairs'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regen.seeding import generator

TRIES = 100  # draws of an example until no two labels come together that never met: the tree knows that of its own pairs alone


@dataclass(frozen=True)
class Variable:
    """One of several labels, or none of them.

    Attributes:
        labels: k of them.
        parent: the variable that it depends on, by its place in the tree; the first is its own.
        chances: (values of the parent, k + 1) of each label, last of none, given the parent's label, last none.
    """

    labels: list[int]
    parent: int
    chances: Tensor


def drawn(n: int, together: Tensor, seed: int) -> Tensor:
    """Return which labels n new examples have, (n, labels), 1 = with.

    Args:
        n: how many.
        together: (labels + 1, labels + 1) how often two labels were seen in one example, and last how many examples there were.
        seed: of the draws.
    """
    counts, draws = together[:-1, :-1].cpu(), generator(seed, "labels")
    variables, none = tree(together), len(counts)
    found, rows = torch.zeros(n, none), torch.arange(n)
    for _ in range(TRIES):
        given, values = torch.zeros(len(rows), none + 1), list[Tensor]()
        for variable in variables:
            of_parent = values[variable.parent] if values else torch.zeros(len(rows), dtype=torch.long)
            values.append(torch.multinomial(variable.chances[of_parent], 1, generator=draws)[:, 0])
            given.scatter_(1, torch.tensor([*variable.labels, none])[values[-1]][:, None], 1.0)
        found[rows] = given[:, :-1]
        rows = rows[(given[:, :-1] @ (counts == 0).float() * given[:, :-1]).sum(1) > 0]
        if not len(rows):
            break
    return found


def tree(together: Tensor) -> list[Variable]:
    """Return the variables, each after its parent (Prim's algorithm, from the one with the most frequent label)."""
    counts = together.cpu()
    groups = apart(counts[:-1, :-1])
    tables = {(a, b): _table(counts, groups[a], groups[b]) for a in range(len(groups)) for b in range(len(groups)) if a != b}
    first = _table(counts, groups[0], groups[0]).diagonal()
    places = {0: 0}  # in the tree, by group
    variables = [Variable(groups[0], 0, _shares(first[None]))]
    while len(places) < len(groups):
        edges = [(a, b) for a in places for b in range(len(groups)) if b not in places]
        parent, group = max(edges, key=lambda edge: _information(tables[edge]))
        variables.append(Variable(groups[group], places[parent], _shares(tables[parent, group])))
        places[group] = len(places)
    return variables


def apart(counts: Tensor) -> list[list[int]]:
    """Return the labels in groups of those that never met, the most frequent first.

    A label joins the group whose labels it would have met most often by chance: there its never meeting them says most.
    """
    frequencies, groups = counts.diagonal(), list[list[int]]()
    for label in frequencies.argsort(descending=True, stable=True).tolist():
        strangers = [group for group in groups if not counts[label, group].any()]
        if strangers:
            max(strangers, key=lambda group: float(frequencies[group].sum())).append(label)
        else:
            groups.append([label])
    return groups


def _table(counts: Tensor, a: list[int], b: list[int]) -> Tensor:
    """Return how often each two values of two groups of labels met, (a + 1, b + 1); the last value is none of its labels."""
    one, seen = counts.diagonal()[:-1], counts[-1, -1]
    met = counts[a][:, b]
    rows = torch.cat([met, (one[a] - met.sum(1))[:, None]], 1)
    last = one[b] - met.sum(0)
    return torch.cat([rows, torch.cat([last, (seen - rows.sum() - last.sum())[None]])[None]])


def _information(table: Tensor) -> float:
    """Return what two variables tell of each other, in nats, times the number of examples."""
    by_chance = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    return float(torch.special.xlogy(table, table / by_chance.clamp(min=math.ulp(1))).sum())


def _shares(table: Tensor) -> Tensor:
    """Return each row as shares of its sum."""
    return table / table.sum(1, keepdim=True).clamp(min=1)
