"""Stages side by side, in a small repository: the dvc.lock of a plain run, failures told once, nothing run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import psutil
import pytest
import yaml

from regen import params, schedule
from regen.errors import UserError
from tests import smoke

WORK = """
import sys, time
time.sleep(0.2)
with open(sys.argv[1]) as source, open(sys.argv[2], "w") as target:
    target.write(source.read() + sys.argv[2])
"""


PARAMS = """
seed: 0
precision: auto
threads: 1
checkpoint_seconds: 20
launcher: python
datasets: {}
models: {}
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
    (tmp_path / "params.yaml").write_text(PARAMS)
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


def test_a_killed_run_that_goes_on_leaves_it_too(project):
    folder, stages = project
    stages["a"] = stage("checked", "a", f"test -e go || sleep 300; {sys.executable} work.py checked a")
    write(folder, stages)
    process = started(folder, folder / "dvc.lock", "  c:")
    while "  b:" not in (folder / "dvc.lock").read_text():
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "  a:" not in (folder / "dvc.lock").read_text()
    (folder / "go").touch()
    subprocess.run([sys.executable, "-c", REPRO], env=smoke.environment(folder), check=True)
    lock = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--force", "--quiet"], env=smoke.environment(folder), check=True)
    assert (folder / "dvc.lock").read_text() == lock


def test_an_order_that_is_of_another_dvc_lock_is_not_taken(project):
    folder, _ = project
    schedule.repro(3)
    lock = (folder / "dvc.lock").read_text()
    for left in ("c\na\n", "check\nd\n", "\0"):
        schedule.BEFORE.write_text(left)
        schedule.repro(3)
        assert (folder / "dvc.lock").read_text() == lock
        assert not schedule.BEFORE.exists()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


REPRO = """
from regen import schedule
from regen.errors import reported
with reported():
    schedule.repro(2)
"""


def started(folder: Path, file: Path, word: str) -> subprocess.Popen[str]:
    """Start a run, and wait until a word stands in a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", REPRO], env=smoke.environment(folder), start_new_session=True, text=True, stderr=subprocess.PIPE
    )
    while not (file.exists() and word in file.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    return process


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_reaches_the_stages_that_run(project, asked):
    folder, stages = project
    stages["a"] = stage("checked", "a", "echo $$ > running && sleep 300")
    write(folder, stages)
    process = started(folder, folder / "running", "\n")
    pid = int((folder / "running").read_text())
    os.killpg(process.pid, asked) if asked == signal.SIGINT else process.terminate()  # a terminal asks all that it runs
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + asked
    assert "Traceback" not in said
    end = time.monotonic() + 60
    while runs(pid):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not (folder / "a").exists()
    write(folder, stages | {"a": stage("checked", "a")})
    subprocess.run([sys.executable, "-c", REPRO], env=smoke.environment(folder), check=True)  # goes on
    assert (folder / "ab").exists()


def test_a_lock_that_another_dvc_holds_is_waited_for(project):
    from dvc.lock import make_lock

    folder, _ = project
    with make_lock(str(folder / ".dvc/tmp/lock"), tmp_dir=str(folder / ".dvc/tmp")):
        process = started(folder, folder / ".work/logs/check.log", "acquire lock")
    assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 0
    assert (folder / "ab").exists()


def test_the_stages_python_is_its_own_whatever_is_on_the_path(project, monkeypatch, tmp_path):
    """Called as `.venv/bin/regen repro`, with no environment active."""
    folder, stages = project
    stages["a"] = stage("checked", "a", "python -c \"import sys; open('a', 'w').write(sys.prefix)\"")
    write(folder, stages)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    schedule.repro(1)
    assert (folder / "a").read_text() == sys.prefix


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


@pytest.mark.parametrize("line", ["studies: {..: {}}", "'x; touch pwned': 1", f"a: {'[' * 100_000}", f"seed: {'9' * 5000}"])
def test_nothing_of_dvc_is_started_on_a_params_yaml_of_wrong_names_or_beyond_its_limits(tmp_path, line, monkeypatch):
    (tmp_path / "params.yaml").write_text(f"{PARAMS}{line}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "_run", lambda stage: pytest.fail(f"started {stage}"))
    with pytest.raises(UserError, match=r"^params\.yaml: "):
        schedule.repro(2)


def test_a_merge_that_is_not_resolved_is_left_to_its_person(project):
    folder, _ = project
    schedule.repro(1)
    merged = "<<<<<<< HEAD\n" + (folder / "dvc.lock").read_text() + "=======\n>>>>>>> theirs\n"
    (folder / "dvc.lock").write_text(merged)
    with pytest.raises(UserError, match=r"dvc\.lock: a merge that is not resolved"):
        schedule.repro(1)
    assert (folder / "dvc.lock").read_text() == merged


def test_a_stage_that_says_it_is_locked_is_not_taken_for_dvc_s_lock(project):
    folder, stages = project
    (folder / "broken.py").write_text("open('runs', 'a').write('x'); raise SystemExit('tracking: the database is locked')")
    write(folder, stages | {"a": stage("checked", "a", f"{sys.executable} broken.py")})
    with pytest.raises(UserError):
        schedule.repro(2)
    assert (folder / "runs").read_text() == "x"


def test_the_stage_that_most_others_wait_for_comes_first():
    import networkx as nx

    graph = nx.DiGraph([("last", "long"), ("last", "short")])
    length = schedule._longest_way(graph, {"long": 60.0, "short": 1.0, "last": 5.0})
    assert length == {"last": 5.0, "long": 65.0, "short": 6.0}


def test_of_a_data_set_its_models_and_what_these_need_are_run_and_nothing_else(monkeypatch):
    given = params.Params(
        seed=0, precision="auto", threads=1, checkpoint_seconds=0.0, launcher="python",
        datasets={"cats": {}, "dogs": {}},
        encodings={"cats_latents": {"dataset": "cats", "model": "cats_vae"}},
        models={"cats_vae": {"dataset": "cats"}, "cats_flow": {"dataset": "cats_latents"}, "dogs_vae": {"dataset": "dogs"}},
    )  # fmt: skip
    needs = {
        "prepare@cats": "check", "prepare@dogs": "check", "train@cats_vae": "prepare@cats", "train@dogs_vae": "prepare@dogs",
        "evaluate@cats_vae": "train@cats_vae", "evaluate@dogs_vae": "train@dogs_vae", "encode@cats_latents": "train@cats_vae",
        "train@cats_flow": "encode@cats_latents", "report": "evaluate@dogs_vae",
    }  # fmt: skip
    graph = nx.DiGraph(needs.items())
    assert schedule._needed(graph, ["cats"], given) == {stage for stage in graph if "cats" in stage} | {"check"}
    assert schedule._needed(graph, ["dogs_vae"], given) == {"train@dogs_vae", "evaluate@dogs_vae", "prepare@dogs", "check"}


def test_a_name_that_is_none_of_params_yaml_is_refused(project):
    with pytest.raises(UserError, match=r"regen repro: unknown data set, model or other block of params\.yaml 'cast'"):
        schedule.repro(1, ["cast"])
