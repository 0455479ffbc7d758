"""`regen search`: values that Optuna chooses by what earlier ones gave, each trial an experiment of DVC.

Trials are asked for in batches and told in their order, whatever finishes first. So the seed and what trials gave decide all of
them, and nothing of the search has to be kept: started again, it asks the same questions and finds the answers among experiments.

A trial whose training is worse than that of earlier ones may be ended early (`pruning`): it has no figures and is no experiment.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regen import blocks, paths
from regen.catalogue.registry import MEASURES
from regen.commands import text
from regen.commands.sweeping import sweep, values
from regen.commands.sweeping.pruning import Pruning
from regen.commands.sweeping.running import Experiment, Runner
from regen.commands.sweeping.values import Range
from regen.errors import UserError

if TYPE_CHECKING:
    import optuna

DIGITS = 4  # of a number that is chosen: an experiment's name holds it
CORNERS = 64  # combinations of ends of ranges that are checked before any work


def search(
    texts: Sequence[str], figure: str, model: str | None, trials: int, batch: int, seed: int, maximize: bool | None,
    jobs: int | None, out: Path, prune_by: str | None = None,
) -> None:  # fmt: skip
    """Make trials, then say what they gave, the best one first.

    With `prune_by`, a column of history.csv, those whose training is worse than others' by it are ended early.

    Raises:
        UserError: something is wrong with what was asked for, said before any work; or some trials failed.
    """
    space = values.space(texts)
    blocks.known(figure, list(MEASURES), "figure", "figure")
    study = _study(_up(figure, maximize), seed)
    runner = Runner(list(space), [], jobs)
    model = _model(runner, list(space), model)
    runner.names = list(dict.fromkeys([*runner.names, model]))
    _measured(runner, figure, model)
    runner.experiments(_corners(space))
    pruning = Pruning(study, runner, space, model, prune_by) if prune_by is not None else None
    by = f", pruned by {prune_by}" if pruning else ""
    text.say(f"{trials} trials of {model}, {batch} at once, {runner.jobs} at a time, for {figure}{by}")
    tried: dict[str, tuple[float, Experiment]] = {}
    pruned: dict[str, tuple[Experiment, int]] = {}
    wanted: list[Experiment] = []
    failed: dict[str, str] = {}
    while len(wanted) < trials:
        asked = [study.ask() for _ in range(min(batch, trials - len(wanted)))]
        rows = [{path: _chosen(trial, path, choice) for path, choice in space.items()} for trial in asked]
        found = [_experiment(runner, row, failed) for row in rows]
        new = list({one.name: one for one in found if one.name not in {*tried, *pruned, *failed}}.values())
        failed |= runner.run(new, len(wanted), trials, pruning)
        if pruning:
            for one in new:
                pruning.settle(one, runner.done(one))
        for trial, one in zip(asked, found, strict=True):
            value = None if one.name in failed else _value(runner, one, model, figure)
            if value is not None and math.isfinite(value):
                tried[one.name] = value, one
            elif pruning and one.name in pruning.ended:
                pruned[one.name] = one, pruning.ended[one.name]
            _tell(study, trial, one.name, tried[one.name][0] if one.name in tried else None, pruning)
        wanted += found
    best = sorted(tried.values(), key=lambda item: item[0], reverse=_up(figure, maximize))
    if best:
        better = "higher" if _up(figure, maximize) else "lower"
        sweep.show(runner, [one for _, one in best], out, model, figure, better, list(pruned.values()))
        value, one = best[0]
        if pruned:
            text.say(f"{len(pruned)} of {trials} trials were ended early, worse by {prune_by} than the median of earlier ones")
        text.say(
            f"best: {figure} {text.number(value)} with " + " ".join(f"{path}={values.said(v)}" for path, v in one.values.items())
        )
    if failed:
        raise UserError(f"{len(failed)} of {trials} trials failed; the same command tries them again")


def _tell(study: optuna.Study, trial: optuna.Trial, name: str, value: float | None, pruning: Pruning | None) -> None:
    """Tell Optuna how a trial ended. One that was ended early may have figures all the same, of a search without pruning."""
    from optuna.trial import TrialState

    if pruning:
        pruning.report(trial, name)
    if pruning and name in pruning.ended:
        study.tell(trial, state=TrialState.PRUNED)
    elif value is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def _experiment(runner: Runner, row: Mapping[str, Any], failed: dict[str, str]) -> Experiment:
    """Return the experiment of a trial; one that the check of its params refuses is told, and has failed."""
    try:
        return runner.experiments([row])[0]
    except UserError as error:
        name = values.name(row, runner.base.mark)
        text.say(f"error: {error}", err=True)
        failed[name] = str(error)
        return Experiment(name, dict(row), b"")


def _up(figure: str, maximize: bool | None) -> bool:
    """Whether more is better."""
    better = MEASURES[figure].better
    if maximize is None and better == "none":
        raise UserError(f"{figure}: neither more nor less of it is better; add --maximize or --minimize")
    return better == "higher" if maximize is None else maximize


def _model(runner: Runner, varied: Sequence[str], model: str | None) -> str:
    """Return the model that is measured: the one that was named, or the only one whose params are varied."""
    if model is not None:
        blocks.known(model, list(runner.given.models), "--model", "model")
        return model
    named = values.concerned([path for path in varied if path.startswith("models.")])
    if len(named) != 1:
        raise UserError(f"of which model is the figure? Add --model{blocks.suggestion('', named or list(runner.given.models))}")
    return named[0]


def _measured(runner: Runner, figure: str, model: str) -> None:
    """Refuse a figure that this model does not have, where it has been measured before."""
    path = paths.metrics(model)
    if path.is_file() and not runner.base.mark:  # of a workspace that is changed it may be out of date
        try:
            names = list(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            return  # damaged: said elsewhere
        blocks.known(figure, names, str(path), "figure")


def _study(up: bool, seed: int) -> optuna.Study:
    try:
        import optuna
    except ImportError:
        raise UserError("regen search: optuna is missing: pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that may change; the version is pinned
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # those of one batch keep away from each other
    return optuna.create_study(direction="maximize" if up else "minimize", sampler=sampler)


def _chosen(trial: optuna.Trial, path: str, choice: Range | list[Any]) -> Any:
    """Return a value of one param."""
    if not isinstance(choice, Range):
        return choice[trial.suggest_categorical(path, list(range(len(choice))))]
    if choice.whole:
        return trial.suggest_int(path, int(choice.low), int(choice.high), log=choice.log)
    drawn = float(f"{trial.suggest_float(path, choice.low, choice.high, log=choice.log):.{DIGITS}g}")
    return min(max(drawn, float(choice.low)), float(choice.high))


def _value(runner: Runner, one: Experiment, model: str, figure: str) -> float | None:
    """Return what a trial gave; None where it failed.

    Raises:
        UserError: the model has no such figure.
    """
    if (at := runner.done(one)) is None:
        return None
    measured = at.measured(model) or {}
    blocks.known(figure, list(measured), f"{one.name}: {paths.metrics(model)}", "figure")
    return measured[figure]["value"]


def _corners(space: Mapping[str, Range | list[Any]]) -> list[dict[str, Any]]:
    """Return combinations of the ends of ranges and of all choices: all, or, of very many, each end beside the others' first."""
    ends = {path: [choice.low, choice.high] if isinstance(choice, Range) else choice for path, choice in space.items()}
    ends = {path: [float(end) for end in found] if isinstance(c := space[path], Range) and not c.whole else found
            for path, found in ends.items()}  # fmt: skip
    if math.prod(len(found) for found in ends.values()) <= CORNERS:
        return values.product(ends)
    first = {path: found[0] for path, found in ends.items()}
    return [first, *(first | {path: end} for path, found in ends.items() for end in found[1:])]
