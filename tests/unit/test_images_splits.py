"""Splits, groups, labels and duplicates: nothing that repeats stands on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from regen.data.images import duplicates, labels, splits
from regen.data.images.splits import LEFT_OUT, TEST, TRAIN, VALIDATION
from regen.errors import UserError


def shas(n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2**63, n, dtype=np.uint64)


# -- by share


@pytest.mark.parametrize(("n", "fraction"), [(2, 0.5), (10, 0.1), (1000, 0.1), (1000, 0.37)])
def test_a_share_is_held_out(n: int, fraction: float) -> None:
    split = splits.by_share(np.arange(n), shas(n), fraction, 0, "t")
    assert (split == TEST).sum() == round(fraction * n)
    assert set(split) == {TRAIN, TEST}


def test_another_seed_holds_out_others_and_the_same_seed_the_same() -> None:
    drawn = [splits.by_share(np.arange(500), shas(500), 0.2, seed, "t") for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert 0.1 < ((drawn[0] == TEST) & (drawn[2] == TEST)).sum() / 100 < 0.35


def test_more_files_leave_the_others_nearly_where_they_are() -> None:
    few, more = (splits.by_share(np.arange(n), shas(1100)[:n], 0.2, 0, "t") for n in (1000, 1100))
    assert (few != more[:1000]).sum() < 30


def test_copies_stay_together() -> None:
    tied = np.arange(300) // 3 * 3
    split = splits.by_share(tied, shas(300), 0.3, 0, "t")
    assert (split.reshape(-1, 3) == split.reshape(-1, 3)[:, :1]).all()
    assert (split == TEST).sum() == 90


def test_a_set_too_large_to_hold_out_is_trained_on() -> None:
    tied = np.concatenate([np.zeros(40, int), np.arange(40, 100)])
    split = splits.by_share(tied, shas(100), 0.1, 0, "t")
    assert (split[:40] == TRAIN).all()
    assert (split == TEST).sum() == 10


@pytest.mark.parametrize(
    ("tied", "fraction", "told"),
    [
        (np.arange(4), 0.1, "t: 0.1 of 4 pictures holds out none; add pictures, or raise it"),
        (np.zeros(30, int), 0.1, "t: all 30 pictures are copies of one; expected at least two that differ"),
        (
            np.concatenate([np.zeros(990, int), np.arange(990, 1000)]),
            0.5,
            "990 of 1,000 pictures are one set of copies or chain of near-",
        ),
    ],
)
def test_too_few_to_hold_out_is_one_clear_line(tied: np.ndarray, fraction: float, told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        splits.by_share(tied, shas(len(tied)), fraction, 0, "t")


# -- by group


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_are_held_out(seed: int) -> None:
    groups = [f"person {i // 10}" for i in range(400)]
    split = splits.by_group(groups, 0.1, seed, "g").reshape(40, 10)
    assert (split == split[:, :1]).all()
    assert (split == TEST).sum() == 40


@pytest.mark.parametrize("sizes", [(50, 50), (1, 99), (30, 30, 40), (98, 1, 1)])
def test_at_least_one_group_is_held_out_and_never_all(sizes: tuple[int, ...]) -> None:
    groups = [f"{number}" for number, size in enumerate(sizes) for _ in range(size)]
    for fraction in (0.01, 0.5, 0.99):
        assert set(splits.by_group(groups, fraction, 0, "g")) == {TRAIN, TEST}


def test_one_group_alone_is_refused() -> None:
    with pytest.raises(UserError, match=r"g: all 5 pictures are of one group, 'x'; expected at least two"):
        splits.by_group(["x"] * 5, 0.5, 0, "g")


def test_a_group_is_the_folder_or_what_the_expression_finds() -> None:
    names = ["s1/a/1.png", "s1/b/2.png", "s2/a/3.png"]
    assert splits.groups(names, "parent", "g") == ["s1/a", "s1/b", "s2/a"]
    assert splits.groups(names, r"^([^/]+)/", "g") == ["s1", "s1", "s2"]
    assert splits.groups(["rembrandt_01.jpg", "hals_7.jpg"], r"([a-z]+)_\d", "g") == ["rembrandt", "hals"]
    with pytest.raises(UserError, match=re.escape("g: '(x)_' finds nothing in 2 of 3 names (a.png)")):
        splits.groups(["a.png", "x_1.png", "b.png"], "(x)_", "g")


# -- as given, and what would stand on two sides


def test_the_folders_train_and_test_are_the_split() -> None:
    names = ["Train/a.png", "test/b.png", "val/c.png", "training/d/e.png"]
    assert splits.as_given(names, "t").tolist() == [TRAIN, TEST, VALIDATION, TRAIN]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["train/a.png", "x/b.png", "c.png"], "where 2 of 3 pictures do not lie (x/b.png); set a share, such as 0.1"),
        (["train/a.png", "val/b.png"], "test/ is missing; set a share"),
        (["test/a.png"], "train/ is missing; set a share"),
    ],
)
def test_other_folders_are_refused(names: list[str], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        splits.as_given(names, "t")


def test_a_copy_on_another_side_is_left_out() -> None:
    split = np.array([TRAIN, TEST, TEST, VALIDATION, TEST, TRAIN], np.int8)
    tied = np.array([0, 0, 2, 3, 3, 5])
    assert splits.apart(split, tied, "t").tolist() == [TRAIN, LEFT_OUT, TEST, VALIDATION, LEFT_OUT, TRAIN]


def test_a_test_split_of_copies_alone_is_refused() -> None:
    with pytest.raises(UserError, match="t: every picture that is held out is a copy of one that is trained on"):
        splits.apart(np.array([TRAIN, TRAIN, TEST, TEST], np.int8), np.array([0, 1, 0, 1]), "t")


# -- duplicates


def test_copies_are_found_by_all_their_bits() -> None:
    digests = np.array([[1, 2], [1, 3], [1, 2], [4, 2], [1, 3], [9, 9]], np.uint64)
    assert duplicates.copies(digests).tolist() == [0, 1, 0, 3, 1, 5]


def chains(hashes: np.ndarray) -> np.ndarray:
    """The same by comparing everything with everything."""
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= duplicates.NEAR
    _, chain = connected_components(coo_array(apart), directed=False)
    return np.array([np.flatnonzero(chain == number)[0] for number in chain])


def flipped(value: int, bits: list[int]) -> int:
    return value ^ sum(1 << bit for bit in bits)


@pytest.mark.parametrize("seed", range(6))
def test_near_duplicates_are_those_that_comparing_all_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = [int(value) for value in rng.integers(0, 2**63, 150)]
    for start in list(hashes):
        hashes.append(flipped(start, rng.permutation(64)[: rng.integers(0, 8)].tolist()))
    found = np.array(hashes, np.uint64)[rng.permutation(len(hashes))]
    np.testing.assert_array_equal(duplicates.near(found), chains(found))


def test_pairs_that_are_joined_a_few_at_a_time_make_the_same_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 12, 400).astype(np.uint64)  # many within four bits of each other
    expected = duplicates.near(hashes)
    monkeypatch.setattr(duplicates, "HELD", 10)
    assert max(len(pairs) for pairs in duplicates._pairs(np.unique(hashes), duplicates._masks()[-1])) < 400
    np.testing.assert_array_equal(duplicates.near(hashes), expected)


@pytest.mark.parametrize("distance", range(7))
def test_four_bits_apart_is_near_wherever_they_are(distance: int) -> None:
    rng = np.random.default_rng(distance)
    for _ in range(200):
        first = int(rng.integers(0, 2**63))
        pair = np.array([first, flipped(first, rng.permutation(64)[:distance].tolist())], np.uint64)
        assert (duplicates.near(pair)[1] == 0) == (distance <= 4)


def test_pictures_that_are_all_alike_cost_no_square() -> None:
    counted = []
    hashes = (np.arange(40_000, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(1 << 22)  # 42 equal bits: full bands
    real = np.bitwise_count

    class Counted:
        def __call__(self, x: np.ndarray) -> np.ndarray:
            counted.append(x.size)
            return real(x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "bitwise_count", Counted())
        duplicates.near(hashes)
    assert sum(counted) <= 15 * duplicates.NEXT * len(hashes)
    assert len(duplicates.near(np.zeros(100_000, np.uint64))) == 100_000


# -- labels


def test_sub_folders_are_classes() -> None:
    values, classes = labels.by_folder(["dog/1.png", "cat/a/2.png", "train/cat/3.png", "test/dog/4.png"], "l")
    assert classes == ["cat", "dog"]
    assert values.tolist() == [1, 0, 0, 1]
    with pytest.raises(UserError, match=re.escape("l: folders are classes, but 2 of 3 pictures lie in none (b.png)")):
        labels.by_folder(["a/1.png", "b.png", "train/c.png"], "l")


@pytest.mark.parametrize(
    ("names", "are"),
    [
        (["a/1", "a/2", "b/1", "b/2"], True),
        (["a/1", "a/2", "b/1", "2"], False),  # one beside the folders
        (["a/1", "a/2", "a/3"], False),  # one class
        (["a/1", "b/1", "c/1"], False),  # a folder for each
        (["train/1", "train/2", "test/1", "test/2"], False),  # splits, and no classes
    ],
)
def test_folders_look_like_classes_or_not(names: list[str], are: bool) -> None:
    assert labels.are_classes(names) == are


def test_the_folder_that_holds_all_is_no_class() -> None:
    assert labels.common(["x/y/a/1", "x/y/b/2", "x/y/3"]) == "x/y/"
    assert labels.common(["xa/1", "xb/2"]) == ""
    assert labels.common(["1", "2"]) == labels.common([]) == ""


NAMES = ["in/a.png", "in/b.png", "in/c.png"]


def table(text: str | bytes, names: list[str] = NAMES) -> tuple[np.ndarray, list[str]]:
    content = text if isinstance(text, bytes) else text.encode()
    return labels.from_table(content, "in/", {*NAMES, "in/bad.png"}, names, "labels.csv")


def test_a_table_gives_classes() -> None:
    for heading in ("label", "class"):
        values, classes = table(f"file,{heading}\nb.png,dog\na.png, cat\nbad.png,cow\nc.png,dog\n")
        assert classes == ["cat", "dog"]  # of the pictures that there are
        assert values.tolist() == [0, 1, 1]
        assert values.dtype == np.int64


def test_a_table_gives_attributes() -> None:
    values, names = table(b"\xef\xbb\xbffile,hat,glasses\r\na.png,0,1\r\nb.png,1,1\r\n\r\nc.png,0,0\r\n")
    assert names == ["hat", "glasses"]
    assert values.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert values.dtype == np.uint8
    assert table("file,hat\na.png,1\nb.png,0\nc.png,0\n")[0].shape == (3, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,label\na.png,x\nb.png,y\n", ["labels.csv: no row for in/c.png"]),
        ("file,label\n", ["labels.csv: no row for in/a.png, in/b.png, in/c.png"]),
        (
            "file,label\na.png,x\nb.png,x\nc.png,x\nd.png,y\n",
            ["labels.csv: line 5: unknown file 'd.png'; expected one that lies "],
        ),
        ("file,label\na.png,x\nb.png,x\nc.png,x\na.png,y\n", ["labels.csv: line 5: 'a.png' a second time (first in line 2)"]),
        ("file,label\na.png,\nb.png,x\nc.png,x\n", ["labels.csv: line 2: label: expected a name, got ''"]),
        ("file,label\na.png,x,y\nb.png\nc.png,x\n", ["line 2: 3 columns, expected 2", "line 3: 1 columns, expected 2"]),
        (
            "file,hat\na.png,yes\nb.png,0\nc.png,2\n",
            ["line 2: hat: expected 0 or 1, got 'yes'", "line 4: hat: expected 0 or 1, got '2'"],
        ),
        (
            "name,label\na.png,x\n",
            ["labels.csv: line 1: expected `file,label`, or `file,` and names of attributes, all different; got"],
        ),
        ("", ["labels.csv: line 1: expected"]),
        ("file\na.png\n", ["labels.csv: line 1: expected"]),
        ("file,hat,hat\n", ["labels.csv: line 1: expected"]),
        ("file,,hat\n", ["labels.csv: line 1: expected"]),
        (b"file,label\na.png,caf\xe9\n", ["labels.csv: not UTF-8; expected a CSV table in UTF-8"]),
        ('file,label\n"a.png,x\n', ["labels.csv: no CSV table (unexpected end of data)"]),
    ],
)
def test_a_wrong_table_is_told_line_by_line(text: str | bytes, told: list[str]) -> None:
    with pytest.raises(UserError) as error:
        table(text)
    lines = str(error.value).splitlines()
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert part in line


def test_many_mistakes_are_cut() -> None:
    with pytest.raises(UserError) as error:
        table("file,label\n" + "".join(f"{number}.png,x\n" for number in range(90)))
    lines = str(error.value).splitlines()
    assert len(lines) == labels.SHOWN + 2
    assert lines[-2] == "labels.csv: ... and 70 more"


def test_the_draw_is_in_the_order_of_keys() -> None:
    held: Callable[[int], np.ndarray] = lambda wanted: splits._held_out([5, 3, 9, 1], np.array([2, 2, 2, 2]), wanted)  # noqa: E731
    assert [np.flatnonzero(held(wanted)).tolist() for wanted in (2, 4, 6, 8)] == [[3], [1, 3], [0, 1, 3], [0, 1, 3]]
    assert all(set(np.flatnonzero(held(a))) <= set(np.flatnonzero(held(b))) for a, b in pairwise(range(2, 9)))
