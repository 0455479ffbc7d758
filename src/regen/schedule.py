"""`dvc repro` with stages side by side: each runs by a `dvc repro --single-item` of its own once those before it are done.

DVC itself runs one stage after another. What this leaves in dvc.lock is what a plain `dvc repro` leaves, byte for byte: a stage's
result does not depend on when it ran, and its entry is put where a plain run puts it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

import networkx as nx
import psutil
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_result,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

from regen import blocks, interrupted, params, paths
from regen.data import folders
from regen.errors import UserError

LOGS, TIMES = paths.WORK / "logs", paths.WORK / "times.json"
BEFORE = paths.WORK / "order.txt"  # how dvc.lock was ordered before a run that has not ended yet, or was killed
ROOM = 1 << 20  # bytes; with less, a disk is full
GUESSED = {"train": 120.0, "evaluate": 20.0, "export": 10.0, "study": 20.0}  # seconds of a stage that never ran here; others: 5
BUSY = ("is busy", "acquire lock", "is locked")  # what DVC says while another stage holds a lock


def repro(jobs: int, names: Sequence[str] = ()) -> None:
    """Bring the pipeline up to date, `jobs` stages at a time, those with the longest way to the end first.

    With `names` of blocks of params.yaml, only these and what they need; of a data set also its models.

    A stage that fails is told once, with the end of what it said; what does not depend on it is finished.

    Raises:
        UserError: a stage failed, or params.yaml is wrong.
    """
    if os.name == "nt":
        raise UserError("the pipeline's commands are those of a POSIX shell: on Windows, run it in WSL")
    interrupted.mend()
    given = params.read()  # before DVC does: what fills a reader's memory, or names what is no name, is refused here
    for name in names:
        known_blocks = [key for group in params.GROUPS for key in getattr(given, group)]
        blocks.known(name, known_blocks, "regen repro", "data set, model or other block of params.yaml")
    known = _known()
    _checked()
    graph, plan, pending = _graph()
    if names:
        pending &= _needed(graph, names, given)
    seconds = times()
    length = _longest_way(graph, seconds)
    failed: dict[str, str] = {}
    running: dict[Future[str], tuple[str, float]] = {}
    started, total = time.monotonic(), len(pending)
    with ended_together() as ending, ThreadPoolExecutor(max(1, jobs)) as pool:
        while pending or running:
            ready = [
                stage for stage in pending if not (set(graph.successors(stage)) & (pending | {s for s, _ in running.values()}))
            ]
            for stage in sorted(ready, key=lambda stage: (-length[stage], stage))[: max(0, jobs - len(running))]:
                pending.remove(stage)
                if broken := sorted(set(nx.descendants(graph, stage)) & failed.keys()):
                    failed[stage] = f"not run, as {broken[0]} failed"
                    continue
                running[pool.submit(_run, stage, ending)] = stage, time.monotonic()
                print(f"{stage}: started", flush=True)
            if not running:
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage, since = running.pop(future)
                took = time.monotonic() - since
                if problem := future.result():
                    failed[stage] = problem
                    print(f"error: {stage}: {problem}", file=sys.stderr, flush=True)
                else:
                    seconds[stage] = round(took, 1)
                    with suppress(OSError):  # a full disk: an estimate less
                        folders.write_json(TIMES, seconds)
                    print(f"{stage}: done in {took:.0f} s ({total - len(pending) - len(running)} of {total})", flush=True)
    _order(known, plan)
    if failed:
        raise UserError(f"{len(failed)} of {total} stages did not end well: {', '.join(sorted(failed))}")
    if total:
        print(f"{total} stages in {time.monotonic() - started:.0f} s")


def _checked() -> None:
    """Check params.yaml and write down the code of each stage: what the others depend on."""
    if problem := _run("check", threading.Event()):
        raise UserError(problem)


def _graph() -> tuple[nx.DiGraph, list[str], set[str]]:
    """Return DVC's graph, an edge from each stage to those it depends on, its order of a plain run, and what is not current."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    try:
        with Repo() as repo:
            graph = nx.DiGraph()
            graph.add_nodes_from(stage.addressing for stage in repo.index.stages)
            graph.add_edges_from((one.addressing, other.addressing) for one, other in repo.index.graph.edges)
            plan = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, ["dvc.yaml"]))
            changed = set(repo.status()) & set(graph)
    except DvcException as error:  # a template of dvc.yaml that params.yaml does not fill, a circle, a lock
        raise UserError(f"dvc: {' '.join(str(error).split())}") from None
    pending = changed | {later for stage in changed for later in nx.ancestors(graph, stage)}
    return graph, [stage.addressing for stage in plan], pending


