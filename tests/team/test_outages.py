"""Ten trainings while PostgreSQL stops, MLflow is killed, the S3 store hangs and a user is locked out: none notices, and what the
server has afterwards is counted in PostgreSQL."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
from mlflow.server.auth.client import AuthServiceClient

from regen.tracking import launch
from tests.team import parts

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]

TRAININGS, EPOCHS = 10, 40
TRAINER = """
import sys, time
from pathlib import Path
from PIL import Image
from regen.tracking import launch
key = sys.argv[1]
work = Path(".work/train") / key / "s1"
(work / "progress").mkdir(parents=True)
with launch.mirrored(key, "s1", {"beta": 1.0}, "punks", "cpu", after=0):
    for epoch in range(1, EPOCHS + 1):
        with (work / "history.csv").open("a") as file:
            file.write(("epoch,loss\\n" if epoch == 1 else "") + f"{epoch},{1 / epoch}\\n")
        if epoch & (epoch - 1) == 0:
            Image.new("RGB", (8, 8), (epoch, 0, 0)).save(work / "progress" / f"epoch_{epoch:04d}.png")
        while not Path(f"go{epoch}").exists():
            time.sleep(0.1)
"""


def sync(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`regen sync` of a user."""
    command = [sys.executable, "-m", "regen.tracking", "sync"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def until(true: object, seconds: float = 600) -> None:
    """Wait for something to become true."""
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_ten_trainings_outlive_every_outage_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(parts.postgres())
        store = stack.enter_context(parts.s3(tmp_path, "mlflow"))
        server = stack.enter_context(parts.mlflow(tmp_path, database.address, store.address, "anna"))
        folder = tmp_path / "anna"
        folder.mkdir()
        environment = {
            **os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[2]), "MLFLOW_TRACKING_URI": server.of("anna"),
        }  # fmt: skip
        command = [sys.executable, "-c", TRAINER.replace("EPOCHS", str(EPOCHS))]
        trainers = [
            subprocess.Popen([*command, f"model_{n}"], cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)
            for n in range(TRAININGS)
        ]

        def go(first: int, last: int) -> None:
            """Let the trainings do these epochs."""
            for epoch in range(first, last):
                (folder / f"go{epoch}").touch()
                time.sleep(0.5)

        def arrived(epoch: int) -> bool:
            """Whether the server has an epoch of each training."""
            query = f"select count(*) from metrics where key = 'train/loss' and step = {epoch}"
            return parts.sql(f"{database.address}/mlflow", query) == [(TRAININGS,)]

        go(1, 5)
        until(lambda: arrived(5))  # ten mirrors are at work

        database.part.end(signal.SIGINT)
        go(5, 12)
        database.part.start()
        go(12, 15)

        server.part.end(signal.SIGKILL)
        go(15, 20)
        server.part.start()
        until(lambda: arrived(20))

        store.part.send(signal.SIGSTOP)
        go(20, 25)
        store.part.send(signal.SIGCONT)
        go(25, 28)

        password(server, "another-password-0")
        go(28, 32)
        refused = sync(folder, environment)
        assert refused.returncode == 1
        assert "user or password refused (HTTP 401)" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        password(server, server.passwords["anna"])

        go(32, EPOCHS + 1)
        for trainer in trainers:
            _, said = trainer.communicate()
            assert trainer.returncode == 0, said
            assert "Traceback" not in said

        def complete() -> bool:
            done = sync(folder, environment)
            return done.returncode == 0 and "is being mirrored" not in done.stdout

        until(complete)
        counted(database.address, store.address)


def password(server: parts.Server, word: str) -> None:
    """Give Anna another password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", server.passwords["admin"])
        AuthServiceClient(f"http://127.0.0.1:{server.port}").update_user_password("anna", word)


def counted(database: str, store: str) -> None:
    """Ten runs that have ended, each point of each once, each picture of each once."""
    runs = parts.sql(f"{database}/mlflow", "select run_uuid, name, status from runs")
    assert sorted((str(name), status) for _, name, status in runs) == sorted((f"model_{n}", "FINISHED") for n in range(TRAININGS))
    query = "select run_uuid, step, value, count(*) from metrics where key = 'train/loss' group by 1, 2, 3"
    points = Counter({(run, step, value): count for run, step, value, count in parts.sql(f"{database}/mlflow", query)})
    assert points == Counter({(run, epoch, 1 / epoch): 1 for run, *_ in runs for epoch in range(1, EPOCHS + 1)})
    client = boto3.client("s3", endpoint_url=store, aws_access_key_id="regen", aws_secret_access_key="regen")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="mlflow")
    names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    found = Counter(
        match.groups() for name in names if (match := re.search(r"/(\w+)/artifacts/images/.*step.(\d+).*webp$", name))
    )
    wanted = [str(2**power) for power in range(6)]
    assert found == Counter({(str(run), step): 1 for run, *_ in runs for step in wanted})
