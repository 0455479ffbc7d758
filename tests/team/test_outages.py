"""Ten trainings while PostgreSQL stops, MLflow is killed, the S3 store hangs and a user is locked out: none notices, and what the
server has afterwards is counted in PostgreSQL."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from regen.tracking import launch
from tests.team import parts
from tests.team.trainings import EPOCHS, Trainings, until

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]

TRAININGS = 10


def test_ten_trainings_outlive_every_outage_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(parts.postgres())
        store = stack.enter_context(parts.s3(tmp_path, "mlflow"))
        server = stack.enter_context(parts.mlflow(tmp_path, database.address, store.address, "anna"))
        environment = {
            **os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[2]), "MLFLOW_TRACKING_URI": server.of("anna"),
        }  # fmt: skip
        anna = Trainings(tmp_path / "anna", environment)
        stack.enter_context(anna.of(*(f"model_{n}" for n in range(TRAININGS))))

        def arrived(epoch: int) -> bool:
            """Whether the server has an epoch of each training."""
            query = f"select count(*) from metrics where key = 'train/loss' and step = {epoch}"
            return parts.sql(f"{database.address}/mlflow", query) == [(TRAININGS,)]

        anna.go(1, 5)
        until(lambda: arrived(5))  # ten mirrors are at work

        database.part.end(signal.SIGINT)
        anna.go(5, 12)
        database.part.start()
        anna.go(12, 15)

        server.part.end(signal.SIGKILL)
        anna.go(15, 20)
        server.part.start()
        until(lambda: arrived(20))

        store.part.send(signal.SIGSTOP)  # for a minute, in which each training has a picture to send
        anna.go(20, 34)
        time.sleep(60)
        store.part.send(signal.SIGCONT)

        server.administer("2.0/mlflow/users/update-password", "PATCH", username="anna", password="another-password-0")
        anna.go(34, 36)
        refused = anna.sync()
        assert refused.returncode == 1
        assert "user or password refused (HTTP 401)" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        server.administer("2.0/mlflow/users/update-password", "PATCH", username="anna", password=server.passwords["anna"])

        anna.go(36, EPOCHS + 1)
        anna.end()
        until(anna.synced)
        counted(database.address, store.address)


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
