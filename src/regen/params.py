"""params.yaml: typed, frozen blocks. Unknown keys, wrong types and values out of range are refused by name.

The blocks of a data set kind and of a model family are declared beside their code (`Config` in `regen.data.<kind>` and
in `regen.models.<family>`), so that adding one touches one file. Nothing here decides a result: this module only reads and
refuses, so no stage depends on it.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, field_validator

from regen import paths
from regen.errors import UserError

BlockType = TypeVar("BlockType", bound="Block")


class Block(BaseModel):
    """Frozen, strictly typed block of params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetConfig(Block):
    """What every data set has. `kind` names the module `regen.data.<kind>`."""

    kind: str
    source: str
    examples: NonNegativeInt = 0  # keep only the first so many of each split; 0 = all


class ModelConfig(Block):
    """What every model has. `family` names the module `regen.models.<family>`."""

    dataset: str
    family: str
    judge: str = "none"  # model whose features and readings judge the samples; `none` where a likelihood says more


class EncodingConfig(Block):
    """A data set made by a model: the latents of a data set's images, for another model to learn on."""

    dataset: str  # whose images
    model: str  # whose `encode` gives the latents, and whose decoder goes with them


class StudyConfig(Block):
    """A model over and over: the n-th cell takes the n-th value of every list of `vary`.

    A param is the model's own, or `seed`, `precision` or `threads`: cells that differ in their seed alone share a row of the
    table, with their spread.
    """

    model: str
    vary: dict[str, list[Any]] = Field(min_length=1)
    fixed: dict[str, Any] = Field(default_factory=dict)  # what all cells change; `threads: 1`: run side by side
    show: list[str] = Field(min_length=1)  # measures of the table and the plots


class Params(Block):
    """The top level of params.yaml. Its blocks of blocks are checked one by one."""

    seed: NonNegativeInt
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 where the hardware multiplies it, else fp32
    threads: PositiveInt  # CPU threads of a training; another number rounds differently, so it is no 'all'
    checkpoint_seconds: float = Field(ge=0)  # how much training a kill may cost; no effect on any result
    launcher: str  # or: accelerate launch --num_processes 4
    datasets: dict[str, dict[str, Any]]
    queries: dict[str, dict[str, Any]] = Field(default_factory=dict)
    encodings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]]
    studies: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("launcher")
    @classmethod
    def _is_there(cls, launcher: str) -> str:
        command, *_ = shlex.split(launcher) or [""]
        beside = Path(sys.executable).parent  # where a stage is started without `source .venv/bin/activate`
        path = os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)])
        if command != "python" and not shutil.which(command, path=path):
            raise ValueError("a command that is here: python, torchrun ... or accelerate launch ...")
        return launcher

    @property
    def prepared(self) -> dict[str, dict[str, Any]]:
        """All that a model can learn from: the downloaded data sets and those derived from them."""
        return {**self.datasets, **self.queries, **self.encodings}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: `1e-4` is a number (PyYAML's 1.1 rules read it as text), as DVC reads it too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)
_Loader.yaml_implicit_resolvers = {  # integers keep precedence over the wider float pattern above
    first: sorted(rules, key=lambda rule: rule[0].endswith("float")) for first, rules in _Loader.yaml_implicit_resolvers.items()
}


def read(path: Path = paths.PARAMS) -> Params:
    """Read params.yaml and check its top level.

    Raises:
        UserError: the file is missing, is no YAML, or has unknown or mistyped top-level keys.
    """
    return parse(Params, content(path), where=str(path))


def content(path: Path = paths.PARAMS) -> object:
    """Return what stands in params.yaml, unchecked.

    Raises:
        UserError: the file is missing, or is no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository root") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def usable(content: object) -> Params:
    """Return what is right at the top level of params.yaml, with stand-ins for the rest: so its blocks can be checked too."""
    right: dict[str, Any] = {
        "seed": 0, "precision": "auto", "threads": 1, "checkpoint_seconds": 0.0, "launcher": "python", "datasets": {},
        "models": {},
    }  # fmt: skip
    for name, value in dict(content if isinstance(content, Mapping) else {}).items():
        try:
            parse(Params, right | {name: value}, where="")
            right[name] = value
        except UserError:
            pass
    return parse(Params, right, where="")


def parse(block: type[BlockType], content: object, where: str) -> BlockType:
    """Return `content` as a `block`.

    Raises:
        UserError: one line for each problem, naming the key, the value and what was expected.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{where}: expected a block of `key: value`, got {content!r}")
    try:
        return block.model_validate(dict(content))
    except ValidationError as error:
        raise UserError("\n".join(_line(problem, block, where) for problem in error.errors())) from None


def problems(*checks: Callable[[], object]) -> None:
    """Run every check and raise all their `UserError`s as one, so that a person mends them in one go."""
    messages = []
    for check in checks:
        try:
            check()
        except UserError as error:
            messages.append(str(error))
    if messages:
        raise UserError("\n".join(messages))


def known(name: object, names: list[str], where: str, what: str) -> None:
    """Refuse a `name` that is not among `names`.

    Raises:
        UserError: with the nearest known name as a suggestion.
    """
    if name not in names:
        raise UserError(f"{where}: unknown {what} {name!r}{suggestion(str(name), names)}")


def suggestion(name: str, names: list[str]) -> str:
    """Return ` (did you mean x?)` for a near miss, else the list of what there is."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else f" (there is: {', '.join(sorted(names))})"


def _line(problem: Mapping[str, Any], block: type[Block], where: str) -> str:
    location = [str(part) for part in problem["loc"]]
    place = f"{where}{'.' if ': ' in where else ': '}{'.'.join(location)}" if location else where
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key{suggestion(location[-1], list(block.model_fields))}"
    if problem["type"] == "missing":
        return f"{place}: missing"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    got = "" if isinstance(problem["input"], Mapping) else f", got {problem['input']!r}"  # a whole block says nothing
    return f"{place}: expected {message}{got}"
