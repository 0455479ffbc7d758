"""A study: one model several times, each cell with other values, trained and evaluated as any model is.

A cell has a folder of its own with params.yaml, the data and the classifier, and a process of its own (`regen.studies.cell`).
What is finished is kept in the study's out with the signatures of its training and of its evaluation, so a study that is killed
goes on with the cell it was in, and a changed cell runs alone. A cell that is the model of params.yaml itself is copied, not run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from regen import imports, paths
from regen.blocks import StudyConfig
from regen.data import arrays, folders
from regen.errors import UserError
from regen.evaluation import figures
from regen.evaluation import run as evaluation
from regen.params import Params
from regen.studies import cell as process
from regen.studies import node
from regen.studies.executors import Executor, Local
from regen.training import checkpoint
from regen.training import run as training

TOP = ("seed", "precision", "threads")  # what a cell may vary besides the model's own block
NAMES = ("dataset", "family", "classifier")  # what it may not: other stages make them, and DVC must know which
NOTE = "cell.json"
WRITTEN = {"table.json", "table.csv"}  # beside the cells: `regen.studies.table`
LONGEST = 240  # bytes of a cell's name: a folder's holds 255, with what a folder that is being written adds


@dataclass(frozen=True)
class Cell:
    """One row of a study: the values that it varies and all the params that they lead to."""

    study: str
    model: str
    values: dict[str, Any]
    params: Params

    @property
    def name(self) -> str:
        """`seed=1`, `encoder_layers=1,decoder_layers=2`: a folder's name, shortened by a hash where it must be."""
        said = ",".join(f"{name}={value}" for name, value in self.values.items()).replace(", ", ",")
        plain = re.sub(r"[^\w=,.+\[\]-]", "_", said).lstrip(".")
        if plain == said and len(plain.encode()) <= LONGEST:
            return plain
        start = plain.encode()[: LONGEST - 17].decode(errors="ignore")
        return f"{start}-{hashlib.sha256(said.encode(errors='surrogatepass')).hexdigest()[:16]}"

    @property
    def block(self) -> dict[str, Any]:
        """The model's block in this cell."""
        return self.params.models[self.model]

    @property
    def settings(self) -> dict[str, Any]:
        """All that it is trained with."""
        return {**{name: getattr(self.params, name) for name in TOP}, **self.block}

    @property
    def reads(self) -> list[Path]:
        """The folders that its training and its evaluation read, besides its own."""
        return [paths.prepared(self.block["dataset"]), *filter(None, [paths.classifier(self.block)])]

    @property
    def kept(self) -> Path:
        """Where the finished cell lies."""
        return paths.study(self.study) / self.name

    @property
    def work(self) -> Path:
        """Where it is run."""
        return work(self.study) / self.name


def cells(key: str, config: StudyConfig, given: Params) -> list[Cell]:
    """Return the cells of one study in the order of params.yaml: the n-th takes the n-th value of every list.

    Raises:
        UserError: lists of different lengths, the same cell twice, or another data set, family or classifier.
    """
    where = f"params.yaml: studies.{key}"
    if named := [name for name in (*config.vary, *config.fixed) if name in NAMES]:
        kept = f"a study keeps its model's {', '.join(NAMES)}"
        raise UserError(f"{where}: {named[0]}: {kept}; add a block under models: and name it")
    lengths = {name: len(values) for name, values in config.vary.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"{where}.vary: expected lists of one length, a value for each cell; {said}")
    found = []
    for row in zip(*config.vary.values(), strict=True):
        values = dict(zip(config.vary, row, strict=True))
        changed = {**config.fixed, **values}
        block = given.models[config.model] | {name: value for name, value in changed.items() if name not in TOP}
        top = {name: value for name, value in changed.items() if name in TOP}
        params = given.model_copy(update={**top, "models": given.models | {config.model: block}, "studies": {}})
        found.append(Cell(key, config.model, values, params))
    if len({cell.name for cell in found}) < len(found):
        raise UserError(f"{where}.vary: the same cell stands there twice")
    return found


def run(key: str, config: StudyConfig, given: Params, executor: Executor[Cell] | None = None) -> list[dict[str, Any]]:
    """Run the cells that are not finished; returns each cell's values and metrics.

    Args:
        key: of `studies` in params.yaml.
        config: its block.
        given: all of params.yaml.
        executor: runs the cells; by default the cluster at RAY_ADDRESS, or where that is not set this machine, as many at a time
            as its cores allow.

    Raises:
        UserError: a cell failed; those that are finished are kept.
    """
    wanted = cells(key, config, given)
    paths.study(key).mkdir(parents=True, exist_ok=True)
    _tidy(paths.study(key), {cell.name for cell in wanted})
    # Of several processes each, they run one after another: such a cell takes all GPUs, and torchrun a port.
    threads = max(cell.params.threads for cell in wanted) if given.launcher == "python" else sys.maxsize
    with tqdm(total=len(wanted), desc=key, unit="cell", dynamic_ncols=True) as progress:
        for _ in (executor or _chosen()).run(partial(_finish, given=given), wanted, threads):
            progress.update()
    shutil.rmtree(work(key), ignore_errors=True)
    return [{"values": cell.values, "metrics": figures.read(cell.kept / "metrics.json")} for cell in wanted]


