"""A study: one model over and over, each cell with other values, trained and evaluated by the same scripts as any model.

A cell has a folder of its own in which those scripts find params.yaml, the data and the classifier. What is finished is kept in
the study's out with the signatures of its training and of its evaluation, so a study that is killed goes on with the cell
it was in, and a changed cell runs alone. A cell that is the model of params.yaml itself is copied, not run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from regen import paths
from regen.blocks import StudyConfig
from regen.data import folders
from regen.errors import UserError
from regen.params import Params

TOP = ("seed", "precision", "threads")  # what a cell may vary besides the model's own block
NOTE = "cell.json"


@dataclass(frozen=True)
class Cell:
    """One row of a study: the values that it varies and all the params that they lead to."""

    study: str
    model: str
    values: dict[str, Any]
    params: Params

    @property
    def name(self) -> str:
        """`seed=1`, `encoder_layers=1,decoder_layers=2`: a folder's name."""
        return ",".join(f"{name}={value}" for name, value in self.values.items()).replace("/", "_").replace(" ", "")

    @property
    def block(self) -> dict[str, Any]:
        """The model's block in this cell."""
        return self.params.models[self.model]

    @property
    def kept(self) -> Path:
        """Where the finished cell lies."""
        return paths.STUDIES / self.study / self.name

    @property
    def work(self) -> Path:
        """Where it is run."""
        return paths.WORK / "studies" / self.study / self.name


def cells(key: str, config: StudyConfig, given: Params) -> list[Cell]:
    """Return the cells of one study in the order of params.yaml: the n-th takes the n-th value of every list.

    Raises:
        UserError: lists of different lengths, or the same cell twice.
    """
    lengths = {name: len(values) for name, values in config.vary.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"params.yaml: studies.{key}.vary: expected lists of one length, a value for each cell; {said}")
    found = []
    for row in zip(*config.vary.values(), strict=True):
        values = dict(zip(config.vary, row, strict=True))
        changed = {**config.fixed, **values}
        block = given.models[config.model] | {name: value for name, value in changed.items() if name not in TOP}
        top = {name: value for name, value in changed.items() if name in TOP}
        params = given.model_copy(update={**top, "models": given.models | {config.model: block}, "studies": {}})
        found.append(Cell(key, config.model, values, params))
    if len({cell.name for cell in found}) < len(found):
        raise UserError(f"params.yaml: studies.{key}.vary: the same cell stands there twice")
    return found


def run(key: str, config: StudyConfig, given: Params) -> list[dict[str, Any]]:
    """Run the cells that are not finished, as many at a time as cores allow; returns each cell's values and metrics.

    Raises:
        UserError: a cell failed; those that are finished are kept.
    """
    wanted = cells(key, config, given)
    out = paths.STUDIES / key
    out.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in out.iterdir()} - {cell.name for cell in wanted}:
        shutil.rmtree(out / stale) if (out / stale).is_dir() else (out / stale).unlink()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(1, cores // max(cell.params.threads for cell in wanted))
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(wanted), desc=key, unit="cell", dynamic_ncols=True) as progress:
        try:
            for done in as_completed([pool.submit(_finish, cell, given) for cell in wanted]):
                done.result()
                progress.update()
        except BaseException:  # a mistake or Ctrl-C: no further cell is begun
            pool.shutdown(cancel_futures=True)
            raise
    shutil.rmtree(paths.WORK / "studies" / key, ignore_errors=True)
    return [{"values": cell.values, "metrics": _json(cell.kept / "metrics.json")} for cell in wanted]


def _finish(cell: Cell, given: Params) -> None:
    """Bring one cell up to date."""
    training, evaluation = _signatures(cell)
    noted = _json(cell.kept / NOTE) if (cell.kept / NOTE).exists() else {}
    if (noted.get("training"), noted.get("evaluation")) == (training, evaluation):
        return
    if cell.params.model_copy(update={"studies": given.studies}) == given:
        model, metrics, figures = paths.model(cell.model), paths.metrics(cell.model), paths.figures(cell.model)
    else:
        _furnish(cell)
        model, metrics, figures = (
            cell.work / path for path in (paths.model(cell.model), paths.metrics(cell.model), paths.figures(cell.model))
        )
        trained = cell.work / "trained"
        if noted.get("training") == training:
            shutil.copytree(cell.kept / "model", model, dirs_exist_ok=True)
        elif not trained.exists() or trained.read_text() != training:
            _script(cell, "train")
            trained.write_text(training)
        _script(cell, "evaluate")
    with folders.replacing(cell.kept) as part:
        shutil.copytree(model, part / "model")
        shutil.copyfile(metrics, part / "metrics.json")
        shutil.copytree(figures, part / "figures")
        folders.write_json(part / NOTE, {"values": cell.values, "training": training, "evaluation": evaluation})


def _signatures(cell: Cell) -> tuple[str, str]:
    """Return what decides the cell's training (params; data and code through the model's own signature), and its evaluation."""
    base = _json(paths.model(cell.model) / "model.json")["signature"]
    top = {name: getattr(cell.params, name) for name in TOP}
    scripts = {name: Path("stages", f"{name}.py").read_text(encoding="utf-8") for name in ("train", "evaluate")}
    code = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).with_name("evaluation").rglob("*.py"))]
    classifier = cell.block.get("classifier", "none")
    classified = classifier if classifier == "none" else _json(paths.model(classifier) / "model.json")["signature"]
    training = _digest({"block": cell.block, "base": base, "script": scripts["train"], **top})
    return training, _digest({"training": training, "classifier": classified, "code": [scripts["evaluate"], *code]})


def _furnish(cell: Cell) -> None:
    """Lay out the cell's folder: its params.yaml, and links to the data and to the classifier."""
    (cell.work / "models").mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump(cell.params.model_dump(), sort_keys=False)
    (cell.work / paths.PARAMS).write_text(content, encoding="utf-8")
    for path in {Path("data"), paths.model(cell.block.get("classifier", "none"))}:
        if not (cell.work / path).is_symlink():
            (cell.work / path).symlink_to(path.resolve())


def _script(cell: Cell, name: str) -> None:
    """Run stages/<name>.py in the cell's folder.

    Raises:
        UserError: with the last line that it printed.
    """
    script = Path("stages", f"{name}.py").resolve()
    log = cell.work / f"{name}.log"
    environment = os.environ | {"PYTHONPATH": str(Path("src").resolve()), "MLFLOW_TRACKING_URI": ""}
    with log.open("w", encoding="utf-8") as file:
        launcher = cell.params.launcher if name == "train" else "python"  # of several processes, trained in as many
        command = [*(shlex.split(launcher) if launcher != "python" else [sys.executable]), str(script), cell.model]
        code = subprocess.run(command, cwd=cell.work, env=environment, stdout=file, stderr=file).returncode
    if code:
        lines = log.read_text(encoding="utf-8").splitlines() or ["nothing was printed"]
        raise UserError(f"studies.{cell.study}: cell {cell.name} failed: {lines[-1]} (see {log})")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
