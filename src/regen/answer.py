"""Answer a typed question of arithmetic with a trained model: `python -m regen.answer "81+24"`.

A model that answers in text prints its answer; one that draws writes a picture. A model that reads handwriting is shown the query
in unseen digits, and the picture shows them beside the answer.

    from regen.answer import answer
    answer("81+24").text  # "105"
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regen import families, paths
from regen.blocks import suggestion
from regen.data import arrays
from regen.data.loaders.arithmetic import Handwriting
from regen.data.sets import arithmetic
from regen.errors import UserError, reported
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
    folder = Path(model) if Path(model).is_dir() else paths.model(str(model))
    if folder.is_file():
        raise UserError(f"{folder}: no model; name a model of the family seq2seq")
    if not folder.exists():
        found = [path.parent.name for path in folder.parent.glob("*/model.json")]
        near = suggestion(folder.name, found) if found else ""
        raise UserError(f"{folder}: no such model{near}; a key of params.yaml is trained with `dvc repro train@{folder.name}`")
    trained: Any = families.load(folder)
    if trained.config.family != "seq2seq":
        raise UserError(f"{folder}: a {trained.config.family} answers no queries; name a model of the family seq2seq")
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


def main() -> None:
    """Answer the query of the command line."""
    parser = argparse.ArgumentParser(prog="python -m regen.answer", description="Answer a typed question of arithmetic.")
    parser.add_argument("query", help="for example 81+24")
    parser.add_argument("--model", default=DEFAULT, help="key or folder of a trained model (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("answer.png"), help="picture, where images are read or drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the handwriting")
    options = parser.parse_args()
    if options.out.suffix != ".png":
        raise UserError(f"--out {options.out}: expected a name that ends in .png")
    given = answer(options.query, options.model, options.seed)
    drawn = given.drawn is not None or given.shown is not None
    if drawn:
        try:
            picture(given, options.out)
        except OSError as error:
            raise UserError(f"--out {options.out}: {error.strerror or error}") from None
    print(f"{given.query} -> {given.text}" + (f"  ({options.out})" if drawn else ""))


if __name__ == "__main__":
    with reported():
        main()
