"""`import regen; regen.load(...)` in somebody else's program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from regen import families
from tests.conftest import build

SRC = Path(families.__file__).parents[1]
OURS = "import torch, numpy, safetensors.torch, pydantic, PIL.Image; pydantic.PositiveInt"
LOAD = "import regen; assert len(regen.load(sys.argv[1]).sample(2, seed=0)) == 2"
SAID = "print(json.dumps(sorted({package for name in sys.modules for package in found.get(name.split('.')[0], [])})))"


def packages(code: str, *arguments: object) -> set[str]:
    """The distributions whose modules a program imports."""
    first, last = "import json, sys", "from importlib.metadata import packages_distributions; found = packages_distributions()"
    program = "\n".join([first, code, last, SAID])
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(SRC)})
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_model_is_loaded_and_sampled_by_torch_numpy_safetensors_pydantic_and_pillow_alone(tmp_path, family):
    families.save(build(family), tmp_path)
    assert packages(LOAD, tmp_path) - {"regen"} <= packages(OURS)  # with what these import themselves


def test_the_sentence_above_would_notice(tmp_path):
    assert "filelock" in packages("import filelock") - packages(OURS)
