"""Kill whole runs of the pipeline at random moments, until the kills are used up; each run that ends leaves the same dvc.lock.

    python -m tests.chaos.kills FOLDER --kills 100             # of `make smoke`: an hour or more
    python -m tests.chaos.kills FOLDER --kills 20 --tiny       # of a model that needs no network: minutes

A kill is SIGKILL to the scheduler, DVC and all stages at once. Moments are drawn so that every stage is hit: as long as there is
one that was not, the next kill waits until such a one runs. A run that ends is compared, and all that it made is thrown away.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests import smoke
from tests.hostile import full_disk

MADE = ("dvc.lock", "data", "models", "metrics", "figures", "studies", "reports", ".work", ".dvc/cache", ".dvc/tmp")
LONGEST = 20.0  # seconds that a run goes on before it is killed, where all stages were hit


def tiny() -> dict[str, Any]:
    """Return params of one model that is trained and varied in seconds, from data that needs no network."""
    only = {"datasets": ("letters",), "models": ("lstm",)}
    kept = {group: {key: full_disk.PARAMS[group][key] for key in keys} for group, keys in only.items()}
    return {**full_disk.PARAMS, "queries": {}, "encodings": {}, **kept}


class Runs:
    """Runs of the pipeline in one folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.log = folder.parent / f"{folder.name}.log"
        self.killed = Counter[str]()  # stages by how often a kill hit them

    def start(self) -> subprocess.Popen[bytes]:
        environment = {**smoke.environment(self.folder), "MLFLOW_TRACKING_URI": ""}
        with self.log.open("wb") as log:
            return subprocess.Popen([sys.executable, "-m", "regen.cli", "repro", "--jobs", "2"], cwd=self.folder, env=environment,
                                    stdout=log, stderr=log, start_new_session=True)  # fmt: skip

    def running(self) -> list[str]:
        """Return the stages that have started and not ended; before the first of which is told, the check of params.yaml runs."""
        said = self.log.read_text(errors="replace")
        started, done = (re.findall(rf"^(\S+): {word}", said, re.MULTILINE) for word in ("started", "done"))
        return [stage for stage in started if stage not in done] if started else ["check"]

    def finished(self) -> bytes:
        """Run to the end; returns dvc.lock."""
        run = self.start()
        if run.wait():
            raise SystemExit(f"a run failed: {self.log.read_text(errors='replace')[-4000:]}")
        return (self.folder / "dvc.lock").read_bytes()

    def killed_once(self, wanted: set[str]) -> bool:
        """Start a run and kill it while one of the wanted stages runs, or at any moment; returns whether it came to that."""
        run, begun = self.start(), time.monotonic()
        last = begun + self.draw.uniform(1, LONGEST)
        while run.poll() is None and time.monotonic() < last:
            if wanted & set(self.running()):
                time.sleep(self.draw.uniform(0, 3))
                break
            if wanted:
                last = begun + 3600
            time.sleep(0.05)
        hit = self.running()
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        if run.wait() == -signal.SIGKILL:
            self.killed.update(hit or ["between stages"])
            return True
        if run.returncode:
            raise SystemExit(f"a run failed: {self.log.read_text(errors='replace')[-4000:]}")
        return False

    def clear(self) -> None:
        """Throw away all that runs have made."""
        for name in MADE:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        smoke.run(self.folder, "git", "checkout", "--quiet", "--", ".")
        (self.folder / "dvc.lock").unlink(missing_ok=True)


def kill(folder: Path, kills: int, params: dict[str, Any] | None, seed: int = 0) -> Counter[str]:
    """Kill so many runs; returns how often each stage was hit.

    Raises:
        SystemExit: a run failed, or ended with another dvc.lock.
    """
    smoke.copy(folder)
    if params is None:
        smoke.apply(folder, *smoke.overrides("smoke"))
    else:
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    smoke.run(folder, "git", "add", "--all")
    smoke.run(
        folder, "git", "-c", "user.name=regen", "-c", "user.email=regen@localhost", "commit", "--quiet", "--message", "params"
    )
    runs = Runs(folder, seed)
    expected = runs.finished()
    stages = set(yaml.safe_load(expected)["stages"])
    print(f"{len(stages)} stages; a whole run leaves dvc.lock of {len(expected)} bytes", flush=True)
    runs.clear()
    done = ended = 0
    while done < kills:
        if runs.killed_once(stages - runs.killed.keys()):
            done += 1
            print(f"kill {done}: {', '.join(runs.running()) or 'between stages'}", flush=True)
            continue
        ended += 1
        compare(folder, expected)
        runs.clear()
    if runs.finished() != expected:
        compare(folder, expected)
    print(
        f"{done} kills, {len(stages & runs.killed.keys())} of {len(stages)} stages hit, {ended + 1} runs ended: the same dvc.lock"
    )
    return runs.killed


def compare(folder: Path, expected: bytes) -> None:
    """Refuse another dvc.lock than the expected one."""
    found = (folder / "dvc.lock").read_bytes()
    if found != expected:
        (folder / "dvc.lock.expected").write_bytes(expected)
        raise SystemExit(f"{folder}/dvc.lock is not what an undisturbed run leaves (dvc.lock.expected)")


def main() -> None:
    """Read the command line, kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a model that needs no network")
    given = parser.parse_args()
    kill(given.folder.resolve(), given.kills, tiny() if given.tiny else None, given.seed)


if __name__ == "__main__":
    main()
