"""Answer a typed question of arithmetic with a trained model: `regen answer "81+24"`.

A model that answers in text says its answer; one that draws draws it. A model that reads handwriting is shown the query in unseen
digits.

    from regen.answer import answer
    answer("81+24").text  # "105"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regen import families, paths
from regen import trained as models
from regen.data import arrays
from regen.data.loaders.arithmetic import Handwriting
from regen.data.sets import arithmetic
from regen.errors import UserError
from regen.seeding import generator

DEFAULT = "arithmetic_text_to_text"


@dataclass(frozen=True)
class Answer:
    """A query with its answer.

    Attributes:
        query, text: in words; of a drawn answer, the words that its classifier reads.
        drawn: images of the answer (U, H, W), by a model that draws.
        shown: images of the query (T, H, W), where the model reads handwriting.
    """

    query: str
    text: str
    drawn: Tensor | None = None
    shown: Tensor | None = None


def answer(query: str, model: str | Path = DEFAULT, seed: int = 0) -> Answer:
    """Answer one query with the trained model of a key or in a folder.

    Args:
        query: `81+24`; spaces in it do not matter.
        model: key of a model of the family seq2seq, or the folder of a trained one.
        seed: of the handwriting.

    Raises:
        UserError: unknown characters, too long a query, no query at all, a model that answers none, or data of another one.
    """
    folder, loaded = models.load(model)
    trained: Any = loaded
    if trained.config.family != "seq2seq":
        raise UserError(f"{folder}: a {trained.config.family} answers no queries; name a model of the family seq2seq")
    if any(len(label) != 1 for label in trained.data.labels):
        raise UserError(f"{folder}: labels of several characters; a vocabulary has one each")
    text = re.sub("(?<![0-9])0+(?=[0-9])", "", "".join(query.split()))  # 07 is 7: no query of the training has more zeros
    vocabulary = "".join(trained.data.labels)
    operators = "".join(symbol for symbol in vocabulary if not symbol.isdigit() and symbol != " ")
    tokens = torch.from_numpy(arithmetic.encode([text], vocabulary, trained.query_length)).long()
    if not arithmetic.well_formed(text, operators):
        raise UserError(f"query {query!r}: expected two numbers with one of {' '.join(operators)} between them, as in 81+24")
    most = 10 ** ((trained.query_length - 1) // 2) - 1
    if large := [number for number in re.findall(r"\d+", text) if int(number) > most]:
        raise UserError(
            f"query {query!r}: {large[0]} is too large; expected numbers from 0 to {most}, which {folder} was trained on"
        )
    x, shown = tokens, None
    data = paths.prepared(trained.data.dataset)
    if trained.config.source == "image":
        if arrays.statistics(data)["labels"] != list(trained.data.labels):
            raise UserError(
                f"{data}: has other characters than {folder} was trained on; train it with `dvc repro train@{folder.name}`"
            )
        writing = Handwriting(data, "test")
        shown = writing.draw(tokens, generator(seed, "query"))[0]
        x = shown[None]
    if trained.config.target == "image":
        drawn = trained.drawings(x, seed)
        return Answer(text, _read(trained, drawn), drawn[0], shown)
    return Answer(text, trained.texts(trained.answer_logits(x).argmax(2))[0], shown=shown)


def _read(trained: Any, drawn: Tensor) -> str:
    """Return what the model's classifier reads in its drawing; nothing where it has no classifier."""
    if trained.config.classifier == "none":
        return ""
    from regen.evaluation.arithmetic.answers import read_tokens

    classifier = families.load(paths.model(trained.config.classifier))
    text: str = trained.texts(read_tokens(classifier, trained.data.labels, drawn))[0]
    return text


def picture(given: Answer, out: Path) -> None:
    """Write the images of an answer, and of its query where that was one, as a PNG."""
    from regen.drawing import collage
    from regen.evaluation.arithmetic import plots

    parts = [part for part in (given.shown, given.drawn) if part is not None]
    strips = [plots.side_by_side(part[None])[0] for part in parts]  # (1, H, n W) each
    gap = torch.full((1, strips[0].shape[1], 10), 246 / 255)
    strip = torch.cat(strips if len(strips) == 1 else [strips[0], gap, strips[1]], 2)
    collage.save(collage.grid(strip[None], 1, [f"{given.query} = {given.text}".rstrip(" =")], enlarge=4), out)
