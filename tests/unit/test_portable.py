"""What one system alone has is looked for before it is used: elsewhere there is another way, or one line that says so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from regen import host, schedule
from regen.commands import revisions
from regen.errors import UserError

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py"), ROOT / "tests/smoke.py"])
POSIX_MODULES = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"}
POSIX_ALONE = {  # not on Windows; of these, macOS lacks the last three
    "os": {"fork", "getuid", "geteuid", "getgid", "getegid", "setsid", "setuid", "setpgrp", "killpg", "nice", "mkfifo", "statvfs",
           "getpgid", "chown", "uname", "getloadavg", "initgroups", "WNOHANG", "sched_getaffinity", "sched_setaffinity",
           "posix_fadvise"},
    "signal": {"alarm", "setitimer", "pause", "pthread_kill", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD",
               "SIGXFSZ", "SIGPIPE", "SIGQUIT"},
}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_one_system_alone_has_is_looked_for_first(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & POSIX_MODULES
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in POSIX_MODULES
            assert not {alias.name for alias in node.names} & POSIX_ALONE.get(node.module or "", set())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            if name in POSIX_ALONE.get(module, ()):
                used.add((module, name))
    guarded = set(re.findall(r'hasattr\((\w+), "(\w+)"\)', text))
    together = {"SIGKILL": "killpg", "getegid": "geteuid"}  # where there is the one, there is the other
    assert {(m, n) for m, n in used if (m, n) not in guarded and ("os", together.get(n)) not in guarded} == set()


def test_windows_is_told_where_the_pipeline_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule.os, "name", "nt")
    with pytest.raises(UserError, match="on Windows, run it in WSL"):
        schedule.repro(1)


@pytest.mark.parametrize("home", [None, "/nowhere/at/all"])
def test_where_there_is_no_name_and_no_home_they_are_made_up(
    tmp_path: Path, home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER", "")
    monkeypatch.setenv("HOME", home or "")
    monkeypatch.setattr("getpass.getuser", nobody)
    if home is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    host.settle()
    assert Path(os.environ["HOME"]) == tmp_path / ".work/home"
    assert Path(os.environ["HOME"]).is_dir()
    assert os.environ["USER"] == f"user{os.getuid()}"


def test_whoever_has_a_home_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    host.settle()
    assert os.environ["HOME"] == str(tmp_path)


def test_make_gives_a_home_too(tmp_path: Path) -> None:
    told = '\ntold:\n\t@echo $$USER "$$HOME"; cd "$$HOME"\n'
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text() + told)
    command = ["make", "--no-print-directory", "told"]
    without = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    for environment in (without, without | {"HOME": "/"}, without | {"HOME": "/nowhere/at/all"}):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == f"user{os.getuid()} {tmp_path}/.work/home\n"
    (tmp_path / "An na").mkdir()
    for home in (tmp_path, tmp_path / "An na"):
        kept = without | {"HOME": str(home), "USER": "anna"}
        done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=True)
        assert done.stdout == f"anna {home}\n"


CAN_MAP = subprocess.run(["unshare", "--user", "--map-user=12345", "true"], check=False, capture_output=True).returncode == 0 if (
    sys.platform == "linux" and os.path.exists("/usr/bin/unshare")) else False  # fmt: skip


@pytest.mark.skipif(not CAN_MAP, reason="this machine lets nobody be a user without a name: no user namespaces, or no unshare")
def test_dvc_starts_for_a_user_without_name_and_home_in_a_folder_of_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / "my repo ü"
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo 1 > out\n    outs: [out]\n")
    code = "import os, sys; from regen import host; host.settle(); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    without = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "LC_ALL": "C"}
    for command in (["init", "--no-scm", "--quiet"], ["repro", "--quiet"]):
        dvc = ["unshare", "--user", "--map-user=12345", "--map-group=12345", sys.executable, "-c", code, "-m", "dvc", *command]
        done = subprocess.run(dvc, cwd=folder, env=without, capture_output=True, text=True, check=False, umask=0o077)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "out").read_text() == "1\n"


def test_a_repository_of_somebody_else_says_how_to_trust_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for this
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    with pytest.raises(UserError, match=r"belongs to another user; trust it by: git config --global --add safe\.directory "):
        revisions.git("rev-parse", "HEAD")


def test_a_stage_that_could_not_say_anything_for_lack_of_room_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0}))
    assert schedule._reason("", tmp_path / "a.log") == f"{tmp_path}: the disk is full; free some space and run again"
    assert schedule._reason("error: a: no\n", tmp_path / "a.log").startswith("a: no (see")


def test_what_dvc_itself_complains_of_is_passed_on(tmp_path: Path) -> None:
    said = "ERROR: unexpected error - [Errno 28] No space left on device: 'x'\n\nHaving any troubles? Hit us up at our support!\n"
    assert schedule._reason(said, tmp_path / "a.log").startswith("unexpected error - [Errno 28] No space left on device")
