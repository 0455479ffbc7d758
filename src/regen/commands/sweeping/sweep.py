"""`regen sweep`: each combination of some values as an experiment of DVC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from regen.commands import text
from regen.commands.sweeping import page, results, values
from regen.commands.sweeping.running import Experiment, Runner
from regen.errors import UserError


def sweep(names: Sequence[str], texts: Sequence[str], jobs: int | None, out: Path) -> None:
    """Make the experiments that are missing, then say what all of them gave, in lines and in a page.

    Raises:
        UserError: something is wrong with what was asked for, said before any work; or some experiments failed.
    """
    varied = values.given(texts)
    runner = Runner(list(varied), names, jobs)
    wanted = runner.experiments(values.product(varied))
    missing = sum(runner.done(one) is None for one in wanted)
    of = f" of {', '.join(runner.names)}" if runner.names else ""
    count = f"{len(wanted)} experiment{'s' if len(wanted) > 1 else ''}"
    text.say(f"{count}{of}: {len(wanted) - missing} are there, {missing} to run, {runner.jobs} at a time")
    failed = runner.run(wanted)
    show(runner, wanted, out)
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} experiments failed; the same command goes on with them")


def show(
    runner: Runner, wanted: Sequence[Experiment], out: Path, model: str = "", figure: str = "", better: str = "",
    pruned: Sequence[tuple[Experiment, int]] = (),
) -> results.Results | None:  # fmt: skip
    """Print a table of experiments, write their page, and say what to look at next.

    Args:
        runner: of the experiments.
        wanted: rows, as far as they have been made.
        out: the page.
        model: whose figures stand first.
        figure: that stands before its others.
        better: which way this one is better, if that has been chosen.
        pruned: trials that were ended early, and at which epoch.
    """
    found = [(at, one.values) for one in wanted if (at := runner.done(one))]
    if not found:
        return None
    models = sorted(runner.models, key=lambda key: key != model)
    early = [(one.name, one.values, epoch) for one, epoch in pruned]
    gathered = results.gathered(found, models, runner.given.models, figure, early)
    if better and gathered.columns:
        gathered.columns[0] = replace(gathered.columns[0], better=better)
    text.say("")
    text.say(gathered.table())
    text.say("")
    text.written(out, lambda: page.write(gathered, out))
    text.say(f"{out}: the same as a page, with all figures")
    if gathered.columns:
        first, name = gathered.columns[0], gathered.names[0]
        text.say(f"`regen best {first.figure} --model {first.model}` ranks them, `regen compare HEAD {name}` shows pictures")
    return gathered