def _needed(graph: nx.DiGraph, names: Sequence[str], given: params.Params) -> set[str]:
    """Return the stages of these blocks of params.yaml, of data sets also those of their models, and all that they depend on.

    Also what runs exported models in a page.
    """
    keys = {*names, *(key for key, block in given.models.items() if given.encoded(block["dataset"]) in names)}
    stages = {stage for stage in graph if stage.partition("@")[2] in keys or stage == "runtime"}
    return stages | {other for stage in stages for other in nx.descendants(graph, stage)}


def _blocks() -> tuple[str, dict[str, str]]:
    """Return what stands above the stages in dvc.lock, and the text of each stage's entry in its order."""
    if not paths.LOCK.exists():
        return "", {}
    head, *entries = re.split(r"^(?=  \S)", paths.LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return head, {entry[2:].partition(":\n")[0]: entry for entry in entries}


def _known() -> list[str]:
    """Return the stages of dvc.lock in its order, without those that a killed run appended as they ended."""
    known = list(_blocks()[1])
    with suppress(OSError, ValueError):
        before = BEFORE.read_text(encoding="utf-8").splitlines()
        if known[: len(before)] == before:  # else dvc.lock is another one by now
            return before
    with suppress(OSError):  # a full disk: without it, entries are where they were appended
        paths.WORK.mkdir(exist_ok=True)
        folders.write(BEFORE, "".join(f"{stage}\n" for stage in known))
    return known


def _order(known: list[str], plan: list[str]) -> None:
    """Order dvc.lock as a plain run would: entries that were there stay where they were, new ones follow in DVC's order."""
    head, entries = _blocks()
    place = {stage: number for number, stage in reversed(list(enumerate([*known, *plan])))}  # the first place counts
    ordered = sorted(entries, key=lambda stage: place.get(stage, len(place)))
    if ordered != list(entries):
        folders.write(paths.LOCK, head + "".join(entries[stage] for stage in ordered))
    BEFORE.unlink(missing_ok=True)


def _longest_way(graph: nx.DiGraph, seconds: Mapping[str, float]) -> dict[str, float]:
    """Return for each stage the seconds from its start to the end of all that follows it one after another."""
    length: dict[str, float] = {}
    for stage in nx.topological_sort(graph):  # from the last stage to the first
        own = seconds.get(stage, GUESSED.get(stage.partition("@")[0], 5.0))
        length[stage] = own + max((length[later] for later in graph.predecessors(stage)), default=0.0)
    return length


@contextmanager
def ended_together() -> Iterator[threading.Event]:
    """End with what runs below this process when it is asked to (SIGTERM), as Ctrl-C does; the event is set then.

    What has a session of its own, as tracking has, sees the end of its stage and ends by itself.
    """
    ending = threading.Event()

    def end(number: int, _: object) -> None:
        ending.set()
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(child.pid) == os.getsid(0):
                    child.terminate()
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(stage: str, ending: threading.Event) -> str:
    """Run one stage; returns what went wrong, or an empty text. DVC's locks are waited for, until the event `ending` is set."""
    log = LOGS / f"{stage.replace('/', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)

    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])  # `python` is this one

    def attempt() -> tuple[int, str]:
        with log.open("w", encoding="utf-8") as file:
            command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
            environment = {**os.environ, "PATH": here}
            code = subprocess.run(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, check=False, env=environment
            ).returncode
        return code, log.read_text(encoding="utf-8", errors="replace")

    def busy(result: tuple[int, str]) -> bool:
        said = [line for line in result[1].splitlines() if line.startswith("ERROR: ")]  # DVC's, and not the stage's own
        return result[0] != 0 and any(word in line for line in said for word in BUSY)

    def last(state: RetryCallState) -> tuple[int, str]:
        assert state.outcome is not None
        outcome: tuple[int, str] = state.outcome.result()
        return outcome

    retrying = Retrying(
        retry=retry_if_result(busy),
        wait=wait_random_exponential(0.2, max=5),
        stop=stop_after_attempt(60) | stop_when_event_set(ending),
        sleep=sleep_using_event(ending),
        retry_error_callback=last,
    )
    code, said = retrying(attempt)
    return "" if code == 0 else _reason(said, log)


def _reason(said: str, log: Path) -> str:
    """Return the lines in which a stage or DVC says what went wrong."""
    told = {
        mark: [line.removeprefix(mark) for line in said.splitlines() if line.startswith(mark)] for mark in ("error: ", "ERROR: ")
    }
    lines = told["error: "] or told["ERROR: "]  # a stage's own, or DVC's
    if not lines and shutil.disk_usage(log.parent).free < ROOM:  # then the log could not be written either
        return f"{log.parent}: the disk is full; free some space and run again"
    lines = lines or [line for line in said.splitlines() if line.strip()][-1:] or ["nothing was said"]
    return "; ".join(lines) + f" (see {log})"


def times() -> dict[str, float]:
    """Return the seconds that stages took here before."""
    try:
        found = json.loads(TIMES.read_text(encoding="utf-8"))
        return {str(stage): float(value) for stage, value in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
