"""deploy/backup: what was kept comes back, to a database and a store that have lost it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.team import parts

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    with parts.postgres() as postgres, parts.s3(tmp_path, "mlflow") as s3:
        database, store = postgres.address, s3.address
        place = os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ["PATH"], str(Path(parts.program("initdb") or "").parent)]
        )
        environment = {**os.environ, **parts.KEYS, "DATABASE": database, "MLFLOW_S3_ENDPOINT_URL": store, "PATH": place}
        client = boto3.client("s3", endpoint_url=store, aws_access_key_id="regen", aws_secret_access_key="regen")

        def backup(way: str) -> subprocess.CompletedProcess[str]:
            command = [str(parts.ROOT / "deploy/backup"), way, str(tmp_path / "kept")]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        refused = backup("restore")
        assert refused.stderr.startswith("error: ")
        for name in ("mlflow", "users"):
            parts.sql(f"{database}/{name}", f"create table t (x text); insert into t values ('{name}')")
        client.put_object(Bucket="mlflow", Key="1/models/m-1/weights", Body=b"weights")
        kept = backup("save")
        assert kept.returncode == 0, kept.stderr
        assert backup("save").stderr.endswith("is there already; name a new folder\n")
        for name in ("mlflow", "users"):
            # as the tables of a later version: one that is not in the copy, and that holds on to one that is
            later = "alter table t add primary key (x); create table later (x text references t (x))"
            parts.sql(f"{database}/{name}", f"delete from t; {later}")
        client.delete_object(Bucket="mlflow", Key="1/models/m-1/weights")
        restored = backup("restore")
        assert (restored.returncode, restored.stderr) == (0, "")
        assert [parts.sql(f"{database}/{name}", "select x from t") for name in ("mlflow", "users")] == [
            [("mlflow",)],
            [("users",)],
        ]
        tables = "select tablename from pg_tables where schemaname = 'public'"
        assert [parts.sql(f"{database}/{name}", tables) for name in ("mlflow", "users")] == [[("t",)], [("t",)]]
        assert client.get_object(Bucket="mlflow", Key="1/models/m-1/weights")["Body"].read() == b"weights"
