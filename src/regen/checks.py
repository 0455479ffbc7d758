"""The whole of params.yaml, checked before any work, and the code that each stage of it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from regen import blocks, data, families, imports, paths
from regen.catalogue.registry import MEASURES, READS
from regen.data.sets import arithmetic
from regen.errors import UserError
from regen.evaluation import run as evaluation
from regen.export import run as export
from regen.params import GROUPS, NONE, Params, apart, content, usable
from regen.studies import cells
from regen.training import run as training


def check(path: Path = paths.PARAMS) -> Params:
    """Return params.yaml as it was read.

    Raises:
        UserError: one line for each mistake in it.
    """
    found = content(path)
    given = usable(found)
    tests: list[Callable[[], object]] = [lambda: blocks.parse(Params, found, str(path)), lambda: apart(given, str(path))]
    tests += [partial(data.config, block, f"{path}: datasets.{key}") for key, block in given.datasets.items()]
    by_group = {"queries": _queries, "encodings": _encoding, "models": _model, "studies": _study}
    tests += [
        partial(test, given, key, block, f"{path}: {group}.{key}")
        for group, test in by_group.items()
        for key, block in getattr(given, group).items()
    ]
    blocks.problems(*tests)
    return given


def code(given: Params) -> Iterator[tuple[Path, str]]:
    """Yield for each stage and key the file that it depends on, `data/code/<stage>/<key>`, and what stands in it."""
    for stage, key, modules in _stages(given):
        found = imports.code(imports.SRC.parent / "stages" / f"{stage}.py", *modules)
        yield paths.code(stage, key), "".join(f"{value}  {name}\n" for name, value in found.items())


def _stages(given: Params) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (stage, key, modules that the stage finds by name)."""
    for key, block in given.datasets.items():
        kind = data.kind(block["kind"]).__name__
        yield "download", key, [kind]
        yield "prepare", key, [kind]
    for key in given.queries:
        yield "queries", key, []
    for key, block in given.encodings.items():
        yield "encode", key, [families.modules()[given.models[block["model"]]["family"]]]
    for key, block in given.models.items():
        trained, evaluated = _model_code(given, block)
        yield "train", key, trained
        yield "evaluate", key, evaluated
        yield "export", key, export.code(block["family"], _loader(given, block["dataset"]), _decoder(given, block))
    for key, block in given.studies.items():
        trained, evaluated = _model_code(given, given.models[block["model"]])
        yield "study", key, [*trained, *evaluated]
    yield "runtime", "", []
    yield "report", "", []


