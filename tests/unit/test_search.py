"""`regen search`: ranges and choices are read; the same seed gives the same trials, whatever finishes first or is killed."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.commands.revisions import Revision
from regen.commands.sweeping import copies, process, pruning, running, search, sweep, values
from regen.commands.sweeping.running import ALL, BLOCKS, Experiment, RefusedError, Runner
from regen.commands.sweeping.values import Range
from regen.errors import UserError
from tests import sweeping, trial
from tests.conftest import ROOT


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

    def run(self: Runner, wanted, before=0, total=0, watch=None):
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


PRUNED = ("search", *SPACE, "--for", "nats_per_pixel", "--trials", "16", "--batch", "4", "--seed", "3", "--prune-by", "loss")


@pytest.fixture
def trials(repository, command, monkeypatch):
    """Searches whose trials are processes that take no time; returns what Optuna was told of each trial, and what was printed."""
    pytest.importorskip("optuna")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr(running, "process", trial)
    studies, usual = [], search._study
    monkeypatch.setattr(search, "_study", lambda *arguments: studies.append(usual(*arguments)) or studies[-1])

    def run(*arguments: str, code: int = 0) -> tuple[list[tuple[str, dict[int, float]]], str]:
        said, status = command(*arguments)
        assert status == code, said
        return [(one.state.name, one.intermediate_values) for one in studies[-1].get_trials()] if studies else [], said

    return run


def noted(what: str) -> list[str]:
    """The names of trials of which this was noted."""
    path = Path(".work/ran")
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [name for word, name, _ in lines if word == what]


def running_on() -> list[psutil.Process]:
    """The trainings that have not ended; what is about to is given less time than it would wait for."""
    noted = {int(line.split()[2]) for line in Path(".work/ran").read_text().splitlines()}
    alive: list[psutil.Process] = psutil.wait_procs(
        [one for one in psutil.process_iter() if one.pid in noted], trial.LONGEST / 2
    )[1]
    return alive


def forget(*parts: str) -> None:
    """Remove the experiments of these names, or all of them, and all that searches have left."""
    for name in parts or names():
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        subprocess.run(["git", "update-ref", "-d", f"refs/exps/{head[:2]}/{head[2:]}/{name}"], check=True)
    if not parts:
        shutil.rmtree(".work")
        Path(".work").mkdir()


def early(said: str) -> dict[str, int]:
    """The trials of the table that were pruned, and at which epoch."""
    return {name: int(epoch) for name, epoch in re.findall(r"^(\S+) .*  at epoch (\d+)$", said, re.MULTILINE)}


def test_trials_that_are_worse_by_their_history_are_pruned_and_the_same_ones_whatever_is_faster(trials, monkeypatch):
    told, said = trials(*PRUNED, "--jobs", "4")
    pruned = early(said)
    assert 2 <= len(pruned) <= 11
    assert set(pruned) & names() == set()
    assert len(names()) + len(pruned) == 16
    assert [state for state, _ in told[:4]] == ["COMPLETE"] * 4
    assert [state for state, _ in told].count("PRUNED") == len(pruned)
    assert all(max(reported) == (8 if state == "COMPLETE" else 2) for state, reported in told)
    assert set(pruned.values()) == {2}
    assert f"{len(pruned)} of 16 trials were ended early, worse by loss than the median of earlier ones" in said
    assert all(re.search(rf"^{re.escape(name)}: pruned at epoch 2, after \d+ s \(\d+ of 16\)$", said, re.M) for name in pruned)
    shown = Path(".work/search.html").read_text()
    assert shown.count('class="shade4 pruned"') == shown.count(">at epoch 2</td>") == len(pruned)
    made = names()

    forget()
    monkeypatch.setenv("WAITING", " ".join(pruned))  # the others are much faster, and one after another
    assert trials(*PRUNED, "--jobs", "1")[0] == told
    assert names() == made
    assert sorted(noted("ends")) == sorted(made)
    assert set(noted("begins")) == made | set(pruned)
    assert not list(Path(".work/sweeps").glob("lstm*"))


def test_a_search_with_pruning_that_was_killed_goes_on_and_prunes_the_same_trials(trials, monkeypatch):
    told, said = trials(*PRUNED)
    pruned, made = early(said), names()
    first = list(dict.fromkeys(noted("begins")))[:8]
    Path(".work/ran").unlink()
    assert trials(*PRUNED)[0] == told
    assert noted("begins") == []  # nothing is run for what is known

    later = (made | set(pruned)) - set(first)  # all of the last batch, and one of those before it, as if the kill had come then
    again = later | {next(name for name in first if name in made)}
    forget(*(again & made))
    shutil.rmtree(pruning.KEPT)
    assert trials(*PRUNED)[0] == told
    assert set(noted("begins")) == again | set(pruned)
    assert names() == made


def test_a_trial_that_was_interrupted_after_it_was_worse_is_pruned_without_going_on(trials, monkeypatch):
    few = (*PRUNED, "--trials", "8", "--jobs", "1")
    told, said = trials(*few)
    bad, usual = next(iter(early(said))), Runner._process
    forget()

    def killed(self, one, folder, *arguments):
        if one.name == bad:
            (folder / ".work/train/lstm/0123").mkdir(parents=True)
            (folder / ".work/train/lstm/0123/history.csv").write_text("epoch,loss\n1,100\n2,100\n3,100\n")
            raise KeyboardInterrupt
        return usual(self, one, folder, *arguments)

    monkeypatch.setattr(Runner, "_process", killed)
    trials(*few, code=130)
    monkeypatch.setattr(Runner, "_process", usual)
    assert [state for state, _ in trials(*few)[0]] == [state for state, _ in told]
    assert bad not in noted("begins")
    assert not list(Path(".work/sweeps").glob("lstm*"))


def test_trials_of_one_batch_are_not_held_against_each_other(trials):
    told, said = trials(*PRUNED[:-2], "--trials", "8", "--batch", "8", "--prune-by", "loss")
    assert [state for state, _ in told] == ["COMPLETE"] * 8
    assert trials(*PRUNED[:-2], "--trials", "8", "--batch", "8", "--prune-by", "loss")[0] == told
    assert early(said) == {}
    assert "at epoch" not in Path(".work/search.html").read_text()


def test_experiments_of_a_search_without_pruning_are_judged_by_their_histories_and_keep_their_figures(trials):
    few = ("--trials", "12")  # with more, Optuna's model of what was told would choose others
    told, said = trials(*PRUNED, *few)
    assert early(said)
    forget()
    without, _ = trials(*PRUNED[:-2], *few)
    assert without == [("COMPLETE", {})] * 12
    made = names()
    Path(".work/ran").unlink()
    again, said = trials(*PRUNED, *few)
    assert again == told
    assert (noted("begins"), names(), early(said)) == ([], made, {})
    with pytest.raises(
        UserError, match=r"^--prune-by: HEAD: its history\.csv is neither in DVC's cache nor on a remote; `dvc exp"
    ):
        pruning._fetched(Revision("HEAD", "HEAD"), "lstm")


def test_a_training_that_fails_after_it_was_worse_is_pruned_and_not_failed(trials, monkeypatch):
    told, said = trials(*PRUNED, "--trials", "12")
    bad, good = next(iter(early(said))), sorted(names())[0]
    forget()
    monkeypatch.setenv("DIVERGING", bad)
    assert trials(*PRUNED, "--trials", "12")[0] == told
    assert not Path(f".work/sweeps/{bad}.log").exists()
    forget()
    monkeypatch.setenv("DIVERGING", good)
    _, said = trials(*PRUNED, "--trials", "12", code=1)
    assert f"error: {good}: lstm: the loss is not finite" in said


@pytest.mark.timeout(1800)
def test_a_training_of_dvc_s_is_ended_with_all_of_its_processes_and_others_are_judged_from_its_cache(trials, monkeypatch):
    few = ("--trials", "5", "--jobs", "2", "--seed", "0")  # of which the fifth is bad
    told, said = trials(*PRUNED, *few)
    (bad,) = early(said)
    forget()
    Path("dvc.yaml").write_text(sweeping.TRAINING)
    subprocess.run("git rm -q --cached dvc.lock metrics/lstm.json && git commit -qam other", shell=True, check=True)
    for path in ("dvc.lock", "metrics/lstm.json"):
        Path(path).unlink()
    monkeypatch.setattr(running, "process", process)
    monkeypatch.setenv("WAITING", bad)
    for _ in range(2):
        assert trials(*PRUNED, *few)[0] == told
        assert bad not in noted("ends")
        assert running_on() == []
        assert not list(Path(".work/sweeps").glob("lstm*"))
        shutil.rmtree(pruning.KEPT)
    assert sorted(noted("begins")) == sorted([*names(), bad, bad])
    assert bad not in names()
    shutil.rmtree(".dvc/cache")
    _, said = trials(*PRUNED, *few, code=1)
    assert re.search(
        r"^error: --prune-by: \S+: its history\.csv is neither in DVC's cache nor on a remote; `dvc exp rem", said, re.M
    )


@pytest.mark.parametrize(
    ("column", "variable", "expected"),
    [
        ("losss", "WAITING", r"error: --prune-by: \S+: history.csv: unknown column 'losss' \(did you mean loss\?\)"),
        ("loss", "SILENT", r"error: --prune-by: \S+: the training of lstm has left no history.csv; leave it out"),
    ],
)
def test_a_column_that_no_training_has_ends_all_trials_with_one_line(trials, column, variable, expected, monkeypatch):
    trials(*PRUNED[:-2], "--trials", "4")
    monkeypatch.setenv(variable, " ".join(names()))
    forget()
    _, said = trials(*PRUNED[:-1], column, "--jobs", "4", code=1)
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert re.fullmatch(expected, line)
    assert names() == set()
    assert running_on() == []


def test_a_column_is_looked_for_in_the_history_of_the_workspace_before_any_work(repository, command, batches):
    pytest.importorskip("optuna")
    Path("models/lstm").mkdir(parents=True)
    Path("models/lstm/history.csv").write_text("epoch,step,examples,learning_rate,rate,loss\n1,1,8,0.1,2,3\n")
    for column, expected in (
        ("los", "error: --prune-by: models/lstm/history.csv: unknown column 'los' (did you mean loss?)"),
        ("x", "error: --prune-by: models/lstm/history.csv: unknown column 'x' (there is: loss, rate)"),
        ("step", "error: --prune-by step: does not tell how good a training is; name another column, such as loss"),
    ):
        assert command(*PRUNED[:-1], column) == (f"{expected}\n", 1)
    assert batches == []
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 0", "seed: 1"))  # it may be out of date now
    said, _ = command(*PRUNED[:-3], "2", "--prune-by", "los")
    assert "unknown column" not in said.splitlines()[0]


def judge(family: str = "pixel_lstm", direction: str = "minimize", epochs: int = 8, **space: object) -> pruning.Pruning:
    """What judges the trials of a study, as `regen search` would make it."""
    import optuna

    given = {"pixel_lstm": {"epochs": epochs, "batch_size": 8, "learning_rate": 1e-3, "hidden": 4}, "linear_regression": {}}[
        family
    ]
    block = {"dataset": "toy", "family": family, "classifier": "none", **given}
    runner = SimpleNamespace(given=SimpleNamespace(models={"lstm": block}), base=SimpleNamespace(head="", mark=""))
    return pruning.Pruning(optuna.create_study(direction=direction), runner, space, "lstm", "loss")


def told(judging: pruning.Pruning, *histories: list[float]) -> None:
    """Whole trials of an earlier batch."""
    for history in histories:
        one = judging._study.ask()
        for epoch, value in enumerate(history, 1):
            one.report(-value if judging._up else value, epoch)
        judging._study.tell(one, 1.0)


@pytest.fixture
def ended(tmp_path, monkeypatch) -> Callable[..., int | None]:
    """Write the history of a training that goes on, or is over; returns the epoch at which it is ended."""
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)

    def run(judging: pruning.Pruning, history: list[float], whole: bool = False, **changes: int) -> int | None:
        one = Experiment(f"trial {len(list(Path().iterdir()))}", {f"models.lstm.{name}": n for name, n in changes.items()}, b"")
        folder = Path(one.name)
        place = folder / ("models/lstm" if whole else ".work/train/lstm/0123")
        place.mkdir(parents=True)
        lines = [f"{epoch},{value}\n" for epoch, value in enumerate(history, 1)]
        (place / "history.csv").write_text("epoch,loss\n" + "".join(lines))
        assert judging.due(one, folder, whole) == (one.name in judging.ended)
        return judging.ended.get(one.name)

    return run


GOOD, WORSE = [9.0, 8, 7, 6, 5, 4, 3, 2], [9.0, 9, 9, 9, 9, 9, 9, 9]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_training_is_ended_at_the_first_epoch_at_which_it_is_worse_than_the_median(ended, direction, whole):
    judging = judge(direction=direction)
    told(judging, *[GOOD] * 3)
    assert ended(judging, WORSE, whole) is None  # three are too few
    told(judging, GOOD)
    assert ended(judging, WORSE, whole) == 2
    assert ended(judging, GOOD, whole) is None
    assert ended(judging, [9.0, 7, 7, 6.5], whole) == 4
    assert ended(judging, [20.0, 7, 6, 5, 4, 3, 2, 1], whole) is None  # the first quarter is left alone, here one epoch
    assert ended(judging, [9.0, 8, 7, 6, 5, 4, 3, 9], whole) is None  # its last epoch, too
    assert ended(judging, [9.0, 8, 7, 6, 5, 4, 3.5, 3, 2.5], whole, epochs=9) == 7


def test_a_figure_that_is_no_number_is_the_worst(ended):
    judging = judge()
    told(judging, *[GOOD] * 4)
    assert ended(judging, [math.nan, math.inf, 1.0]) == 2
    assert ended(judging, [1.0, math.nan, math.nan]) is None  # the best so far counts


def test_an_epoch_to_which_few_trials_came_ends_none(ended):
    judging = judge()
    told(judging, *[GOOD] * 3, GOOD[:4])  # a patience has ended the last one
    assert ended(judging, [9.0, 8, 7, 6, 9, 9, 9]) is None
    assert ended(judging, [9.0, 8, 7, 9, 9, 9, 9]) == 4
    assert ended(judging, [9.0, 9, 9, 9, 9, 9, 9]) == 2


def test_pruned_trials_and_those_that_run_judge_nobody(ended):
    judging = judge()
    told(judging, *[WORSE] * 4)
    import optuna

    for state in (optuna.trial.TrialState.PRUNED, None):
        for _ in range(9):
            one = judging._study.ask()
            one.report(0.1, 1)
            one.report(0.1, 2)
            if state:
                judging._study.tell(one, state=state)
    assert ended(judging, WORSE) is None


def test_while_it_trains_what_the_copy_was_laid_out_with_is_not_its_history(ended, tmp_path):
    judging = judge()
    told(judging, *[GOOD] * 4)
    one, folder = Experiment("mine", {}, b""), tmp_path / "copy"
    (folder / "models/lstm").mkdir(parents=True)
    (folder / "models/lstm/history.csv").write_text("epoch,loss\n1,9\n2,9\n3,9\n")
    assert not judging.due(one, folder, whole=False)
    for name, age, second in (("0123", 0, 8), ("4567", 100, 9)):  # another device's, which is older
        path = folder / ".work/train/lstm" / name / "history.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"epoch,loss\n1,9\n2,{second}\n")
        os.utime(path, (1e9 - age, 1e9 - age))
    assert not judging.due(one, folder, whole=False)
    assert judging.due(one, folder, whole=True)


def test_a_model_that_is_fitted_at_once_cannot_be_ended_early():
    pytest.importorskip("optuna")
    with pytest.raises(
        UserError, match=r"--prune-by: lstm \(linear_regression\) is fitted at once, there is no epoch to end it at"
    ):
        judge("linear_regression")


def test_choices_and_a_patience_may_bring_columns_that_the_workspace_has_not(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    Path("models/lstm").mkdir(parents=True)
    Path("models/lstm/history.csv").write_text("epoch,rate\n1,2\n")
    for space in ({"models.lstm.patience": Range(1, 5)}, {"models.lstm.schedule": ["constant", "cosine"]}):
        judge(**space)
    with pytest.raises(RefusedError, match="unknown column 'loss'"):
        judge(**{"models.lstm.hidden": Range(1, 5)})
