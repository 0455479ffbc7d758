"""The Makefile: what it lists, and that `make setup` installs into .venv, whatever else is active."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def make(*arguments, folder=ROOT, **environment):
    """Run make, and never install: `.venv/.ready` counts as current."""
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "-o", ".venv/.ready", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
    listed = set(re.findall(r"^  make ([a-z-]+) ", make("help").stdout, re.MULTILINE))
    assert listed == targets
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets


def wheel(folder):
    """A package of one line, which needs no network."""
    path = folder / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("nothing.py", "")
        file.writestr("nothing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n")
        file.writestr("nothing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("nothing-1.0.dist-info/RECORD", "nothing.py,,\nnothing-1.0.dist-info/METADATA,,\n"
                      "nothing-1.0.dist-info/WHEEL,,\nnothing-1.0.dist-info/RECORD,,\n")  # fmt: skip
    return path


@pytest.mark.skipif(not UV.exists(), reason="uv is not installed beside this Python")
@pytest.mark.parametrize("active", ["VIRTUAL_ENV", "CONDA_PREFIX", "UV_SYSTEM_PYTHON", "UV_PYTHON"])
def test_packages_are_installed_into_the_venv_whatever_is_active(tmp_path, active):
    for name in (".venv", "other"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / name], check=True)
    (tmp_path / ".venv/bin/uv").symlink_to(UV)
    install = re.search(r"^INSTALL := (.*?)(\s+#.*)?$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert install is not None
    command = install[1].replace("$(VENV)", ".venv")
    other = {"UV_SYSTEM_PYTHON": "1", "UV_PYTHON": str(tmp_path / "other/bin/python")}.get(active, str(tmp_path / "other"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "CONDA_", "VIRTUAL_ENV"))}
    done = subprocess.run(f"{command} {wheel(tmp_path)}", shell=True, cwd=tmp_path, env=environment | {active: other},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob(".venv/lib/python3*/site-packages/nothing.py"))
    assert not list(tmp_path.glob("other/lib/python3*/site-packages/nothing.py"))


@pytest.mark.parametrize("name", ["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER"])
def test_what_installs_uv_is_not_led_elsewhere(tmp_path, name):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text() + f'\nshown:\n\t@echo "[$${name}]"\n')
    command, environment = ["make", "--no-print-directory", "shown"], {**os.environ, name: "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_setup_installs_by_that_command_alone():
    command = ["make", "--dry-run", "--always-make", "setup"]
    recipe = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    installs = [line for line in recipe.splitlines() if "uv pip install" in line]
    assert len(installs) == 2
    assert all("--python .venv/bin/python" in line for line in installs)


def test_clean_removes_what_interrupted_runs_left(tmp_path):
    left = [".work/train/a/b.lock", ".work/train/a/b.pid", ".work/studies/s/c/cell.log", ".work/smoke/x", ".work/other/d.lock"]
    for name in (*left, ".work/tracking/a/b/lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert make("clean", folder=tmp_path).returncode == 0
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        ".work/tracking/a/b/lock"
    ]
    shutil.rmtree(tmp_path / ".work")
    assert make("clean", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "name", ["dvc_plots/index.html", "answer.png", "samples.png", "grid.png", ".work/x", "models/.a.part/x", "mlflow.db"]
)
def test_what_commands_leave_is_not_for_git(name):
    assert subprocess.run(["git", "check-ignore", "--quiet", "--no-index", name], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("target", ["repro", "smoke"])
def test_a_run_says_first_how_long_it_takes(target):
    assert make("--dry-run", target).stdout.splitlines()[0] == f"regen machine --run {target}"


def test_figures_of_no_model_ask_for_one():
    done = make("figures")
    assert done.returncode != 0
    assert "make figures MODEL=punks_vae" in done.stderr