def _model_code(given: Params, block: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    family, loader, classifier = block["family"], _loader(given, block["dataset"]), block.get("classifier", NONE)
    reader = None if classifier == NONE else given.models[classifier]["family"]
    return training.code(family, loader), evaluation.code(family, loader, reader, _decoder(given, block))


def _decoder(given: Params, block: Mapping[str, Any]) -> str | None:
    """Return the family of what decodes the latents that a model learns on; None where it learns on something else."""
    encoding = given.encodings.get(block["dataset"])
    return given.models[encoding["model"]]["family"] if encoding else None


def _loader(given: Params, dataset: str) -> str:
    if dataset in given.queries:
        return arithmetic.LOADER
    return "arrays" if dataset in given.encodings else data.loader(data.kind(given.datasets[dataset]["kind"]))


def _queries(given: Params, key: str, block: dict[str, object], where: str) -> None:
    """Check one block of queries, and the data set that its digits come from."""
    config = arithmetic.config(block, where)
    blocks.known(config.digits, list(given.datasets), f"{where}.digits", "data set")


def _model(given: Params, key: str, block: dict[str, object], where: str) -> None:
    """Check one model's block and the names that it refers to."""
    blocks.problems(
        lambda: families.config(block, where),
        lambda: blocks.known(block.get("dataset"), list(given.prepared), f"{where}.dataset", "data set"),
        lambda: blocks.known(block.get("classifier", NONE), [NONE, *given.models], f"{where}.classifier", "model"),
        lambda: _readable(given, block, where),
        lambda: _classifier(given, block, f"{where}.classifier"),
        lambda: _ready(key, block, where),
    )


def _readable(given: Params, block: Mapping[str, Any], where: str) -> None:
    """Check that a family's models learn on, and are evaluated on, what a data set holds: before a training, not after it."""
    dataset, name = block.get("dataset"), block.get("family")
    if dataset not in list(given.prepared) or name not in families.families():
        return  # refused elsewhere
    reads, holds = _reads(name), _examples(given, dataset)
    if reads and holds not in reads:
        fitting = [key for key in given.prepared if _examples(given, key) in reads]
        there = f"; there is: {', '.join(fitting)}" if fitting else ""
        raise UserError(f"{where}.dataset: {dataset} holds {holds}, and a {name} learns on {' or '.join(reads)}{there}")


def _reads(family: str) -> tuple[str, ...]:
    """Return what the models of a family learn on; none where its task says nothing."""
    module = families.family(family)
    task = getattr(module, "TASK", "images")
    does = ("encode", "decode", "reconstruct")  # what an autoencoder does to images it does to tiles
    tiles = task == "images" and all(hasattr(module.Model, name) for name in does)
    return READS.get(task, ()) + (("tiles",) if tiles else ())


def _examples(given: Params, dataset: str) -> str:
    """Return what a data set holds."""
    if dataset in given.datasets:
        kind = given.datasets[dataset].get("kind")
        return data.examples(data.kind(kind)) if kind in data.kinds() else "images"
    return "queries" if dataset in given.queries else "latents"


def _ready(key: str, block: Mapping[str, Any], where: str) -> None:
    """Check that what a family asks for besides data is there, unless it has been read already."""
    module = families.family(block["family"]) if block.get("family") in families.families() else None
    if module and hasattr(module, "ready") and not (paths.model(key) / "model.json").exists():
        module.ready(families.config(block, where), where)


def _classifier(given: Params, block: Mapping[str, Any], where: str) -> None:
    """Check that the model that a block names as its classifier has what is asked of it: features, or readings of digits."""
    name, known = block.get("classifier", NONE), families.families()
    named = given.models.get(name, {}) if isinstance(name, str) else {}
    if named.get("family") not in known or block.get("family") not in known:
        return  # refused elsewhere
    if not hasattr(families.family(named["family"]).Model, "features"):
        raise UserError(f"{where}: {name} is a {named['family']}, which has no features; name a classifier, or none")
    if evaluation.task(block["family"], "arrays") == "arithmetic" and named.get("target") != "class":
        raise UserError(f"{where}: {name} reads no digits, which answers are made of; name a classifier with target: class")


def _encoding(given: Params, key: str, block: dict[str, object], where: str) -> None:
    """Check one encoding's block: its data set, and its model, which must be able to encode that data set's images."""
    encoding = blocks.parse(blocks.EncodingConfig, block, where)
    blocks.problems(
        lambda: blocks.known(encoding.dataset, list(given.prepared), f"{where}.dataset", "data set"),
        lambda: blocks.known(encoding.model, list(given.models), f"{where}.model", "model"),
    )
    if encoding.dataset in given.prepared and (holds := _examples(given, encoding.dataset)) not in ("images", "letters"):
        raise UserError(
            f"{where}.dataset: {encoding.dataset} holds {holds}, and latents are made of images; name such a data set"
        )
    family = given.models[encoding.model].get("family")
    if family in families.families() and not hasattr(families.family(family).Model, "encode"):
        raise UserError(f"{where}.model: {encoding.model} is a {family}, which has no latents; name a model that can encode")


def _study(given: Params, key: str, block: dict[str, object], where: str) -> None:
    """Check one study's block, and the model's block in each of its cells."""
    config = blocks.parse(blocks.StudyConfig, block, where)
    blocks.problems(
        lambda: blocks.known(config.model, list(given.models), f"{where}.model", GROUPS["models"]),
        *(partial(blocks.known, name, list(MEASURES), f"{where}.show", "measure") for name in config.show),
    )
    found = cells.cells(key, config, given)
    if len({cell.name.lower() for cell in found}) < len(found):
        raise UserError(f"{where}.vary: two cells differ in capitals alone, and macOS and Windows take them for one folder")
    blocks.problems(*(partial(_cell, cell, where) for cell in found))


def _cell(cell: cells.Cell, where: str) -> None:
    """Check what one cell makes of params.yaml."""
    blocks.parse(Params, cell.params.model_dump(warnings=False), f"{where}: cell {cell.name}")
    families.config(cell.block, f"{where}: cell {cell.name}")
    _readable(cell.params, cell.block, f"{where}: cell {cell.name}")
