"""One trained model, evaluated by the room of its task: pictures in figures/<key>, figures in metrics/<key>.json."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

from regen import families
from regen.data import folders
from regen.drawing import plots
from regen.errors import UserError
from regen.evaluation.figures import write
from regen.evaluation.subject import Subject
from regen.metrics.values import Measured
from regen.params import Params
from regen.training.distributed import Devices


def run(key: str, given: Params, data: Path, model: Path, classifier: Path | None, figures: Path, metrics: Path) -> None:
    """Measure and draw the model `key`.

    Args:
        key: of `models` in params.yaml.
        given: all of params.yaml.
        data: the prepared data set.
        model: folder of the trained model.
        classifier: folder of the classifier whose features and readings measure its images; None where there is none.
        figures: folder that is written: pictures (*.png) and plotted tables (*.csv).
        metrics: JSON file that is written; its context goes to `context/` beside it.

    Raises:
        UserError: a folder that is missing or damaged, or a model that has diverged.
    """
    device = Devices("fp32", given.threads).device  # figures are measured in full precision
    trained = families.load(model).to(device)
    reader = None if classifier is None else families.load(classifier).to(device)
    with folders.replacing(figures) as part:
        subject = Subject(trained, reader, given.seed, data=data, history=model, folder=part)
        try:
            measured = evaluate(subject)
        except UserError as error:
            raise UserError(f"models.{key}: on the data set {trained.data.dataset}: {error}") from None
    write(measured, metrics)


def task(family: str, loader: str) -> str:
    """Return the name of the room in which a family's models are evaluated on data that is read by `loader`."""
    return "tiles" if loader == "tiles" else str(getattr(families.family(family), "TASK", "images"))


def evaluate(subject: Subject) -> Measured:
    """Measure and draw all that the model's capabilities allow; returns the figures."""
    subject.folder.mkdir(parents=True, exist_ok=True)
    _draw_training(subject)
    loader = subject.statistics.get("loader", "arrays")
    room = importlib.import_module(f"regen.evaluation.{task(subject.model.config.family, loader)}")
    measured: Measured = room.evaluate(subject)
    return measured


def code(family: str, loader: str, *others: str | None) -> list[str]:
    """Return the modules that an evaluation finds by name: the room, the model's family and the `others`, where there are any.

    These are the family of its classifier, and of what decodes the latents that it learned on.
    """
    known = families.modules()
    return [f"regen.evaluation.{task(family, loader)}", known[family], *(known[other] for other in others if other)]


def _draw_training(subject: Subject) -> None:
    """Copy the training's own tables and pictures to those of the evaluation, and draw its curves."""
    history, folder = subject.history, subject.folder
    if not (history / "history.csv").exists():
        return
    shutil.copyfile(history / "history.csv", folder / "training.csv")
    plots.training_curves(folder / "training.csv", folder / "training.png")
    for path in sorted((history / "progress").glob("epoch_*.png")):
        shutil.copyfile(path, folder / path.name)
