"""Which pictures no model sees: a share, whole groups, or those that the data come with. No picture stands on two sides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from regen.errors import UserError
from regen.seeding import derive_seed

TRAIN, VALIDATION, TEST, LEFT_OUT = 0, 1, 2, -1
NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
FOLDERS = {  # names of top-level folders that are splits, and no classes
    "train": TRAIN, "training": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "test": TEST,
    "testing": TEST,
}  # fmt: skip


def by_share(tied: np.ndarray, shas: np.ndarray, fraction: float, seed: int, where: str) -> np.ndarray:
    """Return the split of each of n pictures, int8 (n,): about `fraction` of them are held out, drawn by `seed`.

    Args:
        tied: (n,) number of each picture's set: copies of each other, which stay together.
        shas: (n,) 64 bits of each file's SHA-256. What is drawn hangs on these alone, so that another size or a few more
            files leave the others where they are.
        fraction: share that is held out.
        seed: of the draw.
        where: the parameter, for messages.

    Raises:
        UserError: too few pictures to hold any out.
    """
    sets, place, sizes = np.unique(tied, return_inverse=True, return_counts=True)
    keys = np.full(len(sets), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(keys, place, shas)
    wanted = round(fraction * len(tied))
    if not wanted:
        raise UserError(f"{where}: {fraction:g} of {_pictures(len(tied))} holds out none; add pictures, or raise it")
    if len(sets) == 1:
        raise UserError(f"{where}: all {_pictures(len(tied))} are copies of one; expected at least two that differ")
    held = _held_out([derive_seed(seed, "images", "test split", int(key)) for key in keys], sizes, wanted)
    if sizes[held].sum() < wanted / 2 and sizes.max() > len(tied) / 2:
        raise UserError(
            f"{where}: {sizes.max():,} of {_pictures(len(tied))} are one set of copies or chain of near-copies, which leaves too "
            "few to hold out; remove copies, or set near_duplicates: listed where it is together"
        )
    return np.where(held[place], TEST, TRAIN).astype(np.int8)


def by_group(groups: Sequence[str], fraction: float, seed: int, where: str) -> np.ndarray:
    """Return the split of each of n pictures, int8 (n,): whole groups are held out, about `fraction` of the pictures.

    Raises:
        UserError: there is one group alone.
    """
    numbers = {name: number for number, name in enumerate(sorted(set(groups)))}
    if len(numbers) == 1:
        raise UserError(f"{where}: all {_pictures(len(groups))} are of one group, {groups[0]!r}; expected at least two")
    place = np.array([numbers[name] for name in groups])
    wanted = round(fraction * len(groups))
    keys = [derive_seed(seed, "images", "test groups", name) for name in numbers]
    held = _held_out(keys, np.bincount(place), wanted)
    return np.where(held[place], TEST, TRAIN).astype(np.int8)


def as_given(names: Sequence[str], where: str) -> np.ndarray:
    """Return the split of each of n pictures, int8 (n,), by the top-level folder that it lies in: train, test, validation.

    Raises:
        UserError: a picture lies in another folder, or there is no train or test.
    """
    found = np.array([FOLDERS.get(name.partition("/")[0].lower(), LEFT_OUT) for name in names], np.int8)
    strangers = [name for name, split in zip(names, found, strict=True) if split == LEFT_OUT]
    if strangers:
        raise UserError(
            f"{where}: 0 takes the split from the folders train/, test/ and perhaps validation/, where {len(strangers):,} of "
            f"{_pictures(len(names))} do not lie ({strangers[0]}); set a share, such as 0.1"
        )
    for split in (TRAIN, TEST):
        if split not in found:
            raise UserError(
                f"{where}: 0 takes the split from the folders train/ and test/: {NAMES[split]}/ is missing; set a share"
            )
    return found


def apart(split: np.ndarray, tied: np.ndarray, where: str) -> np.ndarray:
    """Leave out what would stand on two sides: of each set of copies, those outside the first split that has any. int8 (n,).

    Raises:
        UserError: that leaves nothing to test on.
    """
    first = np.full(int(tied.max()) + 1, len(NAMES), np.int8)
    np.minimum.at(first, tied, split)
    left = np.where(split == first[tied], split, LEFT_OUT).astype(np.int8)
    if TEST not in left:
        raise UserError(
            f"{where}: every picture that is held out is a copy of one that is trained on; remove the copies, or change it"
        )
    return left


def groups(names: Sequence[str], rule: str, where: str) -> list[str]:
    """Return each picture's group: `parent`, the folder that it lies in, or what a regular expression's one group matches.

    Raises:
        UserError: the expression finds nothing in some name.
    """
    if rule == "parent":
        return [str(PurePosixPath(name).parent) for name in names]
    pattern = re.compile(rule)
    found = [match.group(1) if (match := pattern.search(name)) else None for name in names]
    strangers = [name for name, group in zip(names, found, strict=True) if group is None]
    if strangers:
        raise UserError(f"{where}: {rule!r} finds nothing in {len(strangers):,} of {len(names):,} names ({strangers[0]})")
    return [group or "" for group in found]


def _held_out(keys: Sequence[int], sizes: np.ndarray, wanted: int) -> np.ndarray:
    """Take sets in the order of their keys as long as they fit into `wanted`; at least one, never all. bool (sets,)."""
    held, taken, count = np.zeros(len(sizes), bool), 0, 0
    for number in np.argsort(np.array(keys, np.int64), kind="stable"):
        if count + sizes[number] <= wanted and taken < len(sizes) - 1:
            held[number] = True
            taken, count = taken + 1, count + sizes[number]
        if count == wanted:
            break
    if not taken:
        held[np.argmin(sizes)] = True
    return held


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' * (count != 1)}"
