"""What DVC makes of somebody's params.yaml: no command of a name, nothing removed that no stage of ours wrote."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests import smoke

ROOT = Path(__file__).parents[2]
TOP = {
    "seed": 0, "precision": "auto", "threads": 1, "checkpoint_seconds": 20, "launcher": "python", "datasets": {}, "queries": {},
    "encodings": {}, "models": {}, "studies": {},
}  # fmt: skip
LETTERS = {"kind": "letters", "source": "drawn"}
NAMES_ALONE = "from regen import params\nfrom regen.errors import reported\nwith reported():\n    params.read()\n"


@pytest.fixture
def project(tmp_path):
    """The pipeline as it is, and folders that no stage may touch."""
    shutil.copytree(ROOT / "src/regen", tmp_path / "src/regen", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for name in ("precious", "data/precious", "metrics", "figures", "studies"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "gold").write_text("gold")
    smoke.run(tmp_path, sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet")
    return tmp_path


def files(project: Path) -> dict[str, bytes]:
    """All files and folders with what stands in them, but DVC's own."""
    return {
        str(path.relative_to(project)): path.read_bytes() if path.is_file() else b""
        for path in project.rglob("*") if not {"__pycache__", ".dvc"} & set(path.parts)
    }  # fmt: skip


def repro(project: Path, *options: str, **groups: object) -> str:
    """Run `dvc repro`, which fails; nothing is lost and nothing is made. Returns what it said."""
    (project / "params.yaml").write_text(yaml.safe_dump({**TOP, **groups}, sort_keys=False))
    before = files(project)
    done = smoke.run(project, sys.executable, "-m", "dvc", "repro", *options, check=False)
    after = files(project)
    assert done.returncode != 0
    assert {name: after.get(name) for name in before} == before
    assert after.keys() - before.keys() <= {".work"}
    return done.stdout


def test_wrong_names_are_told_in_a_line_each_before_any_work(project):
    said = repro(project, datasets=dict.fromkeys(("letters", "my letters", "letters_v0.5", "x; touch pwned"), LETTERS))
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    rule = "error: params.yaml: datasets: expected a name: letters, digits and _, first a letter, 64 characters at most, got"
    assert lines == [f"{rule} {name!r}" for name in ("my letters", "letters_v0.5", "x; touch pwned")]


def test_an_out_that_holds_what_the_check_needs_is_not_removed_before_the_check(project):
    repro(project, queries={"../../src": {"digits": "../precious"}})


def test_an_out_that_leads_out_of_its_folder_is_not_removed_where_dvc_keeps_going(project):
    (project / "stages/check.py").write_text(NAMES_ALONE)
    repro(project, "--keep-going", queries={"../../precious": {"digits": "../precious"}})


def test_a_stage_that_is_forced_alone_runs_no_command_of_a_name(project):
    said = repro(project, "--single-item", "--force", "queries", queries={"x; touch pwned": {"digits": "../precious"}})
    assert "error: params.yaml: queries: expected a name" in said
