"""A repository whose pipeline takes no time: the figures of its one model are a formula of its params."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.chaos import kills
from tests.conftest import shell

PIPELINE = """stages:
  check: {cmd: python -c pass, deps: [params.yaml]}
  evaluate:
    foreach: ${models}
    do:
      cmd: python measure.py
      deps: [measure.py]
      params: [seed, "models.${key}"]
      metrics: [{"metrics/${key}.json": {cache: false}}]
      outs: [{"metrics/context/${key}.json": {cache: false}}]
"""
TRAINING = """stages:
  check: {cmd: python -c pass, deps: [params.yaml]}
  train:
    foreach: ${models}
    do:
      cmd: python -m tests.trial
      params: [seed, "models.${key}"]
      metrics: [{"metrics/${key}.json": {cache: false}}]
      outs: ["models/${key}"]
"""
MEASURE = """import json, os, sys, yaml
given = yaml.safe_load(open("params.yaml"))
hidden = given["models"]["lstm"]["hidden"]
if os.path.isdir(f"{os.environ['DVC_ROOT']}/.work"):
    open(f"{os.environ['DVC_ROOT']}/.work/ran", "a").write(f"{hidden}\\n")
if hidden == 13:
    sys.exit("error: thirteen is too many")
os.makedirs("metrics/context", exist_ok=True)
json.dump({"nats_per_pixel": hidden / 10 + given["seed"]}, open("metrics/lstm.json", "w"))
json.dump({"nats_per_pixel": {"error": 0.01}}, open("metrics/context/lstm.json", "w"))
"""


def furnish(folder: Path) -> None:
    """Lay the repository out, run it, commit what that gave."""
    folder.mkdir()
    tiny = kills.tiny()
    params = {**tiny, "models": {key: {**block, "epochs": 8} for key, block in tiny["models"].items()}, "studies": {}}
    (folder / "params.yaml").write_text(f"# all of it\n{yaml.safe_dump(params, sort_keys=False)}")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "measure.py").write_text(MEASURE)
    (folder / ".gitignore").write_text(".work\n")
    shell(folder, "git init -q && git config user.name a && git config user.email a@b && dvc init -q && dvc repro -q")
    shell(folder, "git add -A && git commit -qm run")
