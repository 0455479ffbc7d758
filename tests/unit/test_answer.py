"""`regen answer "81+24"`, and what it is made of."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from regen import cli, families
from regen.answer import answer
from regen.errors import UserError
from regen.models.base import DataSpec
from tests.conftest import BLOCKS, IMAGES, block, build
from tests.unit.test_seq2seq import SMALL, prepare


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A folder with models/<key> of each task, untrained, and data/prepared/toy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/prepared").mkdir(parents=True)
    prepare(tmp_path / "data/prepared", examples=100)
    for key, task in {
        "arithmetic_text_to_text": {},
        "reader": {"source": "image"},
        "drawer": {"target": "image", "classifier": "mnist_classifier"},
        "both": {"source": "image", "target": "image", "latent_dim": 2, "naming": 1.0},
    }.items():
        (tmp_path / "models" / key).mkdir(parents=True)
        families.save(build("seq2seq", **SMALL, **task), tmp_path / "models" / key)
    classifier = families.config({**block("classifier"), **BLOCKS["classifier"], "target": "class"}, "classifier")
    spec = DataSpec(dataset="mnist", kind="mnist", shape=(1, 28, 28), labels=tuple("0123456789"))
    (tmp_path / "models/mnist_classifier").mkdir()
    families.save(families.build(classifier, spec), tmp_path / "models/mnist_classifier")
    return tmp_path


def run(*arguments):
    """The command `regen`; returns its exit status."""
    before = sys.argv
    sys.argv = ["regen", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = before
    return 0


def test_a_typed_query_is_answered_as_the_model_answers_its_codes(trained):
    given = answer("81+24")
    model = families.load("models/arithmetic_text_to_text")
    expected = model.texts(model.answer_logits(torch.tensor([[8, 1, 10, 2, 4]])).argmax(2))[0]
    assert (given.query, given.text, given.drawn, given.shown) == ("81+24", expected, None, None)
    assert answer(" 81 + 24 ") == given


def test_the_command_prints_query_and_answer(trained, capsys):
    assert run("answer", "81+24") == 0
    assert capsys.readouterr().out == f"81+24 -> {answer('81+24').text}\n"
    assert not (trained / "answer.png").exists()


@pytest.mark.parametrize(("key", "glyphs"), [("reader", 5), ("drawer", 3), ("both", 8)])
def test_what_is_read_or_drawn_is_drawn(trained, capsys, key, glyphs):
    assert run("answer", "7-9", "--model", key, "--out", "seen.png") == 0
    assert capsys.readouterr().out.startswith("7-9 -> ")
    assert Image.open("seen.png").width >= 4 * 28 * glyphs


def test_another_seed_is_another_handwriting(trained):
    one, again, other = (answer("7-9", "both", seed).drawn for seed in (0, 0, 1))
    assert one is not None
    assert again is not None
    assert other is not None
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("2x3", r"query '2x3': unknown character 'x'; expected only the characters '0123456789\+- '"),
        ("", r"query '': expected two numbers with one of \+ - between them, as in 81\+24"),
        ("12", "query '12': expected two numbers"),
        ("1+2+3", r"query '1\+2\+3': expected two numbers"),
        ("-5+3", r"query '-5\+3': expected two numbers"),
        ("100+24", r"query '100\+24': 6 characters, expected 5 at most"),
        ("999+1", r"query '999\+1': 999 is too large; expected numbers from 0 to 99"),
    ],
)
def test_what_is_no_query_is_refused(trained, query, message):
    with pytest.raises(UserError, match=message):
        answer(query)


def test_a_model_of_another_family_and_one_that_is_not_there_are_refused(trained):
    (trained / "models/toy_vae").mkdir()
    families.save(families.build(families.config(block("vae"), "x"), IMAGES), trained / "models/toy_vae")
    with pytest.raises(UserError, match="toy_vae: a vae answers no queries; name a model of the family seq2seq"):
        answer("1+2", "toy_vae")
    with pytest.raises(UserError, match=r"models/nobody: no such model .*; train it with `dvc repro train@nobody`"):
        answer("1+2", "nobody")
    (trained / "params.yaml").write_text("models: {drawer: {}}")
    with pytest.raises(UserError, match=r"models/nobody: no such model .*; params.yaml has none of that name either$"):
        answer("1+2", "nobody")
    (trained / "params.yaml").unlink()
    with pytest.raises(UserError, match=r"models/reeder: no such model \(did you mean reader\?\)"):
        answer("1+2", "reeder")


def test_zeros_before_a_number_change_nothing(trained):
    assert answer("007+ 1") == answer("7+1")
    assert answer("0+00").query == "0+0"


def test_what_stands_for_no_classifier_is_no_model(trained):
    (trained / "models/none").write_text("no classifier\n")
    with pytest.raises(UserError, match="models/none: no model, but what stands for none"):
        answer("1+2", "none")


def test_data_prepared_for_other_operators_are_refused(trained):
    path = trained / "data/prepared/toy/statistics.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"labels": [*content["labels"][:10], "*", " "]}))
    with pytest.raises(UserError, match="has other characters than models/both was trained on"):
        answer("1+2", "both")


@pytest.mark.parametrize(("out", "message"), [("a.jpg", "expected a name that ends in .png"), ("folder.png", "Is a directory")])
def test_a_picture_that_cannot_be_written_is_one_line(trained, capsys, out, message):
    (trained / "folder.png").mkdir()
    assert run("answer", "7-9", "--model", "both", "--out", out) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: --out {out}: ")
    assert message in error


def test_a_mistake_is_one_line_and_no_traceback(trained, capsys):
    assert run("answer", "2x3") == 1
    assert capsys.readouterr().err.startswith("error: query '2x3': unknown character")


def test_the_picture_is_the_same_bytes_again(trained):
    pictures = []
    for name in ("a.png", "b.png"):
        assert run("answer", "7-9", "--model", "both", "--out", name) == 0
        pictures.append((trained / name).read_bytes())
    assert pictures[0] == pictures[1]
    assert np.asarray(Image.open("a.png")).std() > 0
