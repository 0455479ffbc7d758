"""From an index to a prepared folder: pictures are decoded into chunks, divided into splits, and written as shards.

Memory holds a few chunks and some 300 bytes a picture; until the end the disk holds the pixels twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagehash
import numpy as np
import PIL

from regen import imports
from regen.data.images import chunks, duplicates, facts, index, labels, splits, writing
from regen.data.images.decoding import Form
from regen.data.images.index import Row
from regen.data.images.sources import Source
from regen.errors import UserError
from regen.seeding import derive_seed

TOLD = 20  # bad files that an error names


@dataclass(frozen=True)
class Division:
    """How pictures are divided and labelled.

    Attributes:
        test_fraction: share that is held out; 0 = as the folders' names say.
        group: "", `parent`, or a regular expression (`splits.groups`): whole groups are held out.
        labels: where they come from.
        together: whether near-duplicates stay on one side, as copies do.
        strict: whether a bad file is an error.
    """

    test_fraction: float
    group: str
    labels: Literal["auto", "none", "folders", "csv"]
    together: bool
    strict: bool


@dataclass(frozen=True)
class Order:
    """What is to be prepared.

    Attributes:
        raw: folder of the index.
        source: that was indexed.
        shown: the source as the user wrote it.
        where: the data set's block, for messages.
        form: what each picture becomes.
        division: into splits.
        examples: so many files of all, drawn at random; 0 = all.
        seed: of the draws.
    """

    raw: Path
    source: Source
    shown: str
    where: str
    form: Form
    division: Division
    examples: int
    seed: int


def prepare(order: Order, work: Path, folder: Path) -> dict[str, Any]:
    """Write shards, labels and images.csv into `folder`; return what statistics.json says of them.

    What is decoded is kept in `work`, and taken from there by a run that comes after a killed one.

    Raises:
        UserError: a file has changed or is gone, too few pictures, wrong groups or labels, bad files where they are errors.
    """
    taken = _drawn(order)
    remedy = f"run `dvc repro --force download@{order.raw.name}` to take it as it is now"
    summary = json.loads((order.raw / index.SUMMARY).read_text(encoding="utf-8"))
    count = min(summary["pictures"], order.examples or summary["pictures"])
    files = chunks.decode(_rows(order, taken), count, order.source, order.form, work / _signature(order), order.shown, remedy)
    found = chunks.gather(files)
    names, keys = list[str](), np.empty(len(found.rows) + len(found.bad), np.uint64)
    for number, row in enumerate(_rows(order, taken)):
        names.append(row.file)
        keys[number] = _key(row)
    _refuse_bad(order, names, found.bad)
    good = [names[row] for row in found.rows]
    same, near = duplicates.copies(found.digests), duplicates.near(found.hashes)
    split, groups = _divided(order, good, keys[found.rows], near if order.division.together else same)
    labelled, classes = _labelled(order, summary["labels"], good, names)
    writing.shards(folder, files, split, order.form.shape)
    if labelled is not None:
        writing.labels(folder, labelled, split)
    writing.table(folder, names, found, split, same, near)
    described = facts.of(names, found, split, same, near, groups) | {"other_files": summary["others"]}
    height, width, channels = order.form.shape
    return {"shape": [channels, height, width], **({"labels": classes} if classes else {}), **described}


def _signature(order: Order) -> str:
    """Return 16 hex digits that change with whatever changes a chunk: index, form, draw, code, decoders."""
    code = imports.digest(imports.code("regen.data.images.chunks"))
    versions = [PIL.__version__, imagehash.__version__, np.__version__]
    draw = [order.examples, order.seed if order.examples else 0]
    with (order.raw / index.FILE).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(json.dumps([digest, repr(order.form), draw, code, versions]).encode()).hexdigest()[:16]


def _key(row: Row) -> int:
    return int(row.sha256[:16] or "0", 16)


def _drawn(order: Order) -> np.ndarray | None:
    """Return for each row of the index whether it is among the examples; None for all."""
    if not order.examples:
        return None
    keys = [derive_seed(order.seed, "images", "examples", _key(row), row.file) for row in index.rows(order.raw)]
    taken = np.zeros(len(keys), bool)
    taken[np.argsort(np.array(keys), kind="stable")[: order.examples]] = True
    return taken


def _rows(order: Order, taken: np.ndarray | None) -> Iterator[Row]:
    for number, row in enumerate(index.rows(order.raw)):
        if taken is None or taken[number]:
            yield row


def _refuse_bad(order: Order, names: Sequence[str], bad: dict[int, str]) -> None:
    """Refuse bad files where they are errors, and what is left of a source where nothing can be learnt from it."""
    if bad and order.division.strict:
        told = [f"{order.shown}: {names[row]}: {reason}" for row, reason in list(bad.items())[:TOLD]]
        told += [f"{order.shown}: ... and {len(bad) - TOLD:,} more bad files"] * (len(bad) > TOLD)
        raise UserError("\n".join([*told, f"{order.where}.on_bad: error: mend or remove these files, or set on_bad: skip"]))
    good = len(names) - len(bad)
    if good < 2:
        kinds = ", ".join(f"{count:,} {reason}" for reason, count in facts.kinds(bad).items())
        raise UserError(
            f"{order.shown}: {'one picture' if good else 'no picture'} that can be used, of {len(names):,}"
            f"{f' (bad: {kinds})' if bad else ''}; expected at least two: one to train on, one to hold out"
        )


def _divided(order: Order, names: Sequence[str], keys: np.ndarray, tied: np.ndarray) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Return the split of each picture, and the groups of each split."""
    division, where = order.division, f"{order.where}.test_fraction"
    if not division.test_fraction:
        inner = len(labels.common(names))
        return splits.apart(splits.as_given([name[inner:] for name in names], where), tied, where), {}
    if not division.group:
        return splits.by_share(tied, keys, division.test_fraction, order.seed, where), {}
    groups = splits.groups(names, division.group, f"{order.where}.group")
    split = splits.by_group(groups, division.test_fraction, order.seed, f"{order.where}.group")
    members = {name: sorted({groups[i] for i in np.flatnonzero(split == side)}) for side, name in splits.NAMES.items()}
    return splits.apart(split, tied, f"{order.where}.group"), {name: found for name, found in members.items() if found}


def _labelled(order: Order, table: str, good: Sequence[str], names: Sequence[str]) -> tuple[np.ndarray | None, list[str]]:
    """Return the labels of the good pictures and their names; None and none where there are none. `table` is the CSV's place."""
    wanted = order.division.labels
    if wanted == "csv" and not table:
        raise UserError(f"{order.where}.labels: csv, but {order.shown} has no {index.LABELS}; write one, or set labels: auto")
    if wanted == "csv" or (wanted == "auto" and table):
        content, folder = (order.raw / index.LABELS).read_bytes(), table.removesuffix(index.LABELS)
        known = {row.file for row in index.rows(order.raw)} if order.examples else set(names)
        return labels.from_table(content, folder, known, good, f"{order.shown}/{table}")
    inner = len(labels.common(good))
    within = [name[inner:] for name in good]
    if wanted == "folders" or (wanted == "auto" and labels.are_classes(within)):
        return labels.by_folder(within, f"{order.where}.labels")
    return None, []
