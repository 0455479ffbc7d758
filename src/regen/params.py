"""params.yaml: read, and checked at its top level. Nothing here decides a result: this module only reads and refuses."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from regen import documents, paths
from regen.blocks import Block, Name, is_name, known, named, parse
from regen.errors import UserError

GROUPS = {"datasets": "data set", "queries": "block of queries", "encodings": "encoding", "models": "model", "studies": "study"}
TOGETHER = (("datasets", "queries", "encodings"), ("models",), ("studies",))  # their names are folders side by side
NONE = "none"  # what `classifier: none` names
SEEDS = 1 << 32  # scikit-learn takes no larger seed

# How many processes, and where; nothing that names another program (`--no-python`, `-m`) or writes elsewhere (`--log-dir`).
OPTIONS = (
    "nproc_per_node", "nnodes", "node_rank", "rdzv_backend", "rdzv_endpoint", "rdzv_id", "master_addr", "master_port",
    "local_addr", "max_restarts", "monitor_interval", "start_method",
)  # fmt: skip
LAUNCHER = re.compile(
    rf"torchrun(?: --standalone| --(?:{'|'.join(name.replace('_', '[_-]') for name in OPTIONS)})[ =][A-Za-z0-9][A-Za-z0-9_.:-]*)*"
)


class Params(Block):
    """The top level of params.yaml. Its blocks of blocks are checked one by one."""

    seed: int = Field(ge=0, lt=SEEDS)
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 where the hardware multiplies it faster
    threads: int = Field(ge=1, le=1024)  # CPU threads of a training; fixed, as another number rounds differently
    checkpoint_seconds: float = Field(ge=0)  # about how much training a kill may cost; no effect on any result
    launcher: str = Field(max_length=500)  # or: torchrun --nproc_per_node 4
    datasets: dict[Name, dict[str, Any]]
    queries: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    encodings: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    models: dict[Name, dict[str, Any]]
    studies: dict[Name, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("launcher")
    @classmethod
    def _is_known(cls, launcher: str) -> str:
        if launcher != "python" and not LAUNCHER.fullmatch(launcher):
            raise ValueError("python, or torchrun with its options: torchrun --nproc_per_node 4")
        return launcher

    @property
    def prepared(self) -> dict[str, dict[str, Any]]:
        """All that a model can learn from: the downloaded data sets and those derived from them."""
        return {**self.datasets, **self.queries, **self.encodings}

    def encoded(self, dataset: str) -> str:
        """The data set whose latents an encoding holds; any other data set itself."""
        return str(self.encodings.get(dataset, {}).get("dataset", dataset))

    @property
    def start(self) -> list[str]:
        """The launcher as a program and its arguments, which need no shell; a script and its arguments follow."""
        torchrun = [] if self.launcher == "python" else ["-m", "torch.distributed.run", *self.launcher.split()[1:]]
        return [sys.executable, *torchrun]


def read(path: Path = paths.PARAMS) -> Params:
    """Read params.yaml and check its top level, and all names.

    Raises:
        UserError: the file is missing, is no YAML, has unknown or mistyped top-level keys, or names that are none.
    """
    given = parse(Params, content(path), where=str(path))
    apart(given, str(path))
    return given


def content(path: Path = paths.PARAMS) -> object:
    """Return what stands in params.yaml, unchecked.

    Raises:
        UserError: the file is missing, or is no YAML.
    """
    return documents.parsed(documents.text(path), str(path))


def usable(content: object) -> Params:
    """Return what is right at the top level of params.yaml, with stand-ins for the rest: so its blocks can be checked too."""
    right: dict[str, Any] = {
        "seed": 0, "precision": "auto", "threads": 1, "checkpoint_seconds": 0.0, "launcher": "python", "datasets": {},
        "models": {},
    }  # fmt: skip
    for name, value in dict(content if isinstance(content, Mapping) else {}).items():
        if name in GROUPS and isinstance(value, Mapping):
            value = {key: block for key, block in value.items() if is_name(key) and isinstance(block, Mapping)}
        try:
            parse(Params, right | {name: value}, where="")
            right[name] = value
        except UserError:
            pass
    return parse(Params, right, where="")


def apart(given: Params, where: str) -> None:
    """Refuse names that are one folder: two blocks of one name, or of names that macOS and Windows take for one.

    Raises:
        UserError: one line for each.
    """
    lines = []
    for groups in TOGETHER:
        met = {NONE: f"{NONE}, which stands for no classifier"} if "models" in groups else {}
        for place in (f"{group}.{name}" for group in groups for name in getattr(given, group)):
            name = place.partition(".")[2]
            other = met.setdefault(name.lower(), place)
            if other != place:
                same = "has the name of" if name in (NONE, other.partition(".")[2]) else "differs in capitals alone from"
                lines.append(f"{where}: {place}: {same} {other}, and both would be one folder; choose another name")
    if lines:
        raise UserError("\n".join(lines))


def chosen(group: str, description: str | None) -> tuple[str, Params]:
    """Return the key that this stage is for, one of a group of params.yaml, and all params.

    It stands on the command line, or else in the name of DVC's stage: no command of dvc.yaml holds a name, so no shell reads one.

    Raises:
        UserError: the group has no such key, or params.yaml is wrong at its top level.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("key", nargs="?", help=f"a key of {group}: in params.yaml; by default that of DVC's stage")
    key, given = parser.parse_args().key, read()
    if key is None:
        stage, script = os.environ.get("DVC_STAGE", ""), Path(sys.argv[0]).stem
        found = re.fullmatch(rf"(?:.*:)?{re.escape(script)}@(.*)", stage)  # before it the place of dvc.yaml, seen from elsewhere
        if found is None:
            raise UserError(f"{script}: for which key of {group}: in params.yaml? Write it behind the script, or run `dvc repro`")
        key = found[1]
    where = f"params.yaml: {group}"
    known(named(key, where), list(getattr(given, group)), where, GROUPS[group])
    return key, given
