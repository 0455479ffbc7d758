"""A server that has many runs. REGEN_RUNS=1000 is the whole of it; `-s` shows the seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from regen.tracking import launch, state
from tests.team import parts

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]
RUNS, EPOCHS = int(os.environ.get("REGEN_RUNS", "20")), 100
COLUMNS = ("loss", "examples", "learning_rate", "gradient_norm")


def trained(folder: Path, n: int) -> None:
    """Note a training of 100 epochs that has ended."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    rows = [f"{epoch},{1 / epoch},{64 * epoch},0.001,{n / epoch}" for epoch in range(1, EPOCHS + 1)]
    (work / "history.csv").write_text("\n".join([f"epoch,{','.join(COLUMNS)}", *rows, ""]))
    noted = folder / ".work/tracking" / f"model_{n % 25}" / f"s{n}"
    run = {"key": f"model_{n % 25}", "signature": f"s{n}", "params": {"beta": n}, "dataset": "punks"}
    status = {"training": f"t{n}", "attempt": 1, "started": 1, "ended": 2, "status": "FINISHED", "tags": {}}
    state.write(noted / "training.json", {"run": run, "work": str(work), **status})
    state.snapshot(noted, state.Source.of(work))


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_many_runs_are_sent_once_and_then_nothing_is(tmp_path: Path) -> None:
    with parts.postgres() as database, parts.s3(tmp_path, "mlflow") as store:
        address = f"{database.address}/mlflow"
        with parts.mlflow(tmp_path, database.address, store.address, "anna") as server:
            for name in ("params.yaml", "dvc.yaml"):
                (tmp_path / name).touch()
            for n in range(RUNS):
                trained(tmp_path, n)
            source = str(Path(launch.__file__).parents[2])
            environment = {**os.environ, "PYTHONPATH": source, "MLFLOW_TRACKING_URI": server.of("anna")}

            def sync() -> None:
                command = [sys.executable, "-m", "regen.cli", "sync"]
                subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)

            first = seconds(sync)
            points = parts.sql(address, "select count(*), count(distinct run_uuid) from metrics")
            assert points == [(RUNS * EPOCHS * len(COLUMNS), RUNS)]
            again = seconds(sync)
            print(f"{RUNS} runs: sent in {first:.1f} s; nothing to send: {again:.1f} s")
            assert parts.sql(address, "select count(*), count(distinct run_uuid) from metrics") == points
