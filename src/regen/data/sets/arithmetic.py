"""Questions of arithmetic, `81+24` -> `105`, as text; and the handwriting that they can be written in.

Every pair of operands i, j in 0 .. 10^n - 1 with every operator. Query and answer are padded with spaces on the right. Nothing
is written down as an image: a model that reads or draws gathers its glyphs by index from the digits kept here, so
that every epoch sees new handwriting. Training queries are written with the digits of the training split and test queries
with those of the test split, operators likewise, so no stroke of a test query was ever seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, field_validator

from regen import blocks
from regen.blocks import Block
from regen.data import arrays
from regen.errors import UserError
from regen.seeding import numpy_generator

DIGITS = "0123456789"
OPERATORS = "+-*"
LOADER = "arithmetic"
VARIANTS = 50  # drawings of each operator in each split
MOST = 4_000_000  # queries that are listed before a part of them is drawn
OPERATIONS = {"+": np.add, "-": np.subtract, "*": np.multiply}


class Config(Block):
    """A block of `queries` in params.yaml."""

    digits: str  # data set of the handwritten digits
    operators: tuple[Literal["+", "-", "*"], ...] = Field(("+", "-"), min_length=1, strict=False)
    operand_digits: int = Field(2, ge=1, le=4)  # operands from 0 to 10^this - 1
    answer_length: NonNegativeInt = 0  # characters of a padded answer; 0 = as many as the longest needs
    test_fraction: float = Field(0.1, gt=0, lt=1)
    examples: NonNegativeInt = 0  # keep only so many queries, drawn at random; 0 = all

    @field_validator("operators")
    @classmethod
    def _once(cls, operators: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(operators)) < len(operators):
            raise ValueError("different operators")
        return tuple(sorted(operators, key=OPERATORS.index))


def config(block: object, where: str) -> Config:
    """Return a block of `queries` as a `Config`.

    Raises:
        UserError: unknown keys, wrong types or values out of range, one line each.
    """
    return blocks.parse(Config, block, where)


def vocabulary(config: Config) -> str:
    """Return the characters of queries and answers; a character's code is its place here. `0123456789+- ` by default."""
    return DIGITS + "".join(config.operators) + " "


def encode(texts: Sequence[str], vocabulary: str, length: int, what: str = "query") -> np.ndarray:
    """Return the codes uint8 (N, length) of texts, each padded with spaces on the right.

    Raises:
        UserError: a character outside the vocabulary, or a text that is too long.
    """
    codes = {character: code for code, character in enumerate(vocabulary)}
    for text in texts:
        if odd := sorted(set(text) - codes.keys()):
            raise UserError(f"{what} {text!r}: unknown character {odd[0]!r}; expected only the characters {vocabulary!r}")
        if len(text) > length:
            raise UserError(f"{what} {text!r}: {len(text)} characters, expected {length} at most")
    padded = "".join(text.ljust(length) for text in texts).encode("ascii")
    table = np.zeros(128, np.uint8)
    for character, code in codes.items():
        table[ord(character)] = code
    encoded: np.ndarray = table[np.frombuffer(padded, np.uint8)].reshape(len(texts), length)
    return encoded


def well_formed(text: str, operators: str) -> bool:
    """Return whether a text is two numbers with an operator between them."""
    return re.fullmatch(rf"\d+[{re.escape(operators)}]\d+", text) is not None


