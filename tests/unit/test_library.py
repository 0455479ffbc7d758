"""`import regen; regen.load(...)` in somebody else's program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from regen import families
from tests.conftest import build

SRC = Path(families.__file__).parents[1]
OURS = "import torch, numpy, safetensors.torch, pydantic, PIL.Image; pydantic.PositiveInt"
# After `OURS`: what these import has been imported; of what has not, only the parts of their own packages can be.
ALONE = """
import importlib.abc, json, pathlib, sys
kept = {name.split(".")[0] for name in sys.modules} | sys.stdlib_module_names | {"regen"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] not in kept:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import regen
failed = {}
for folder in map(pathlib.Path, sys.argv[1:]):
    try:
        model = regen.load(folder)
        if hasattr(model, "sample"):
            assert len(model.sample(2, seed=0)) == 2
    except Exception as error:
        failed[folder.name] = str(error)
print(json.dumps(failed))
"""
SAID = "print(json.dumps(sorted({package for name in sys.modules for package in found.get(name.split('.')[0], [])})))"


def packages(code: str, *arguments: object) -> set[str]:
    """The distributions whose modules a program imports."""
    first, last = "import json, sys", "from importlib.metadata import packages_distributions; found = packages_distributions()"
    program = "\n".join([first, code, last, SAID])
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(SRC)})
    return set(json.loads(done.stdout.splitlines()[-1]))


def alone(*folders: Path) -> dict[str, str]:
    """Load each model, and draw from it, in one process where nothing but these packages can be imported: what fails, and why."""
    command = [sys.executable, "-c", f"{OURS}\n{ALONE}", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(SRC)})
    failed: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return failed


def test_a_model_of_any_family_is_loaded_and_drawn_from_by_torch_numpy_safetensors_pydantic_and_pillow_alone(tmp_path):
    for family in families.families():
        (tmp_path / family).mkdir()
        families.save(build(family), tmp_path / family)
    (tmp_path / "flow" / families.DECODER).mkdir()  # of images, as a trained one is
    families.save(build("vae", latent_dim=2), tmp_path / "flow" / families.DECODER)
    assert alone(*tmp_path.iterdir()) == {"pretrained": "No module named 'torchvision'"}  # whose networks these are


def test_a_model_of_any_family_is_loaded_without_torch_s_compiler(tmp_path):
    for family in families.families():
        if family == "pretrained":  # a network of torchvision's, which imports all of torch
            continue
        (tmp_path / family).mkdir()
        families.save(build(family), tmp_path / family)
    load = "import regen; [regen.load(folder) for folder in sys.argv[1:]]"
    assert "sympy" not in packages(load, *tmp_path.iterdir())


def test_the_sentence_above_would_notice(tmp_path):
    assert "filelock" in packages("import filelock") - packages(OURS)


def test_importing_it_changes_nothing_of_the_host_s_process():
    program = """
import gc, os
threshold, environment = gc.get_threshold(), dict(os.environ)
import regen, regen.training.loop
regen.load
assert gc.get_threshold() == threshold
added = os.environ.keys() - environment.keys()
assert added <= {"KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK"}, added  # torch's own
assert environment.items() <= dict(os.environ).items()
"""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment | {"PYTHONPATH": str(SRC)})
