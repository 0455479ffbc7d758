"""Stages side by side, in a small repository: the dvc.lock of a plain run, failures told once, nothing run twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from regen import schedule
from regen.errors import UserError
from tests import smoke

WORK = """
import sys, time
time.sleep(0.2)
with open(sys.argv[1]) as source, open(sys.argv[2], "w") as target:
    target.write(source.read() + sys.argv[2])
"""


def stage(source: str, target: str, command: str = "") -> dict:
    return {"cmd": command or f"{sys.executable} work.py {source} {target}", "deps": [source], "outs": [target]}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """check -> a, b, c -> ab (of a and b)."""
    stages = {"check": stage("params.yaml", "checked")} | {name: stage("checked", name) for name in "abc"}
    stages["ab"] = stage("a", "ab")
    stages["ab"]["deps"].append("b")
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "params.yaml").write_text("x: 1\n")
    write(tmp_path, stages)
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=tmp_path, env=smoke.environment(tmp_path), check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path, stages


def write(folder: Path, stages: dict) -> None:
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def test_it_leaves_the_dvc_lock_of_a_plain_run_and_a_second_run_runs_nothing(project, capsys):
    folder, _ = project
    schedule.repro(3)
    lock = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--force", "--quiet"], env=smoke.environment(folder), check=True)
    assert (folder / "dvc.lock").read_text() == lock
    capsys.readouterr()
    schedule.repro(2)
    assert "started" not in capsys.readouterr().out


def test_what_failed_is_told_once_and_the_rest_is_finished(project, capsys):
    folder, stages = project
    broken = f"{sys.executable} -c \"import sys; sys.exit('error: no luck')\""
    write(folder, stages | {"a": stage("checked", "a", broken)})
    with pytest.raises(UserError, match="2 of 4 stages did not end well: a, ab"):
        schedule.repro(2)
    said = capsys.readouterr()
    assert said.err.count("no luck") == 1
    assert (folder / "b").exists()
    assert (folder / "c").exists()
    assert not (folder / "ab").exists()


def test_a_wrong_params_yaml_stops_it_before_any_work(project):
    folder, stages = project
    broken = f"{sys.executable} -c \"import sys; sys.exit('error: params.yaml: seed: missing')\""
    write(folder, stages | {"check": stage("params.yaml", "checked", broken)})
    with pytest.raises(UserError, match=r"params\.yaml: seed: missing"):
        schedule.repro(2)
    assert not (folder / "a").exists()


def test_the_stage_that_most_others_wait_for_comes_first():
    import networkx as nx

    graph = nx.DiGraph([("last", "long"), ("last", "short")])
    length = schedule._longest_way(graph, {"long": 60.0, "short": 1.0, "last": 5.0})
    assert length == {"last": 5.0, "long": 65.0, "short": 6.0}
