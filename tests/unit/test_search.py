"""`regen search`: ranges and choices are read; the same seed gives the same trials, whatever finishes first or is killed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.commands.revisions import Revision
from regen.commands.sweeping import copies, search, sweep, values
from regen.commands.sweeping.running import ALL, BLOCKS, Experiment, Runner
from regen.commands.sweeping.values import Range
from regen.errors import UserError
from tests import sweeping


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=0.1..10:log", Range(0.1, 10, log=True)),
        ("a=1e-4..1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("a=4..64", Range(4, 64)),
        ("a=-1..1.5", Range(-1, 1.5)),
        ("a= 4 .. 64 : log", Range(4, 64, log=True)),
        ("a=relu|gelu", ["relu", "gelu"]),
        ("a=[1,2]|[3]", [[1, 2], [3]]),
        ("a=true|false", [True, False]),
    ],
)
def test_ranges_and_choices_are_read(text, found):
    (read,) = values.space([text]).values()
    assert read == found
    if isinstance(found, Range):
        assert read.whole == (found in (Range(4, 64), Range(4, 64, log=True)))


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.booleans())
def test_a_range_of_any_numbers_is_read_or_refused(low, high, log):
    text = f"a={low}..{high}{':log' if log else ''}"
    if low < high:
        assert values.space([text]) == {"a": Range(low, high, log)}
    else:
        with pytest.raises(UserError, match="a lower number first"):
            values.space([text])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "nothing is varied"),
        (["a=10..1"], "a lower number first"),
        (["a=1..1"], "a lower number first"),
        (["a=0..1:log"], "0 has no logarithm"),
        (["a=-1.5..1:log"], "-1.5 has no logarithm"),
        (["a=.."], "expected two numbers"),
        (["a=1..x"], "expected two numbers"),
        (["a=1..2..3"], "expected two numbers"),
        (["a=true..2"], "expected two numbers"),
        (["a=1...inf"], "a lower number first"),
        (["a=1..2:lin"], "expected LOW..HIGH or LOW..HIGH:log"),
        (["a=1"], "nothing to choose"),
        (["a=x||y"], "an empty value"),
        (["a=x|x"], "x stands there twice"),
        (["a=1..2", "a=x|y"], "a: stands there twice"),
    ],
)
def test_what_is_no_range_and_no_choice_is_refused(texts, said):
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        values.space(texts)
    assert "\n" not in str(refused.value)


def test_of_many_ranges_each_end_is_checked_before_any_work():
    few = search._corners({"a": Range(1, 2), "b": Range(0, 1.0), "c": ["x", "y"]})
    assert len(few) == 8
    assert {"a": 2, "b": 0.0, "c": "y"} in few
    many = search._corners({f"p{n}": Range(1, 2) for n in range(20)})
    assert len(many) == 21
    assert all(any(row[f"p{n}"] == 2 for row in many) for n in range(20))


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository") / "toy"
    sweeping.furnish(folder)
    return folder


@pytest.fixture
def batches(monkeypatch):
    """Experiments are made at once, the last one first, by a formula; what was made in each batch."""
    made: list[list[str]] = []

    def run(self: Runner, wanted, before=0, total=0):
        missing = [one for one in wanted if not self.done(one)]
        made.append([one.name for one in missing])
        for one in reversed(missing):
            folder = copies.lay_out(self.base, one.name, one.params, self.cache)
            hidden, rate = one.values["models.lstm.hidden"], one.values["models.lstm.learning_rate"]
            (folder / "metrics/lstm.json").write_text(json.dumps({"nats_per_pixel": abs(hidden - 20) + 100 * rate}))
            self.base.save(one.name, folder, f"regen\n\n{BLOCKS}{' '.join(self.names) or ALL}")
        return {}

    monkeypatch.setattr(Runner, "run", run)
    return made


SPACE = ("models.lstm.hidden=4..64", "models.lstm.learning_rate=1e-4..1e-1:log")


def names() -> set[str]:
    done = subprocess.run(["git", "for-each-ref", "--format=%(refname)", "refs/exps"], capture_output=True, text=True, check=True)
    return {line.split("/", 4)[4] for line in done.stdout.splitlines()}


def test_a_search_that_was_interrupted_goes_on_with_the_same_trials(repository, command, batches, monkeypatch):
    pytest.importorskip("optuna")
    arguments = ("search", *SPACE, "--for", "nats_per_pixel", "--trials", "14", "--batch", "2", "--seed", "3")
    said, code = command(*arguments)
    assert code == 0, said
    whole, undisturbed = [list(batch) for batch in batches], names()
    assert [len(batch) for batch in whole] == [2] * 7
    assert "best: nats_per_pixel" in said
    table = [line.split() for line in said.splitlines() if line.startswith("lstm.hidden=")]
    figures = [float(row[3]) for row in table]
    assert figures == sorted(figures)

    for name in undisturbed:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        subprocess.run(["git", "update-ref", "-d", f"refs/exps/{head[:2]}/{head[2:]}/{name}"], check=True)
    batches.clear()
    usual, count = Runner.run, 0

    def killed(self, *arguments):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return usual(self, *arguments)

    monkeypatch.setattr(Runner, "run", killed)
    assert command(*arguments)[1] == 130
    assert len(names()) == 6
    assert command(*arguments)[1] == 0
    assert names() == undisturbed
    assert [batch for batch in batches if batch] == whole
    assert command(*arguments[:-1], "4")[1] == 0
    assert names() != undisturbed


def test_a_trial_that_is_refused_has_failed_and_the_others_go_on(repository, command, batches, monkeypatch):
    pytest.importorskip("optuna")
    usual = Runner.experiments

    def refusing(self, rows):
        if len(rows) == 1 and rows[0]["models.lstm.hidden"] % 2:  # of the corners there are four
            raise UserError("lstm: an odd number")
        return usual(self, rows)

    monkeypatch.setattr(Runner, "experiments", refusing)
    said, code = command("search", *SPACE, "--for", "nats_per_pixel", "--trials", "6", "--batch", "2", "--seed", "3")
    failed = said.count("error: lstm: an odd number")
    assert 0 < failed < 6
    assert code == 1
    assert f"error: {failed} of 6 trials failed" in said
    assert "best: nats_per_pixel" in said


def test_figures_of_the_model_that_was_searched_stand_first(tmp_path, capsys):
    class At(Revision):
        def measured(self, key):
            return {"mse": {"value": float(self.commit)}, "ssim": {"value": 0.5}}

    models = {key: {"family": "vae", "dataset": "toy"} for key in "ab"}
    wanted = [Experiment(str(beta), {"models.a.beta": beta}, b"") for beta in (1, 2)]
    runner = SimpleNamespace(models=["a", "b"], given=SimpleNamespace(models=models), done=lambda one: At(one.name, one.name))
    shown = sweep.show(runner, wanted, tmp_path / "page.html", "b", "mse", "higher")
    assert [(column.model, column.figure, column.better) for column in shown.columns[:2]] == [
        ("b", "mse", "higher"), ("b", "ssim", "higher"),
    ]  # fmt: skip
    assert "`regen best mse --model b`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SPACE, "--for", "nats_per_pixle"), "unknown figure 'nats_per_pixle' (did you mean nats_per_pixel?)"),
        ((*SPACE, "--for", "frechet_distance"), "metrics/lstm.json: unknown figure 'frechet_distance'"),
        ((*SPACE, "--for", "nats_per_pixel", "--trials", "0"), "--trials"),
        ((*SPACE, "--for", "nats_per_pixel", "--model", "lstmm"), "--model: unknown model 'lstmm' (did you mean lstm?)"),
        (("seed=0..4", "--for", "nats_per_pixel"), "of which model is the figure? Add --model (there is: lstm)"),
        (("models.lstm.hidden=0..4", "--for", "nats_per_pixel"), "lstm.hidden=0: params.yaml: models.lstm.hidden: expected"),
        (("models.lstm.hiden=1..4", "--for", "nats_per_pixel"), "unknown key (did you mean hidden?)"),
        (SPACE, "--for"),
    ],
)
def test_a_mistake_is_told_before_any_work(repository, command, batches, arguments, said):
    pytest.importorskip("optuna")
    printed, code = command("search", *arguments)
    assert code == 1
    assert said in printed
    assert all(line.startswith("error: ") for line in printed.splitlines())
    assert batches == []


def test_without_optuna_it_says_what_to_install(repository, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert command("search", *SPACE, "--for", "nats_per_pixel") == (
        "error: regen search: optuna is missing: pip install optuna\n", 1,
    )  # fmt: skip
    assert not Path(".work/sweeps").exists()
