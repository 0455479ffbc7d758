"""Experiments side by side: named, checked before any work, each run in its copy, kept as an experiment of DVC."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regen import blocks, checks, documents, paths, schedule
from regen.commands import text
from regen.commands.revisions import Revision
from regen.commands.sweeping import copies, process, values
from regen.errors import UserError
from regen.host import cores
from regen.params import GROUPS, Params

if TYPE_CHECKING:
    from regen.commands.sweeping.pruning import Pruning

BLOCKS = "Blocks: "  # before the names of what was run, in the text of an experiment's commit
ALL = "all of params.yaml"
POLL = 0.5  # seconds between two looks whether the end has come


@dataclass(frozen=True)
class Experiment:
    """Values of params, and the params.yaml that they make."""

    name: str
    values: dict[str, Any]
    params: bytes


class RefusedError(UserError):
    """A mistake that concerns all experiments, and is found while they run: all of them are ended."""


class Runner:
    """Makes experiments from one state of the workspace.

    Attributes:
        names: blocks of params.yaml that are run, with what they need; none: all that params.yaml holds.
    """

    def __init__(self, varied: Sequence[str], names: Sequence[str], jobs: int | None) -> None:
        """Read params.yaml as it is now.

        Args:
            varied: paths of the params that experiments change.
            names: what is run; none: the blocks that hold these params.
            jobs: experiments at a time; by default as many as the cores allow.

        Raises:
            UserError: it is wrong, a path leads nowhere in it, a name is none, or there is no commit.
        """
        self.text = documents.text(paths.PARAMS)
        values.placed(varied, documents.parsed(self.text, str(paths.PARAMS)))
        self.given: Params = checks.check()
        self.names = list(names) or values.concerned(varied)
        known = [key for group in GROUPS for key in getattr(self.given, group)]
        for name in self.names:
            blocks.known(name, known, "params.yaml", "data set, model or other block")
        self.jobs, self.inside = jobs or max(1, cores() // self.given.threads), 1  # stages at a time of one experiment
        self.base, self.cache = copies.base(), copies.cache()

    @property
    def models(self) -> list[str]:
        """The models that experiments measure."""
        return [key for key, block in self.given.models.items()
                if not self.names or key in self.names or self.given.encoded(block["dataset"]) in self.names]  # fmt: skip

    def experiments(self, rows: Sequence[Mapping[str, Any]]) -> list[Experiment]:
        """Return the experiments of some values, all of them checked as `regen check` does.

        Raises:
            UserError: one line for each mistake; or two have one name, or one has that of another experiment.
        """
        found = [Experiment(values.name(row, self.base.mark), dict(row), values.written(self.text, row).encode()) for row in rows]
        by_name: dict[str, Experiment] = {}
        for one in found:
            if (other := by_name.setdefault(one.name, one)) is not one and other.params != one.params:
                raise UserError(f"{one.name}: two experiments would have this name")
        self._checked(list(by_name.values()))
        for one in by_name.values():
            if (at := self.base.found(one.name)) and not self.base.current(at, one.params):
                raise UserError(f"{one.name}: an experiment of this name is there already, with other values or code; "
                                f"`dvc exp remove {one.name}`, or `dvc exp rename {one.name} NEW`, then again")  # fmt: skip
        return found

    def done(self, one: Experiment) -> Revision | None:
        """Return the experiment that was made of these values and of all that is to be run."""
        at = self.base.found(one.name)
        if at is None or not self.base.current(at, one.params):
            return None
        ran = self._ran(at)
        return at if ran == ALL or (self.names and set(self.names) <= set(ran.split())) else None

    def run(
        self, wanted: Sequence[Experiment], before: int = 0, total: int = 0, pruning: Pruning | None = None
    ) -> dict[str, str]:  # fmt: skip
        """Run the experiments that are missing, one line for each; returns what went wrong, by their names.

        Args:
            wanted: experiments, whose names differ.
            before: how many others have ended before, of `total`.
            total: by default these.
            pruning: ends some of them early: such a one becomes no experiment of DVC.

        Raises:
            RefusedError: by `pruning`.
        """
        missing = [one for one in wanted if not self.done(one) and not (pruning and pruning.known(one))]
        failed, total = dict[str, str](), total or len(wanted)
        ended = before + len(wanted) - len(missing)
        self.inside = max(1, self.jobs // max(1, len(missing)))
        furnishes = self._furnishes and ended == 0
        running: dict[Future[str], tuple[Experiment, float]] = {}
        with schedule.ended_together() as ending, ThreadPoolExecutor(self.jobs) as pool:
            try:
                while missing or running:
                    while missing and len(running) < (1 if furnishes and not ended else self.jobs):
                        one = missing.pop(0)
                        running[pool.submit(self._one, one, ending, pruning)] = one, time.monotonic()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        one, since = running.pop(future)
                        ended += 1
                        if problem := future.result():
                            failed[one.name] = problem
                            text.say(f"error: {one.name}: {problem}", err=True)
                        else:
                            epoch = pruning.ended.get(one.name) if pruning else None
                            how = "done in" if epoch is None else f"pruned at epoch {epoch}, after"
                            text.say(f"{one.name}: {how} {time.monotonic() - since:.0f} s ({ended} of {total})")
                        sys.stdout.flush()
            except BaseException:
                ending.set()
                raise
        return failed

    @property
    def _furnishes(self) -> bool:
        """Whether the first experiment may download or train what the others need, too: then it is made alone, as the first."""
        learners = [self.given.models[key] for key in self.models]
        needed = [paths.prepared(block["dataset"]) for block in learners] + [paths.classifier(block) for block in learners]
        return bool(self.base.mark) or not all(path.exists() for path in needed if path)

    def _checked(self, found: Sequence[Experiment]) -> None:
        """Check each params.yaml; a line that is the same for several is told once."""
        path, lines = copies.FOLDER / f".check-{os.getpid()}" / paths.PARAMS, dict[str, str]()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            for one in found:
                path.write_bytes(one.params)
                try:
                    checks.check(path)
                except UserError as error:
                    for line in str(error).replace(str(path), str(paths.PARAMS)).split("\n"):
                        lines.setdefault(line, one.name)
        finally:
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        if lines:
            raise UserError("\n".join(f"{name}: {line}" for line, name in lines.items()))

    def _ran(self, at: Revision) -> str:
        """Return the blocks that an experiment has run."""
        return next((line.removeprefix(BLOCKS) for line in self.base.about(at).splitlines() if line.startswith(BLOCKS)), "")

    def _one(self, one: Experiment, ending: threading.Event, pruning: Pruning | None) -> str:
        """Make one experiment; returns what went wrong, or an empty text."""

        def busy() -> None:
            text.say(f"{one.name}: run by another sweep, or by what a killed one left; waited for", err=True)

        with copies.alone(one.name, ending, busy) as lock:
            if ending.is_set() or self.done(one) or (pruning and pruning.known(one)):
                return "" if not ending.is_set() else "interrupted"
            at = self.base.found(one.name)
            ran = self._ran(at) if at else ""
            names = [] if ran == ALL or not self.names else sorted({*self.names, *ran.split()} & self._known)
            try:
                folder = copies.lay_out(self.base, one.name, one.params, self.cache)
                inside = folder / self.base.place
                over = pruning is not None and pruning.due(one, inside, whole=False)  # by what an interrupted one has left
                problem = "" if over else self._process(one, inside, names, lock, ending, pruning)
                if pruning and pruning.due(one, inside, whole=not problem):
                    (copies.FOLDER / f"{one.name}.log").unlink(missing_ok=True)
                    with suppress(OSError):  # what ends more slowly may still write; it is no copy any more
                        copies.remove(folder)
                    return ""
                if problem:
                    return problem
                about = "".join(f"\n{path}: {values.said(value)}" for path, value in one.values.items())
                self.base.save(one.name, folder, f"regen: {one.name}\n{about}\n{BLOCKS}{' '.join(names) or ALL}")
                copies.remove(folder)
            except RefusedError:
                raise
            except (UserError, OSError) as error:
                return str(error)
        return ""

    @property
    def _known(self) -> set[str]:
        return {key for group in GROUPS for key in getattr(self.given, group)}

    def _process(
        self, one: Experiment, folder: Path, names: Sequence[str], lock: Path, ending: threading.Event, pruning: Pruning | None
    ) -> str:
        """Run the pipeline in a copy, and wait for it; returns what went wrong, or an empty text."""
        log = copies.FOLDER / f"{one.name}.log"
        environment = {key: value for key, value in os.environ.items() if key not in copies.OURS} | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str((folder / "src").resolve()), os.environ.get("PYTHONPATH")])),
            "DVC_ROOT": str(Path.cwd()), "DVC_EXP_NAME": one.name, "DVC_EXP_BASELINE_REV": self.base.head,
        }  # fmt: skip
        command = [sys.executable, "-m", process.__name__, str(lock.resolve()), str(self.inside), *names]
        with log.open("w", encoding="utf-8") as file:
            child = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        code = _ended(child, ending, (lambda: pruning.due(one, folder, whole=False)) if pruning else lambda: False)
        if not code:
            log.unlink(missing_ok=True)
            return ""
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = (told or lines[-1:] or [f"ended by {code}, and nothing was said"])[0]
        inside = reason.replace(f"(see {schedule.LOGS}", f"(see {folder / schedule.LOGS}")
        return inside if inside != reason else f"{reason} (see {log})"


def _ended(child: subprocess.Popen[bytes], ending: threading.Event, due: Callable[[], bool]) -> int:
    """Wait for a process, and end it where `ending` is set or it is `due`; returns its exit status."""
    told = False
    while True:
        try:
            return child.wait(POLL)
        except subprocess.TimeoutExpired:
            try:
                if not told and (ending.is_set() or due()):
                    child.terminate()
                    told = True
            except BaseException:
                child.terminate()
                child.wait()
                raise
