"""Answers measured: against counting by hand, Kummer's formula, scikit-learn, and a classifier that reads by rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from regen.data import arrays
from regen.evaluation.arithmetic import answers, failures
from regen.evaluation.subject import Subject
from tests.conftest import build
from tests.unit.test_seq2seq import SMALL, prepare

SYMBOLS = "0123456789+- "


def codes(*texts):
    return torch.tensor([[SYMBOLS.index(c) for c in text] for text in texts])


def test_the_two_accuracies_count_characters_and_whole_answers():
    read, true = codes("105", "6  ", "-48", "17 "), codes("105", "6  ", "-49", "77 ")
    measures = answers.exact_measures(read, true)
    assert measures["character_accuracy"]["value"] == pytest.approx(10 / 12)
    assert measures["exact_accuracy"]["value"] == 0.5
    assert measures["exact_accuracy"]["error"] == pytest.approx(np.std([1, 1, 0, 0], ddof=1) / 2)


def test_cross_entropy_is_the_mean_negative_log_probability():
    logits, true = torch.randn(20, 3, 13), torch.randint(13, (20, 3))
    expected = -torch.distributions.Categorical(logits=logits).log_prob(true).mean()
    assert answers.named_measures(logits, true)["cross_entropy"]["value"] == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(("a", "b", "count"), [(17, 2, 0), (17, 5, 1), (99, 1, 2), (0, 0, 0), (5, 5, 1), (50, 50, 1)])
def test_carries_of_sums_known_by_heart(a, b, count):
    assert failures.carries(a, b) == count


def test_carries_are_kummer_s_number_for_every_pair():
    def digits(n):
        return sum(map(int, str(n)))

    for a in range(100):
        for b in range(100):
            assert failures.carries(a, b) == (digits(a) + digits(b) - digits(a + b)) / 9


def test_borrows_are_those_of_written_subtraction_for_every_pair():
    for a in range(100):
        for b in range(100):
            large, small = max(a, b), min(a, b)
            assert failures.borrows(a, b) == int(large % 10 < small % 10)  # the tens never borrow: large >= small


def test_each_query_counts_among_all_the_kinds_that_it_is_of():
    asked, true = ["58+67", "10-4", "4-52", "3-3", "3+4"], ["125", "6", "-48", "0", "7"]
    found = {kind: (count, wrong) for kind, count, wrong in failures.by_kind(asked, true, np.array([1, 0, 1, 0, 0], bool))}
    assert found == {
        "addition": (2, 1),
        "subtraction": (3, 1),
        "+ without carry": (1, 0),
        "+ with more carries": (1, 1),
        "- without borrow": (1, 0),
        "- with borrow": (2, 1),
        "negative answer": (1, 1),
        "answer zero": (1, 0),
        "positive answer": (3, 1),
        "query of 3 characters": (2, 0),
        "query of 4 characters": (2, 1),
        "query of 5 characters": (1, 1),
        "answer of 1 character": (3, 0),
        "answer of 3 characters": (2, 2),
    }


class Classifier:
    """Reads the level of the top left pixel: 0.05 is a 0, 0.15 a 1, and so on."""

    device = torch.device("cpu")

    def logits(self, x):
        return torch.nn.functional.one_hot((x[:, 0, 0, 0] * 10).long().clamp(0, 9), 10).float()

    def features(self, x):
        return x.flatten(1)[:, :4]


def glyph(symbol):
    image = torch.zeros(28, 28)
    if symbol == "-":
        image[13:15, 6:22] = 1.0
    elif symbol != " ":
        image[4:24] = 1.0
        image[0, 0] = int(symbol) / 10 + 0.05
    return image


def test_signs_and_spaces_are_read_by_their_ink_and_digits_by_the_classifier():
    words = ("105", "6  ", "-48")
    drawings = torch.stack([torch.stack([glyph(c) for c in word]) for word in words])
    assert torch.equal(answers.read_tokens(Classifier(), list(SYMBOLS), drawings), codes(*words))


def test_a_little_dirt_is_no_ink():
    assert answers.read_tokens(Classifier(), list(SYMBOLS), torch.full((1, 1, 28, 28), 0.15)).tolist() == [[12]]


def test_drawings_that_are_all_the_same_have_no_diversity():
    same, two = torch.rand(1, 28, 28).expand(6, 28, 28), torch.zeros(4, 28, 28)
    assert answers.diversity(same, torch.zeros(6)).max() == 0
    two[::2] = 1.0
    assert answers.diversity(two, torch.zeros(4)).tolist() == [1.0] * 4
    assert answers.diversity(two, torch.tensor([0, 1, 0, 1])).tolist() == [0.0] * 4


def test_black_and_white_is_not_grey():
    assert answers.greyness(torch.tensor([0.0, 1.0, 0.5])[:, None, None].expand(3, 2, 2)).tolist() == [0.0, 0.0, 1.0]


@dataclass(frozen=True)
class Exact:
    """Stands for a trained model: answers what `given` says, or draws the class means of the training digits."""

    given: torch.Tensor
    model: object
    means: object = None

    def __getattr__(self, name):
        return getattr(self.model, name)

    def answer_logits(self, x):
        return torch.nn.functional.one_hot(self.given, 13).float() * 100

    def drawings(self, x, seed=0):
        return self.means[self.given]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("data"), examples=600)


def subject(prepared, folder, model, classifier=None):
    folder.mkdir(exist_ok=True)
    return Subject(model, classifier, 0, data=prepared, history=folder, folder=folder)


def test_a_model_that_knows_every_answer_is_perfect_and_the_constant_is_not(prepared, tmp_path):
    true = torch.from_numpy(arrays.load(prepared, "test")["answers"].copy()).long()
    every = np.concatenate([arrays.load(prepared, split)["answers"] for split in ("train", "test")])
    measures = answers.evaluate(subject(prepared, tmp_path, Exact(true, build("seq2seq"))))
    assert measures["exact_accuracy"]["value"] == measures["character_accuracy"]["value"] == 1.0
    assert measures["cross_entropy"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert measures["answer_distance"]["value"] == measures["malformed"]["value"] == 0.0
    usual = np.array([np.bincount(column).argmax() for column in every.T])
    assert measures["character_accuracy_constant"]["value"] == pytest.approx((every == usual).mean())
    (_, most), *_ = Counter(map(bytes, every)).most_common(1)
    assert measures["exact_accuracy_constant"]["value"] == pytest.approx(most / len(every))
    for name in ("failures", "distribution", "distances", "confusion"):
        assert (tmp_path / f"{name}.png").exists()
        assert (tmp_path / f"{name}.csv").exists()


def test_answers_that_are_no_number_are_counted_and_keep_no_distance(prepared, tmp_path):
    true = torch.from_numpy(arrays.load(prepared, "test")["answers"].copy()).long()
    given = true.clone()
    given[:6] = codes("1-2")
    given[6] = codes(str(10 + int("".join(SYMBOLS[c] for c in true[6]))).ljust(3)[:3])
    measures = answers.evaluate(subject(prepared, tmp_path, Exact(given, build("seq2seq"))))
    assert measures["malformed"]["value"] == pytest.approx(6 / 60)
    assert measures["answer_distance"]["value"] == pytest.approx(10 / 54)
    assert measures["exact_accuracy"]["value"] == pytest.approx(53 / 60)


def test_the_mean_handwriting_of_the_true_answer_is_the_baseline_of_squared_error(prepared, tmp_path):
    true = torch.from_numpy(arrays.load(prepared, "test")["answers"].copy()).long()
    digits, labels = (np.load(prepared / f"digits_train{name}.npy") for name in ("", "_labels"))
    means = torch.zeros(13, 28, 28)
    for digit in range(10):
        means[digit] = torch.from_numpy(digits[labels == digit].mean(0)[..., 0] / 255)
    for place, code in ((0, 10), (1, 11)):
        means[code] = torch.from_numpy(np.load(prepared / "operators_train.npy")[place].mean(0) / 255)
    model = Exact(true, build("seq2seq", target="image", **SMALL), means)
    measures = answers.evaluate(subject(prepared, tmp_path, model, Classifier()))
    error = measures["squared_error"]
    assert error["value"] == pytest.approx(error["baseline"], rel=1e-5)
    assert error["value"] < measures["squared_error_mean"]["value"] < measures["squared_error_black"]["value"]
    assert measures["diversity"]["value"] == 0.0
    assert measures["diversity"]["real"] > 0
    for name in ("character_accuracy", "exact_accuracy", "digits_read"):
        assert 0 <= measures[name]["real"] <= 1  # of this classifier, on real handwriting
    assert (tmp_path / "answers.png").exists()


@pytest.mark.parametrize(
    "task", [{"source": "image"}, {"source": "image", "target": "image"}, {"target": "image", "latent_dim": 2, "naming": 1.0}]
)
def test_an_untrained_model_of_every_task_is_measured_alike_twice(prepared, tmp_path, task):
    model = build("seq2seq", **SMALL, **task).eval()
    results = [answers.evaluate(subject(prepared, tmp_path / name, model, Classifier())) for name in "ab"]
    assert results[0] == results[1]
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "answers.png" in files
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
