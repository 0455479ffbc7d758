"""deploy/: what a team's server is made of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
LOCK = DEPLOY.parent / "requirements.lock"
GUIDE = DEPLOY.parent / "docs/tutorials/team.md"
TOLD = {
    "DATABASE": "postgresql://regen@database:5432", "ADMIN_PASSWORD": "twelve-chars", "SECRET_KEY": "0f9c",
    "MLFLOW_S3_ENDPOINT_URL": "http://store:8333",
}  # fmt: skip


def composed() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_the_server_has_the_versions_of_its_clients() -> None:
    installed = re.findall(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", (DEPLOY / "Dockerfile").read_text())
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", LOCK.read_text(), re.MULTILINE))
    assert {name for name, _ in installed} == {"mlflow", "flask-wtf", "psycopg", "boto3"}
    assert [(name, locked[name]) for name, _ in installed] == installed


def test_images_are_pinned_and_nothing_listens_beyond_this_machine() -> None:
    services = composed()["services"]
    images = [service["image"] for service in services.values() if "image" in service]
    images += re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 3
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_password_of_the_compose_file_is_one_to_choose() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert asked == told.keys()
    assert {name for name, value in told.items() if not value} == {
        "DATABASE_PASSWORD", "ADMIN_PASSWORD", "SECRET_KEY", "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip


@pytest.mark.parametrize("script", ["serve", "backup"])
def test_a_script_says_what_it_wants(script: str) -> None:
    done = subprocess.run([DEPLOY / script], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 1
    assert "DATABASE: postgresql://user:password@host:port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_the_services_name_is_there() -> None:
    services, declared = composed()["services"], composed()["volumes"].keys()
    mounted = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {name for name in mounted if not name.startswith(".")} == declared
    copied = re.findall(r"^COPY (.+) /app/$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[0].split()
    files = {*copied, *(name for name in mounted if name.startswith("."))}
    assert [name for name in files if not (DEPLOY / name).is_file()] == []
    run = {Path(name).name for name in re.findall(r"/app/(\w+)", services["mlflow"]["command"][-1])}
    assert run == {"bucket", "serve"} <= set(copied)
    assert {f"{name}.py" for name in re.findall(r"s3 = (\w+):", (DEPLOY / "serve").read_text())} <= set(copied)
    assert all(name in services for service in services.values() for name in service.get("depends_on", {}))
    waited = [name for service in services.values() for name, how in service.get("depends_on", {}).items()
              if how["condition"] == "service_healthy"]  # fmt: skip
    assert [name for name in waited if "healthcheck" not in services[name]] == []


def test_a_service_is_told_what_its_scripts_want_and_nothing_else() -> None:
    told = composed()["services"]["mlflow"]["environment"].keys()
    scripts = "".join((DEPLOY / name).read_text() for name in ("serve", "backup", "bucket"))
    wanted = set(re.findall(r': "\$\{(\w+):\?', scripts)) | set(re.findall(r'environ\["(\w+)"\]', scripts))
    assert wanted <= told
    assert told - set(re.findall(r"\w+", scripts)) == {"AWS_DEFAULT_REGION"}  # of boto3


def test_the_store_gets_the_keys_in_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    service = composed()["services"]["store"]
    script = service["command"][0].replace("$$", "$").replace("/tmp/", f"{tmp_path}/")
    (tmp_path / "weed").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "weed").chmod(0o755)
    keys = {"AWS_ACCESS_KEY_ID": "anna", "AWS_SECRET_ACCESS_KEY": "0f9c"}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **keys}
    done = subprocess.run([*service["entrypoint"], script], capture_output=True, text=True, env=environment, check=True)
    given = done.stdout.split()
    assert f"-s3.config={tmp_path}/s3.json" in given
    # The parts that ask for no key are for the store itself.
    assert [one for one in given if re.match(r"-(\w+\.)?ip\b", one)] == [
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3.ip.bind=0.0.0.0",
    ]
    assert (tmp_path / "s3.json").stat().st_mode & 0o077 == 0
    (identity,) = json.loads((tmp_path / "s3.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": "anna", "secretKey": "0f9c"}]


def test_the_database_is_ready_when_it_listens_to_others() -> None:
    service = composed()["services"]["postgres"]
    check = service["healthcheck"]["test"]
    assert check[check.index("--host") + 1] == "127.0.0.1"
    # By default it asks for a database of its user's name, and the log fills with refusals.
    assert check[check.index("--dbname") + 1] == service["environment"]["POSTGRES_DB"]


def test_the_store_is_given_the_time_that_it_takes_to_end() -> None:
    # It waits 10 seconds for other servers of its kind, and then for clients: after the default of 10 it would be killed.
    assert composed()["services"]["store"]["stop_grace_period"] == "1m"


def test_no_password_is_in_an_address_or_in_a_command_of_the_guide() -> None:
    environment = composed()["services"]["mlflow"]["environment"]
    assert [name for name, value in environment.items() if re.search(r"\$\{\w*(PASSWORD|KEY)\b", value)] == [
        "PGPASSWORD", "ADMIN_PASSWORD", "SECRET_KEY", "AWS_SECRET_ACCESS_KEY",
    ]  # fmt: skip
    assert not [value for value in environment.values() if "://" in value and "$" in value]
    commands = re.findall(r"^docker compose .*", GUIDE.read_text(), re.MULTILINE)
    assert len(commands) > 4
    assert set(re.findall(r"\$[({]?\w+", "\n".join(commands))) == {"$(id", "$PWD"}
    (upgraded,) = re.findall(r"db upgrade postgresql\+psycopg://(\S+)", "\n".join(commands))
    assert f"postgresql://{upgraded}" == f"{environment['DATABASE']}/mlflow"


def served(folder: Path, code: str, **told: str) -> subprocess.CompletedProcess[str]:
    """What deploy/serve does with Python code in the place of MLflow's server."""
    (folder / "code.py").write_text(code)
    (folder / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {folder}/code.py\n")
    (folder / "python").chmod(0o755)
    path = os.pathsep.join([str(folder), "/usr/bin", "/bin"])
    return subprocess.run([DEPLOY / "serve"], capture_output=True, text=True, env={"PATH": path, **TOLD, **told}, check=False)


def test_clients_are_not_sent_to_a_store_that_they_may_not_reach(tmp_path: Path) -> None:
    code = """
import os, pathlib, tempfile
import boto3, moto
from mlflow.store.artifact import artifact_repo as kinds
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

with moto.mock_aws(), tempfile.TemporaryDirectory() as folder:
    boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"]).create_bucket(Bucket="mlflow")
    store = get_artifact_repository("s3://mlflow")
    (pathlib.Path(folder) / "a").write_text("bytes")
    store.log_artifact(f"{folder}/a", "1")
    store.log_artifacts(folder, "2")
    print(pathlib.Path(store.download_artifacts("2/a")).read_text(), *(found.path for found in store.list_artifacts()))
    store.delete_artifacts("1")
    print(*(found.path for found in store.list_artifacts()))
told = (kinds.MultipartDownloadMixin, kinds.MultipartUploadMixin, kinds.PresignedUploadMixin)
print(type(store).__name__, isinstance(store, told))
"""
    keys = {"AWS_ACCESS_KEY_ID": "regen", "AWS_SECRET_ACCESS_KEY": "regen", "AWS_DEFAULT_REGION": "us-east-1"}
    done = served(tmp_path, code, MOTO_S3_CUSTOM_ENDPOINTS=TOLD["MLFLOW_S3_ENDPOINT_URL"], **keys)
    assert done.stdout.splitlines() == ["bytes 1 2", "2", "Proxied False"], done.stderr


def test_a_password_that_mlflow_refuses_is_refused_in_a_line(tmp_path: Path) -> None:
    done = served(tmp_path, "print(1)", ADMIN_PASSWORD="eleven-char")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: ADMIN_PASSWORD: expected at least 12 characters\n")
