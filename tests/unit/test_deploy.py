"""deploy/: what a team's server is made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
LOCK = DEPLOY.parent / "requirements.lock"


def test_the_server_has_the_versions_of_its_clients() -> None:
    installed = re.findall(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", (DEPLOY / "Dockerfile").read_text())
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", LOCK.read_text(), re.MULTILINE))
    assert {name for name, _ in installed} == {"mlflow", "flask-wtf", "psycopg", "boto3"}
    assert [(name, locked[name]) for name, _ in installed] == installed


def test_images_are_pinned_and_nothing_listens_beyond_this_machine() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
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
