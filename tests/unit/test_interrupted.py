"""Files that DVC writes in place, of which a kill left half."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regen import interrupted
from regen.errors import UserError

LOCK = """schema: '2.0'
stages:
  check:
    cmd: python stages/check.py
    outs:
    - path: data/code
      md5: 0123456789abcdef0123456789abcdef.dir
  report:
    cmd: python stages/report.py
    outs:
    - path: reports
      md5: 0123456789abcdef0123456789abcdef
"""


@pytest.mark.parametrize("length", [0, 1, 20, 40, 60, 90, 200])
def test_half_of_a_lock_is_put_back_to_the_last_whole_one(tmp_path: Path, length: int, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text(LOCK)
    interrupted.mend()
    Path("dvc.lock").write_text(LOCK[:length])
    interrupted.mend()
    assert Path("dvc.lock").read_text() == LOCK
    assert capsys.readouterr().err == "dvc.lock: cut short; the last whole one is taken\n"


def test_half_of_a_lock_without_a_whole_one_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    interrupted.mend()  # none at all is a first run
    Path("dvc.lock").write_text(LOCK[:50])
    with pytest.raises(UserError, match=r"dvc\.lock: cut short; restore it with `git checkout dvc\.lock`"):
        interrupted.mend()


# -- which paths DVC's processes use


@pytest.mark.parametrize("left", ["", "{", '{"write": {"a": {"pid": 1, "cm'])
def test_half_of_dvcs_file_of_paths_in_use_is_removed_and_dvc_goes_on(tmp_path: Path, left: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["init", "--no-scm", "--quiet"], ["stage", "add", "--quiet", "--name", "a", "--outs", "a", "echo 1 > a"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True)
    (tmp_path / ".dvc/tmp/rwlock").write_text(left)
    repro = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    assert subprocess.run(repro, check=False, capture_output=True).returncode != 0  # as DVC does by itself
    interrupted.mend()
    assert capsys.readouterr().err == ".dvc/tmp/rwlock: cut short; removed\n"
    subprocess.run(repro, check=True)
    assert (tmp_path / "a").read_text() == "1\n"


def test_a_whole_file_of_paths_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    interrupted.mend()  # there is none
    held = tmp_path / ".dvc/tmp/rwlock"
    held.parent.mkdir(parents=True)
    held.write_text('{"write": {"a": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}')
    interrupted.mend()
    assert json.loads(held.read_text())["write"]["a"]["pid"] == 1


def test_a_file_of_paths_in_use_that_is_being_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.lock import make_lock

    monkeypatch.chdir(tmp_path)
    held = tmp_path / ".dvc/tmp/rwlock"
    held.parent.mkdir(parents=True)
    held.write_text("")
    looked, usual = threading.Event(), interrupted._is_json
    monkeypatch.setattr(interrupted, "_is_json", lambda path: (usual(path), looked.set())[0])
    with ThreadPoolExecutor(1) as pool:
        with make_lock(f"{held}.lock"):  # another DVC writes it
            mending = pool.submit(interrupted.mend)
            assert looked.wait(60)
            time.sleep(4)  # longer than DVC by itself waits for a lock
            assert not mending.done()
            held.write_text("{}")
        mending.result()
    assert held.read_text() == "{}"
