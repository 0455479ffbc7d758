"""Questions of arithmetic: what is asked, how it is written, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from regen.data import arrays
from regen.data.sets import arithmetic
from regen.errors import UserError

WHERE = "params.yaml: queries.arithmetic"


def config(**block: object) -> arithmetic.Config:
    return arithmetic.config({"digits": "mnist", **block}, WHERE)


def mnist(folder: Path, train: str = "0123456789" * 3, test: str = "0123456789" * 2) -> Path:
    """A data set of digits whose images have the level 10 * digit + place."""
    made = {}
    for split, digits in (("train", train), ("test", test)):
        labels = np.array([int(digit) for digit in digits])
        made[split] = np.broadcast_to((10 * labels + np.arange(len(labels)) % 10)[:, None, None, None], (len(labels), 28, 28, 1))
        made[f"{split}_labels"] = labels
    made = {name: array.astype(np.int64 if "labels" in name else np.uint8) for name, array in made.items()}
    arrays.write(folder / "mnist", made, {"shape": [1, 28, 28], "labels": list("0123456789")})
    return folder / "mnist"


def texts(tokens: np.ndarray, symbols: str) -> list[str]:
    return ["".join(symbols[token] for token in row) for row in tokens]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return arithmetic.prepare(config(), mnist(tmp_path_factory.mktemp("data")), seed=0)[0]


def test_every_pair_of_operands_with_either_operator_is_asked_once(default):
    asked = texts(np.concatenate([default["train"], default["test"]]), "0123456789+- ")
    assert sorted(asked) == sorted(f"{i}{sign}{j}".ljust(5) for i in range(100) for j in range(100) for sign in "+-")


def test_every_answer_is_what_python_says(default):
    for split in ("train", "test"):
        asked = texts(default[split], "0123456789+- ")
        answers = texts(default[f"{split}_answers"], "0123456789+- ")
        for query, answer in zip(asked, answers, strict=True):
            left, sign, right = query.strip().partition("+" if "+" in query else "-")
            assert answer == str(int(left) + (int(right) if sign == "+" else -int(right))).ljust(3)


def test_the_answers_have_the_known_values_signs_and_lengths(default):
    answers = texts(np.concatenate([default["train_answers"], default["test_answers"]]), "0123456789+- ")
    values = [int(answer) for answer in answers]
    assert (min(values), max(values), len(set(values))) == (-99, 198, 298)
    assert np.mean([value < 0 for value in values]) == 0.2475
    assert Counter(len(answer.strip()) for answer in answers) == {1: 1010, 2: 9945, 3: 9045}


def test_a_tenth_is_tested_and_none_of_it_is_trained_on(default):
    assert (len(default["train"]), len(default["test"])) == (18_000, 2_000)
    assert not set(map(bytes, default["train"])) & set(map(bytes, default["test"]))


def test_the_handwriting_of_either_split_is_that_split_s_own(tmp_path):
    folder = mnist(tmp_path)
    made, description = arithmetic.prepare(config(), folder, seed=0)
    for split in ("train", "test"):
        np.testing.assert_array_equal(made[f"digits_{split}"], arrays.load(folder, split)["x"])
        np.testing.assert_array_equal(made[f"digits_{split}_labels"], arrays.load(folder, split)["labels"])
    assert not np.array_equal(made["operators_train"], made["operators_test"])
    assert description["shape"] == [5, 3, 28, 28]
    assert "".join(description["labels"]) == "0123456789+- "


def test_the_same_seed_gives_the_same_arrays_and_another_seed_another_split(tmp_path):
    folder = mnist(tmp_path)
    one, again, other = (arithmetic.prepare(config(), folder, seed)[0] for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["test"], other["test"])


def test_an_operator_is_drawn_where_its_strokes_are():
    drawn = {sign: arithmetic.operator(sign, 50, np.random.default_rng(0)).astype(float) for sign in "+-*"}
    for images in drawn.values():
        assert images.shape == (50, 28, 28)
        assert (images.max((1, 2)) == 255).all()
        assert len(np.unique(images.reshape(50, -1), axis=0)) > 25
    outside = drawn["-"].copy()
    outside[:, 11:18, 5:24] = 0
    assert outside.sum() == 0  # y from 12 to 15 at the ends, x from 6 to 21, a pixel and a half of ink around them
    assert (drawn["-"].sum(1) > 0)[:, 10:18].all()  # from one end to the other
    np.testing.assert_array_equal(drawn["+"], drawn["+"].transpose(0, 2, 1))  # the transposed stroke is there too
    np.testing.assert_array_equal(drawn["*"], drawn["*"][:, :, ::-1])


def test_a_part_of_the_queries_is_drawn_at_random():
    asked, answers = arithmetic.questions(config(examples=300), seed=0)
    assert len(set(asked)) == 300
    assert 100 < sum("+" in query for query in asked) < 200
    assert all(eval(query) == int(answer) for query, answer in zip(map(decimal, asked), answers, strict=True))


def test_longer_operands_and_multiplication_are_a_param_away(tmp_path):
    block = config(operators=["*", "+"], operand_digits=3, examples=500)
    made, description = arithmetic.prepare(block, mnist(tmp_path), seed=0)
    assert "".join(description["labels"]) == "0123456789+* "
    asked = texts(np.concatenate([made["train"], made["test"]]), "0123456789+* ")
    answers = texts(np.concatenate([made["train_answers"], made["test_answers"]]), "0123456789+* ")
    assert description["shape"][0] == 7
    assert description["shape"][1] == max(len(answer.strip()) for answer in answers)
    assert max(len(query.strip()) for query in asked) == 7
    assert all(eval(decimal(query.strip())) == int(answer) for query, answer in zip(asked, answers, strict=True))


def decimal(query: str) -> str:
    """A query in Python, in which no number begins with a zero."""
    assert not any(part.startswith("0") and part != "0" for part in query.replace("+", "-").replace("*", "-").split("-"))
    return query


def test_tokens_are_places_in_the_vocabulary_padded_on_the_right():
    assert arithmetic.encode(["10-4", "6"], "0123456789+- ", 5).tolist() == [[1, 0, 11, 4, 12], [6, 12, 12, 12, 12]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2x3", "query '2x3': unknown character 'x'; expected only the characters '0123456789+- '"),
        ("٣+1", "unknown character '٣'"),
        ("100+24", "query '100+24': 6 characters, expected 5 at most"),
    ],
)
def test_what_cannot_be_written_is_refused(text, message):
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        arithmetic.encode([text], "0123456789+- ", 5)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"operand_digits": 0}, "operand_digits: expected greater than or equal to 1, got 0"),
        ({"operand_digits": 9}, "operand_digits: expected less than or equal to 4, got 9"),
        ({"operators": ["/"]}, r"operators.0: expected '\+', '-' or '\*', got '/'"),
        ({"operators": []}, "operators: "),
        ({"operators": ["+", "+"]}, "operators: expected different operators"),
        ({"test_fraction": 0.0}, "test_fraction: expected greater than 0, got 0.0"),
        ({"test_fraction": 1.0}, "test_fraction: expected less than 1, got 1.0"),
        ({"examples": -1}, "examples: "),
        ({"operators_": ["+"]}, r"operators_: unknown key \(did you mean operators\?\)"),
    ],
)
def test_a_wrong_block_is_refused_by_name(block, message):
    with pytest.raises(UserError, match=r"params.yaml: queries.arithmetic\." + message):
        config(**block)


def test_an_answer_that_would_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"queries.arithmetic.answer_length: .* = 1\d\d does not fit into 2 .* set it to 3"):
        arithmetic.prepare(config(operators=["+"], answer_length=2), mnist(tmp_path), 0, WHERE)


def test_more_queries_than_can_be_listed_are_refused():
    with pytest.raises(UserError, match=r"examples: expected 1 to 4,000,000 of the 200,000,000 queries, got all"):
        arithmetic.questions(config(operand_digits=4), 0)


def test_queries_that_are_all_tested_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"examples: 1 queries leave none to train on"):
        arithmetic.prepare(config(examples=1), mnist(tmp_path), 0)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_an_example_of_a_digit_is_refused(tmp_path, split):
    folder = mnist(tmp_path, **{split: "012345689"})
    with pytest.raises(UserError, match=f"mnist: the {split} split has no example of the digit 7; keep all ten digits"):
        arithmetic.prepare(config(), folder, 0)


def test_pictures_of_something_else_are_refused(tmp_path):
    colour = np.zeros((4, 24, 24, 3), np.uint8)
    arrays.write(tmp_path / "punks", {"train": colour, "test": colour}, {"shape": [3, 24, 24]})
    with pytest.raises(UserError, match="punks: expected grey images with labels"):
        arithmetic.prepare(config(digits="punks"), tmp_path / "punks", 0)
