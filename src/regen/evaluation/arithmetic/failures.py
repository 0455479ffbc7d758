"""Which answers fail: by carry, borrow, sign and length, how far off they are, and which characters are confused."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regen.drawing import plots
from regen.evaluation.arithmetic.plots import distances, distribution, failures
from regen.evaluation.subject import Subject
from regen.metrics.values import Measured, confusion, mean

QUERY = re.compile(r"(\d+)([-+*])(\d+)")
NUMBER = re.compile(r"-?\d+")


def evaluate(subject: Subject, queries: Tensor, read: Tensor, answers: Tensor) -> Measured:
    """Draw and tabulate the mistakes in codes `read` (N, U); returns how many are no numbers and how far off the others are."""
    folder, symbols = subject.folder, "".join(subject.model.data.labels)
    texts = [subject.model.texts(codes) for codes in (queries, read, answers)]
    asked, got, true = texts
    wrong = (read != answers).any(1).numpy()
    rows = by_kind(asked, true, wrong)
    write_table(folder / "failures.csv", ("kind", "queries", "wrong"), rows)
    failures(rows, folder / "failures.png")

    numbers = np.array([int(text) if NUMBER.fullmatch(text) else np.nan for text in got])
    truth = np.array([int(text) for text in true], dtype=float)
    known = numbers[~np.isnan(numbers)]
    write_table(
        folder / "distribution.csv",
        ("answer", "true", "predicted"),
        [(int(value), int((truth == value).sum()), int((known == value).sum())) for value in np.union1d(truth, known)],
    )
    distribution(truth, numbers, folder / "distribution.png")
    distance = np.abs(numbers - truth)
    apart, count = np.unique(distance[~np.isnan(distance)], return_counts=True)
    write_table(folder / "distances.csv", ("distance", "answers"), [(int(a), int(n)) for a, n in zip(apart, count, strict=True)])
    distances(distance, folder / "distances.png")

    confused = confusion(read.flatten(), answers.flatten(), len(symbols)).numpy()
    used = [code for code in range(len(symbols)) if confused[code].any()]
    write_table(folder / "confusion.csv", ("true", *symbols), [(symbols[code], *confused[code].tolist()) for code in used])
    shown = np.flatnonzero(confused.any(0) | confused.any(1))
    names = [{" ": "␣", "-": "−"}.get(symbols[code], symbols[code]) for code in shown.tolist()]
    plots.confusion(confused[np.ix_(shown, shown)], names, folder / "confusion.png", xlabel="given")
    measures = {"malformed": mean(torch.from_numpy(np.isnan(numbers)).double(), bound=0.0)}
    if not np.isnan(distance).all():
        measures["answer_distance"] = mean(torch.from_numpy(distance[~np.isnan(distance)]), bound=0.0)
    return measures


def carries(a: int, b: int) -> int:
    """Return how many carries there are in a + b, column by column."""
    count = carry = 0
    while a or b:
        carry = int(a % 10 + b % 10 + carry > 9)
        count, a, b = count + carry, a // 10, b // 10
    return count


def borrows(a: int, b: int) -> int:
    """Return how many borrows there are in max(a, b) - min(a, b), column by column."""
    a, b = max(a, b), min(a, b)
    return carries(a - b, b)  # a column of the difference carries back exactly where the subtraction borrowed


def kinds() -> dict[str, Callable[[int, str, int, str], bool]]:
    """Kinds of query: name -> whether a query (a, operator, b, answer) is one."""
    return {
        "addition": lambda a, sign, b, y: sign == "+",
        "subtraction": lambda a, sign, b, y: sign == "-",
        "multiplication": lambda a, sign, b, y: sign == "*",
        "+ without carry": lambda a, sign, b, y: sign == "+" and carries(a, b) == 0,
        "+ with one carry": lambda a, sign, b, y: sign == "+" and carries(a, b) == 1,
        "+ with more carries": lambda a, sign, b, y: sign == "+" and carries(a, b) > 1,
        "- without borrow": lambda a, sign, b, y: sign == "-" and borrows(a, b) == 0,
        "- with borrow": lambda a, sign, b, y: sign == "-" and borrows(a, b) > 0,
        "negative answer": lambda a, sign, b, y: y.startswith("-"),
        "answer zero": lambda a, sign, b, y: y == "0",
        "positive answer": lambda a, sign, b, y: y != "0" and not y.startswith("-"),
    }


def by_kind(queries: Sequence[str], answers: Sequence[str], wrong: np.ndarray) -> list[tuple[str, int, int]]:
    """Return (kind, number of queries, how many are answered wrongly) for each kind that occurs; lengths last."""
    parsed = []
    for query, answer in zip(queries, answers, strict=True):
        found = QUERY.fullmatch(query)
        assert found
        parsed.append((int(found[1]), found[2], int(found[3]), answer))
    masks = {name: np.array([kind(*item) for item in parsed], bool) for name, kind in kinds().items()}
    for what, texts in (("query", queries), ("answer", answers)):
        lengths = np.array([len(text) for text in texts])
        masks |= {f"{what} of {n} character{'s' * (n > 1)}": lengths == n for n in np.unique(lengths).tolist()}
    return [(name, int(mask.sum()), int(wrong[mask].sum())) for name, mask in masks.items() if mask.any()]


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
