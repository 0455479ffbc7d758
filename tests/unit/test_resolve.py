"""`regen resolve`: a real conflict in dvc.lock, between two branches that have both run something."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from regen import cli
from regen.commands.resolve import merge
from regen.errors import UserError
from tests.unit.test_compare import MEASURE, PIPELINE

PARAMS = """seed: 0
precision: auto
threads: 1
checkpoint_seconds: 1
launcher: python
datasets: {}
models:
  a_vae: {beta: 1.0}
  # Lines between two models, as there are in params.yaml:
  # git takes changes of neighbouring lines for a conflict.
  #
  b_vae: {beta: 1.0}
"""
REPORT = """  report:
    cmd: cat metrics/*.json > report.txt
    deps: [metrics]
    outs: [report.txt]
"""

pytestmark = pytest.mark.timeout(3600)  # a dozen commands of DVC, on a machine that may have other work
ENVIRONMENT = os.environ | {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENVIRONMENT |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1",
}  # fmt: skip


def shell(command: str, check: bool = True) -> str:
    done = subprocess.run(command, shell=True, check=check, env=ENVIRONMENT, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture
def merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A merge that stopped: main has run a_vae with another beta, the branch b_vae; what it made is on the remote alone."""
    folder = tmp_path / "toy"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_CONFIG_GLOBAL", "PATH"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    for name, content in {"params.yaml": PARAMS, "dvc.yaml": PIPELINE + REPORT, "measure.py": MEASURE}.items():
        (folder / name).write_text(content)
    shell(f"git init -q -b main && dvc init -q && dvc remote add -q -d shared {tmp_path}/remote && dvc repro -q")
    shell("git add -A && git commit -qm run && git switch -qc other")
    change("b_vae", 3)
    shell("dvc repro -q && dvc push -q --run-cache && git commit -qam other && git switch -q main && dvc checkout -q")
    shutil.rmtree(folder / ".dvc/cache")  # main's clone has never seen it
    shell("dvc pull -q")
    change("a_vae", 2)
    shell("dvc repro -q && git commit -qam ours")
    assert "CONFLICT (content): Merge conflict in dvc.lock" in shell("git merge other", check=False)
    return folder


def change(key: str, beta: int) -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace(f"{key}: {{beta: 1.0", f"{key}: {{beta: {beta}"))


def regen(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[str, int]:
    monkeypatch.setattr("sys.argv", ["regen", "resolve"])
    capfd.readouterr()
    try:
        cli.main()
    except SystemExit as stop:
        return "".join(capfd.readouterr()), int(stop.code or 0)
    return "".join(capfd.readouterr()), 0


def test_nothing_runs_that_either_branch_has_run(
    merging: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said, code = regen(monkeypatch, capfd)
    assert code == 0, said
    assert re.findall("Running stage '(.*?)'", said) == ["report"]
    assert said.endswith("dvc.lock: merged; `git commit` ends the merge\n")
    assert shell("git diff --name-only --diff-filter=U") == ""
    shell("git commit -qm merge")
    assert "Running stage" not in shell("dvc repro")
    assert all((merging / f"figures/{key}/samples.png").exists() for key in ("a_vae", "b_vae"))
    measured = {key: yaml.safe_load((merging / f"metrics/{key}.json").read_text())["mse"] for key in ("a_vae", "b_vae")}
    assert measured == {"a_vae": 4.0, "b_vae": 6.0}


def test_without_a_conflict_there_is_nothing_to_do(
    merging: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shell("git merge --abort")
    assert regen(monkeypatch, capfd) == (
        "error: dvc.lock: no merge conflict to resolve; a merge makes one where both sides ran something\n",
        1,
    )


def test_a_conflict_in_params_is_a_person_s(
    merging: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shell("git merge --abort && git switch -q other")
    change("a_vae", 7)
    shell("git commit -qam params && git switch -q main")
    shell("git merge other", check=False)
    said, code = regen(monkeypatch, capfd)
    assert (said, code) == (
        "error: params.yaml: in conflict, too; resolve that first and `git add` it, then run this again\n",
        1,
    )


def test_a_wrong_name_is_refused_before_dvc_touches_anything(
    merging: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    precious = merging.parent / "precious"
    precious.mkdir()
    (precious / "gold").touch()
    path = Path("params.yaml")
    path.write_text(path.read_text() + "  ../../precious: {beta: 1.0}\n")
    lock = Path("dvc.lock").read_text()
    said, code = regen(monkeypatch, capfd)
    assert (said.startswith("error: params.yaml: models"), code) == (True, 1), said
    assert (precious / "gold").exists()
    assert Path("dvc.lock").read_text() == lock


def test_of_each_stage_the_side_counts_that_changed_it() -> None:
    def lock(**stages: int) -> dict[str, object]:
        return {"schema": "2.0", "stages": stages}

    base, ours, theirs = (
        lock(a=1, b=1, c=1, gone=1, both=1),
        lock(a=2, b=1, c=1, both=2, new=1),
        lock(a=1, b=3, c=1, gone=1, both=3),
    )
    assert merge(base, ours, theirs) == {"schema": "2.0", "stages": {"a": 2, "b": 3, "c": 1, "both": 2, "new": 1}}
    assert merge({}, lock(a=1), lock(b=1))["stages"] == {"a": 1, "b": 1}


def test_a_damaged_side_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from regen.commands import resolve

    monkeypatch.setattr(resolve, "git", lambda *arguments: "dvc.lock" if arguments[0] == "diff" else "[]")
    with pytest.raises(UserError, match="one side of the merge is damaged"):
        resolve.resolve()
