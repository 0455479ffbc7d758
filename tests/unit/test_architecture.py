"""The house holds: imports point one way, and each stage of dvc.yaml depends on the code that it runs, no less and no more."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
LAYERS = [
    *("errors", "params", "paths", "seeding", "data", "models", "training", "evaluation"),
    *("answer", "study", "report", "stages"),
]
BASE = {"errors", "params", "paths", "seeding"}

# Code that a stage imports but need not depend on, since it cannot change what the stage writes.
NEUTRAL = {
    "src/regen/__init__.py": "imports what it offers on demand; the stages ask for none of it",
    "src/regen/errors.py": "says how a stage fails, not what it writes",
    "src/regen/params.py": "reads and refuses; every value stands in params.yaml or beside the code that uses it",
    "src/regen/paths.py": "a moved path is a changed dvc.yaml",
    "src/regen/data/__init__.py": "imports a kind by its name",
    "src/regen/data/fetch.py": "what it brings is pinned by SHA-256",
    "src/regen/data/mirrors.py": "what it brings is pinned by SHA-256",
    "src/regen/data/packages.py": "what it brings is pinned by SHA-256",
    "src/regen/data/web.py": "what it brings is pinned by SHA-256",
}
SIGNED = ("src/regen/models/", "src/regen/training/", "src/regen/data/", "src/regen/seeding.py")  # by model.json's signature
TEMPLATES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def imported(path: Path) -> set[Path]:
    """Files of regen that one file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "regen":
            continue
        for end in range(1, len(parts) + 1):
            stem = SRC.joinpath(*parts[:end])
            files |= {file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()}
    return files


def closure(*start: Path) -> set[str]:
    """Files of regen that these files import, directly or not, and the files themselves."""
    seen: set[Path] = set()
    waiting = set(start)
    while waiting:
        path = waiting.pop()
        seen.add(path)
        if path != SRC / "regen/__init__.py":
            waiting |= imported(path) - seen
    return {
        str(path.relative_to(ROOT)) for path in seen if len(ast.parse(path.read_text()).body) > 1
    }  # a docstring decides nothing


def stages() -> dict[str, tuple[list[str], list[Path]]]:
    """Each stage with its declared code dependencies and the files that it starts from."""
    found = {}
    for name, template in TEMPLATES.items():
        items = PARAMS[template["foreach"].strip("${}")] if "foreach" in template else {"": {}}
        stage = template.get("do", template)
        for key, item in items.items():
            deps = [fill(dep, key, item) for dep in stage["deps"]]
            start = [ROOT / dep for dep in deps if dep.startswith("stages/")]
            if name == "train":
                start.append(SRC / f"regen/models/{item['family']}.py")
            if name in ("download", "prepare"):
                start.append(SRC / f"regen/data/{item['kind']}.py")
            found[f"{name}@{key}" if key else name] = (deps, start)
    return found


def fill(text: str, key: str, item: dict) -> str:
    text = text.replace("${key}", key)
    for field, value in item.items():
        text = text.replace(f"${{item.{field}}}", str(value))
    return text


def neutral(stage: str, file: str) -> bool:
    if file in NEUTRAL or file.startswith("src/regen/tracking/"):
        return True  # tracking mirrors what a stage wrote and writes none of it
    # A model's folder holds the signature of the code that made it: whoever reads a model depends on its code already.
    if stage.startswith(("encode", "evaluate")):
        return file.startswith("src/regen/models/")
    # A study depends on its model's folder, so on all the code of the training that the model's signature covers.
    return stage.startswith("study") and file.startswith(SIGNED)


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_all_the_code_that_it_runs(stage):
    deps, start = stages()[stage]
    missing = [
        file
        for file in closure(*start)
        if not neutral(stage, file) and not any(file == dep or file.startswith(f"{dep}/") for dep in deps)
    ]
    assert sorted(missing) == []


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_no_code_that_it_does_not_run(stage):
    deps, start = stages()[stage]
    needed = closure(*start)
    needless = [
        dep for dep in deps if dep.startswith("src/") and not any(file == dep or file.startswith(f"{dep}/") for file in needed)
    ]
    # check asks the registries for every kind and family by name. Not every family has layers or is fitted in closed form (a
    # template cannot tell which), not every kind draws at random, and sections of brains alone are cut into tiles.
    tiles = tuple(f"src/regen/data/{name}.py" for name in ("sections", "tiles", "tissue"))
    shared = ("src/regen/models/closed_form", "src/regen/models/layers.py", "src/regen/seeding.py", *tiles)
    assert [dep for dep in needless if stage != "check" and dep not in shared] == []


@pytest.mark.parametrize("path", sorted((SRC / "regen").rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_imports_point_one_way(path):
    layer = path.relative_to(SRC / "regen").parts[0].removesuffix(".py")
    used = {Path(file).parts[2].removesuffix(".py") for file in map(str, (f.relative_to(ROOT) for f in imported(path)))} - {
        "__init__"
    }
    if layer == "__init__":
        return
    if layer == "tracking":
        assert used <= BASE | {"tracking"}
        return
    below = BASE | set(LAYERS[: LAYERS.index(layer) + 1])
    assert used <= below


@pytest.mark.parametrize("path", sorted((SRC / "regen/models").glob("*.py")), ids=lambda path: path.name)
def test_models_know_no_pipeline(path):
    modules = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {module.split(".")[0] for module in modules} & {"yaml", "mlflow", "dvc"}


@pytest.mark.parametrize(
    "path", [*sorted((SRC / "regen").rglob("*.py")), *sorted((ROOT / "stages").glob("*.py"))], ids=lambda p: p.name
)
def test_no_module_is_too_long_to_read(path):
    lines = len(path.read_text().splitlines())
    assert lines <= (80 if path.parent.name == "stages" else 300)