def _chosen() -> Executor[Cell]:
    """Return who runs the cells: Ray's own variable says where its cluster is."""
    if address := os.environ.get("RAY_ADDRESS"):
        from regen.studies.cluster import Ray  # on demand: it asks for cells itself

        return Ray(address)
    return Local(_start)


def work(key: str) -> Path:
    """Where the cells of a study are run."""
    return paths.WORK / paths.study(key)


def _tidy(folder: Path, wanted: set[str]) -> None:
    """Remove the cells that are no longer wanted, and what a killed study left; nothing else.

    Raises:
        UserError: something else stands there. It would become part of the study's out.
    """
    found = [path for path in sorted(folder.iterdir()) if path.name not in WRITTEN]
    for path in found:
        part = path.name.startswith(".") and path.name.endswith(".part")
        if path.is_symlink() or not (part or (path / NOTE).is_file()):
            raise UserError(f"{path}: regen did not write it, and {folder} is for what it writes; move it elsewhere")
    for path in found:
        if path.name not in wanted:
            left = path if path.name.startswith(".") else path.rename(path.with_name(f".{path.name}.part"))
            shutil.rmtree(left) if left.is_dir() else left.unlink()  # under a name of what is left: a kill leaves half of it


def _finish(cell: Cell, given: Params) -> Iterator[str]:
    """Bring one cell up to date; where it has to be trained or evaluated, yields its signature for an executor to see to that."""
    trained, evaluated = _signatures(cell)
    noted = _noted(cell.kept / NOTE)
    if (noted.get("training"), noted.get("evaluation")) == (trained, evaluated):
        return
    home = Path()
    if cell.params.model_copy(update={"studies": given.studies}) != given:
        home = cell.work
        _furnish(cell)
        if noted.get("training") == trained:
            shutil.copytree(cell.kept / "model", home / paths.model(cell.model), dirs_exist_ok=True)
            folders.write(home / process.TRAINED, trained)
        yield trained
    with folders.replacing(cell.kept) as part:
        shutil.copytree(home / paths.model(cell.model), part / "model")
        shutil.copytree(home / paths.figures(cell.model), part / "figures")
        figures.write(figures.read(home / paths.metrics(cell.model)), part / "metrics.json")
        folders.write_json(part / NOTE, {"values": cell.values, "training": trained, "evaluation": evaluated})


def _signatures(cell: Cell) -> tuple[str, str]:
    """Return what decides the cell's training (params, data, code, processes), and what decides its evaluation."""
    data, folder = paths.prepared(cell.block["dataset"]), paths.classifier(cell.block)
    to_train, to_evaluate = modules(cell)
    trained = checkpoint.signature(
        block=cell.block, top={name: getattr(cell.params, name) for name in TOP}, data=arrays.statistics(data),
        launcher=cell.params.launcher, code=_code(training, *to_train),
    )  # fmt: skip
    classifier = _json(folder / "model.json") if folder else {}
    decoder = _noted(data / "decoder/model.json")  # of an encoding: by it latents are shown and measured
    return trained, checkpoint.signature(training=trained, classifier=classifier, decoder=decoder,
                                         code=_code(evaluation, *to_evaluate))  # fmt: skip


def _code(module: Any, *found: str) -> str:
    return imports.digest(imports.code(Path(module.__file__), *found))


def _furnish(cell: Cell) -> None:
    """Lay out the cell's folder: its params.yaml, and links to the data and to the classifier."""
    (cell.work / "models").mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump(cell.params.model_dump(), sort_keys=False)
    folders.write(cell.work / paths.PARAMS, content)
    for path in filter(None, (Path("data"), paths.classifier(cell.block))):
        if not (cell.work / path).is_symlink():
            (cell.work / path).symlink_to(path.resolve())


def _start(cell: Cell, signature: str) -> None:
    """Train and evaluate the cell in a process of its own, or in several by the launcher, and wait for it.

    Raises:
        UserError: with what it said last.
    """
    start = [sys.executable] if alone(cell, signature) else cell.params.start
    if said := node.process(cell.work, start, [cell.model, signature], os.environ, imports.SRC, attended=False):
        raise UserError(f"studies.{cell.study}: cell {cell.name} failed: {said} (see {cell.work / node.LOG})")


def alone(cell: Cell, signature: str) -> bool:
    """Whether one process does it: what is trained already is evaluated by one."""
    return cell.params.launcher == "python" or process.trained(cell.work, signature)


def modules(cell: Cell) -> tuple[list[str], list[str]]:
    """Return the modules that a cell's training, and those that its evaluation, find by name."""
    family, loader = cell.block["family"], arrays.statistics(paths.prepared(cell.block["dataset"])).get("loader", "arrays")
    folder = paths.classifier(cell.block)
    reader = _json(folder / "model.json")["config"]["family"] if folder else None
    return training.code(family, loader), evaluation.code(family, loader, reader)


def _noted(path: Path) -> dict[str, Any]:
    """Return a JSON object; {} where there is none that can be read."""
    try:
        content = _json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
