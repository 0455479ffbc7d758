"""Blocks of parameters: frozen, strictly typed, checked by name. Unknown keys, wrong types and values out of range are refused.

A data set kind's block and a model family's block are declared beside their code (`Config` in `regen.data.sets.<kind>`,
`regen.models.<family>` and `regen.estimators.<family>`), so adding one touches one file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from regen.errors import UserError

BlockType = TypeVar("BlockType", bound="Block")

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
RULE = "a name: letters, digits and _, first a letter, 64 characters at most"
LONGEST = 100  # characters of a value in a message


def is_name(name: object) -> bool:
    """Whether a data set, a model or a study may be called so: a name becomes part of paths, of stages and of pages."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def named(name: object, where: str) -> str:
    """Return a `name`.

    Raises:
        UserError: it is none (`RULE`).
    """
    if not is_name(name):
        raise UserError(f"{where}: expected {RULE}; got {shown(name)}")
    return str(name)


def _named(name: str) -> str:
    if not is_name(name):
        raise ValueError(RULE)
    return name


Name = Annotated[str, AfterValidator(_named)]


def shown(value: object) -> str:
    """Return a value as a message shows it: in one line, cut where it is long."""
    try:
        said = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes down, or what holds itself
        return f"a value too long to show ({type(value).__name__})"
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}... ({len(said):,} characters)"


class Block(BaseModel):
    """Frozen, strictly typed block of params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetConfig(Block):
    """What every data set has. `kind` names the module `regen.data.sets.<kind>`."""

    kind: str
    source: str
    examples: NonNegativeInt = 0  # keep only the first so many of each split; 0 = all


class ModelConfig(Block):
    """What every model has. `family` names the module `regen.models.<family>`, or that of `regen.estimators`."""

    dataset: str
    family: str
    classifier: str = "none"  # model whose features and readings measure the samples; `none` where a likelihood says more


class EncodingConfig(Block):
    """A data set made by a model: the latents of a data set's images, for another model to learn on."""

    dataset: str  # whose images
    model: str  # whose `encode` gives the latents, and whose decoder goes with them


class StudyConfig(Block):
    """A model trained several times: the n-th cell takes the n-th value of every list of `vary`.

    A param is the model's own, or `seed`, `precision` or `threads`: cells that differ in their seed alone share a row of the
    table, with their spread.
    """

    model: str
    vary: dict[str, list[Any]] = Field(min_length=1)
    fixed: dict[str, Any] = Field(default_factory=dict)  # what all cells change; `threads: 1`: run side by side
    show: list[str] = Field(min_length=1)  # measures of the table and the plots


def parse(block: type[BlockType], content: object, where: str) -> BlockType:
    """Return `content` as a `block`.

    Raises:
        UserError: one line for each problem, naming the key, the value and what was expected.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{where}: expected a block of `key: value`, got {shown(content)}")
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
        near = suggestion(name if isinstance(name, str) else "", names)
        raise UserError(f"{where}: unknown {what} {shown(name)}{near}")


def suggestion(name: str, names: list[str]) -> str:
    """Return ` (did you mean x?)` for a near miss, else the list of what there is."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else f" (there is: {', '.join(sorted(names))})"


def _line(problem: Mapping[str, Any], block: type[Block], where: str) -> str:
    location = [str(part) if is_name(part) or isinstance(part, int) else shown(part).strip("'") for part in problem["loc"]]
    of_key = location[-1:] == ["[key]"]  # pydantic's word for a key that is wrong, not its value
    location = location[:-2] if of_key else location
    place = f"{where}{'.' if ': ' in where else ': '}{'.'.join(location)}" if location else where
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key{suggestion(str(problem['loc'][-1]), list(block.model_fields))}"
    if problem["type"] == "missing":
        return f"{place}: missing"
    message = RULE if of_key else problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    got = "" if isinstance(problem["input"], Mapping) else f", got {shown(problem['input'])}"  # a whole block says nothing
    return f"{place}: expected {message}{got}"