def prepare(config: Config, digits: Path, seed: int, where: str = "queries") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the split queries with their handwriting, and what statistics.json says of them.

    * `train`, `test`: codes of the queries, uint8 (N, query length), in random order; `train_answers`, `test_answers` likewise.
    * `digits_train`, `digits_test`: images uint8 (M, 28, 28, 1) of the digits with `..._labels`, as in the digits' own data set.
    * `operators_train`, `operators_test`: uint8 (operators, 50, 28, 28).

    Raises:
        UserError: an answer that does not fit, too many queries to list, or a digit without an image.
    """
    queries, answers = questions(config, seed, where)
    symbols = vocabulary(config)
    length = config.answer_length or max(map(len, answers))
    if long := [f"{query} = {answer}" for query, answer in zip(queries, answers, strict=True) if len(answer) > length]:
        raise UserError(
            f"{where}.answer_length: {long[0]} does not fit into {length} characters; "
            f"set it to {max(map(len, answers))}, or to 0 for what is needed"
        )
    x = encode(queries, symbols, 2 * config.operand_digits + 1)
    y = encode(answers, symbols, length, "answer")
    tested = max(1, round(config.test_fraction * len(x)))
    if tested == len(x):
        raise UserError(f"{where}.examples: {len(x)} queries leave none to train on; take more")
    made = {"test": x[:tested], "test_answers": y[:tested], "train": x[tested:], "train_answers": y[tested:]}
    handwriting = written(config, digits, seed)
    shape = [x.shape[1], y.shape[1], *handwriting["operators_train"].shape[2:]]
    named = arrays.statistics(digits)["labels"]
    return {**made, **handwriting}, {
        "shape": shape, "labels": list(symbols), "digit_labels": named, "operators": list(config.operators),
    }  # fmt: skip


def questions(config: Config, seed: int, where: str = "queries") -> tuple[list[str], list[str]]:
    """Return queries and their answers as texts, in random order."""
    n = 10**config.operand_digits
    total = n * n * len(config.operators)
    if (config.examples or total) > MOST:
        raise UserError(f"{where}.examples: expected 1 to {MOST:,} of the {total:,} queries, got {config.examples or 'all'}")
    count = min(config.examples, total) if config.examples else total
    chosen = numpy_generator(seed, "queries").choice(total, count, replace=False)
    kind, pair = np.divmod(chosen, n * n)
    i, j = np.divmod(pair, n)
    results = np.empty(count, np.int64)
    for place, operator in enumerate(config.operators):
        results[kind == place] = OPERATIONS[operator](i[kind == place], j[kind == place])
    signs = [config.operators[place] for place in kind]
    queries = [f"{a}{sign}{b}" for a, sign, b in zip(i.tolist(), signs, j.tolist(), strict=True)]
    return queries, [str(result) for result in results.tolist()]


def written(config: Config, digits: Path, seed: int) -> dict[str, np.ndarray]:
    """Return the digits of both splits with their labels, and the drawn operators.

    Raises:
        UserError: the digits' data set lacks one of the ten digits in a split, or is no set of digits.
    """
    names = arrays.statistics(digits).get("labels", [])
    found: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        content = arrays.load(digits, split)
        if "labels" not in content or content["x"].ndim != 4 or content["x"].shape[3] != 1:
            raise UserError(f"{digits}: expected grey images with labels, one digit each; name the data set of the digits")
        if lacking := sorted(set(DIGITS) - {names[label] for label in np.unique(content["labels"])}):
            raise UserError(
                f"{digits}: the {split} split has no example of the digit {lacking[0]}; "
                f"keep all ten digits in datasets.{digits.name}, and enough examples"
            )
        found[f"digits_{split}"], found[f"digits_{split}_labels"] = content["x"], content["labels"]
        draws = numpy_generator(seed, "operators", split)
        found[f"operators_{split}"] = np.stack([operator(sign, VARIANTS, draws) for sign in config.operators])
    return found


def operator(sign: str, count: int, draws: np.random.Generator, side: int = 28) -> np.ndarray:
    """Draw an operator `count` times: uint8 (count, side, side).

    `-`: a stroke two pixels thick from x in [6, 10) to x in [18, 22), with y in [12, 16) at each end. `+` adds the transposed
    stroke. `*`: two such strokes along the diagonals.
    """
    low, high = draws.integers(6, 10, count), draws.integers(18, 22, count)
    start, end = draws.integers(12, 16, count), draws.integers(12, 16, count)
    if sign == "*":
        falling = _strokes(low, low + start - 14, high, high + end - 14, side)
        saltire: np.ndarray = np.maximum(falling, falling[:, :, ::-1])
        return saltire
    level = _strokes(low, start, high, end, side)
    crossed: np.ndarray = np.maximum(level, level.transpose(0, 2, 1))
    return crossed if sign == "+" else level


def _strokes(x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray, side: int) -> np.ndarray:
    """Lines of thickness 2 with soft edges: full within half a pixel of the segment's middle line, none beyond one and a half."""
    y, x = np.mgrid[:side, :side].astype(float)
    x0, y0, x1, y1 = (value.astype(float)[:, None, None] for value in (x0, y0, x1, y1))
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
    along = along.clip(0, 1)
    distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    drawn: np.ndarray = ((1.5 - distance).clip(0, 1) * 255).round().astype(np.uint8)
    return drawn
