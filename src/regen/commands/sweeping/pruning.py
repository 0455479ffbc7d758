"""Trials that are ended early: their training is worse than that of earlier trials at the same epoch.

A training's history decides, and the trials of earlier batches, of which all is known: neither what runs beside it nor when
somebody has looked. One that was over before anybody looked is judged by its history all the same, epoch by epoch, as if it
had been watched. So the same seed ends the same trials on a fast machine and on a slow one, and what is kept of a trial that was
ended, its history, ends it again after a kill.

Of Optuna's pruners this is the MedianPruner, as it holds a trial against whole ones alone. Successive halving and Hyperband rank
it among those that run beside it, so that it matters which is faster, and begin to pay with hundreds of trials.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regen import blocks, families, paths
from regen.commands.revisions import Revision
from regen.commands.sweeping import copies
from regen.commands.sweeping.running import Experiment, RefusedError, Runner
from regen.commands.sweeping.values import Range
from regen.data import folders
from regen.errors import UserError, shown
from regen.models.base import TrainedConfig
from regen.tracking import state

if TYPE_CHECKING:
    import optuna

KEPT = copies.FOLDER / ".histories"
HISTORY = "history.csv"
COUNTERS = ("epoch", "step", "examples", "learning_rate")  # they rise and fall whatever is learned
ENOUGH = 4  # whole trials that came to an epoch: against fewer, none is ended there
UNTOUCHED = 4  # of so many parts of a training the first: what is worse there may be merely slower


class Pruning:
    """Which trials of one search are ended early.

    Attributes:
        ended: the epoch at which a trial was ended, by the name of its experiment.
    """

    def __init__(self, study: optuna.Study, runner: Runner, space: Mapping[str, Any], model: str, column: str) -> None:
        """Have the study judge trainings of `model` by a column of their histories; the lower the better.

        Raises:
            UserError: there are no epochs in its training, or no such column, as far as that is known before any work.
        """
        import optuna

        config = families.config(runner.given.models[model], f"params.yaml: models.{model}")
        if not isinstance(config, TrainedConfig):
            raise UserError(
                f"--prune-by: {model} ({config.family}) is fitted at once, there is no epoch to end it at; leave it out"
            )
        if column in COUNTERS:
            raise UserError(f"--prune-by {column}: does not tell how good a training is; name another column, such as loss")
        self.ended: dict[str, int] = {}
        self._study, self._base, self._model, self._column, self._epochs = study, runner.base, model, column, config.epochs
        self._up = study.direction == optuna.study.StudyDirection.MAXIMIZE  # then Optuna takes what is higher for better
        self._histories: dict[str, list[tuple[int, float]]] = {}  # whole ones, or up to where they were ended
        self._seen: dict[str, int] = {}  # epochs of a training when it was last looked at
        study.pruner = optuna.pruners.MedianPruner(ENOUGH, max(1, config.epochs // UNTOUCHED), n_min_trials=ENOUGH)
        numbers = all(isinstance(choice, Range) for choice in space.values()) and f"models.{model}.patience" not in space
        if numbers and not runner.base.mark:  # else the columns of these trainings may be others
            self._rows(paths.model(model), f"{paths.model(model)}/{HISTORY}")

    def known(self, one: Experiment) -> bool:
        """Whether a trial is ended by as much of its history as was kept of an earlier search."""
        return one.name in self.ended or self._judged(one, self._rows(self._place(one), f"{one.name}: {HISTORY}"), whole=False)

    def due(self, one: Experiment, folder: Path, whole: bool) -> bool:
        """Whether a trial is to be ended. Asked again and again while it runs, and once more when it has ended by itself.

        Args:
            one: the trial.
            folder: its copy.
            whole: it has ended well.

        Raises:
            RefusedError: its training leaves no history, or there is no such column in it.
        """
        if one.name in self.ended:
            return True
        # While it trains, models/<key> is still what HEAD gave.
        place = folder / paths.model(self._model) if whole else _newest(folder / paths.training(self._model))
        rows = self._rows(place, f"{one.name}: {HISTORY}")
        if whole and not rows:
            raise RefusedError(f"--prune-by: {one.name}: the training of {self._model} has left no {HISTORY}; leave it out")
        if not whole and self._seen.get(one.name, 0) == len(rows):
            return False
        self._seen[one.name] = len(rows)
        if not self._judged(one, rows, whole):
            return False
        with suppress(FileNotFoundError):  # its training has just ended; after a kill it would be trained, and ended, again
            self._keep(one, (place / HISTORY).read_bytes())
        return True

    def settle(self, one: Experiment, at: Revision | None) -> None:
        """Judge a trial that is an experiment from an earlier day. All of a batch are settled before the first of them is told.

        Raises:
            UserError: its history is gone.
        """
        if at is None or one.name in self._histories:
            return
        self._keep(one, _fetched(at, self._model))
        self._judged(one, self._rows(self._place(one), f"{one.name}: {HISTORY}"), whole=True)

    def report(self, trial: optuna.Trial, name: str) -> None:
        """Tell Optuna a trial's history, by which later ones are judged; of one that was ended, up to there."""
        for epoch, value in self._histories.get(name, ()):
            trial.report(value, epoch)

    def _judged(self, one: Experiment, rows: list[tuple[int, float]], whole: bool) -> bool:
        """Note the first epoch at which a trial is to be ended; returns whether there is one."""
        import optuna

        last = one.values.get(f"models.{self._model}.epochs", self._epochs)
        running = optuna.trial.TrialState.RUNNING
        for count, (epoch, _) in enumerate(rows, 1):
            if epoch >= last:  # nothing but its evaluation would be saved
                break
            trial = optuna.trial.create_trial(state=running, intermediate_values=dict(rows[:count]))
            if self._study.pruner.prune(self._study, trial):
                self.ended[one.name], self._histories[one.name] = epoch, rows[:count]
                return True
        if whole:
            self._histories[one.name] = rows
        return False

    def _rows(self, place: Path, where: str) -> list[tuple[int, float]]:
        """Return the epochs of the history in a folder, as Optuna is told them; none where there is no history yet.

        A figure that is no finite number is the worst there is.

        Raises:
            RefusedError: it has no such column.
        """
        rows = list(state.Source.of(place).rows())
        if rows:
            try:
                blocks.known(
                    self._column, [name for name in rows[0][1] if name not in COUNTERS], f"--prune-by: {where}", "column"
                )
            except UserError as error:
                raise RefusedError(str(error)) from None
        values = [(epoch, row.get(self._column, math.nan)) for epoch, row in rows]
        return [(epoch, (-1 if self._up else 1) * (value if math.isfinite(value) else math.inf)) for epoch, value in values]

    def _keep(self, one: Experiment, history: bytes) -> None:
        self._place(one).mkdir(parents=True, exist_ok=True)
        folders.write(self._place(one) / HISTORY, history)

    def _place(self, one: Experiment) -> Path:
        """Return the folder of what is kept of a trial's history: what was made of the same files and params has the same one."""
        of = f"{self._base.head} {self._base.mark} {self._model} {hashlib.sha256(one.params).hexdigest()}"
        return KEPT / hashlib.sha256(of.encode()).hexdigest()[:16]


def _newest(folder: Path) -> Path:
    """Return the folder of the training that wrote last: an earlier one, of another device, may have left its own."""
    with suppress(FileNotFoundError):
        return max(folder.glob(f"*/{HISTORY}"), key=lambda path: path.stat().st_mtime_ns, default=folder / HISTORY).parent
    return folder


def _fetched(at: Revision, model: str) -> bytes:
    """Return the history of an experiment, from DVC's cache or a remote."""
    from dvc.api import DVCFileSystem

    try:
        content: bytes = DVCFileSystem(rev=at.commit).cat_file((paths.model(model) / HISTORY).as_posix())
    except Exception as error:  # the libraries of each kind of remote have errors of their own
        reason = "" if isinstance(error, FileNotFoundError) else f" ({shown(error)})"
        raise UserError(f"--prune-by: {at.name}: its {HISTORY} is neither in DVC's cache nor on a remote{reason}; "
                        f"`dvc exp remove {at.name}` has it made again") from None  # fmt: skip
    return content
