"""What is measured and drawn of a model: its training, then what the module that knows its subject makes of it."""

from __future__ import annotations

import importlib
import shutil

from regen.evaluation import plots
from regen.evaluation.subject import Subject
from regen.evaluation.values import Measured

SUBJECTS: dict[str, str] = {  # module of a family that does not make or judge images, or has more to show
    "linear_gaussian": "regression",
    "mixture": "mixtures",
    "pixel_lstm": "letters",
    "ppca": "components",
    "random_graph": "graphs",
    "seq2seq": "answers",
    "tables": "letters",
    "tile_vae": "tiles",
}


def evaluate(subject: Subject) -> Measured:
    """Measure and draw all that the model's capabilities allow; returns what belongs in metrics/<model>.json."""
    subject.folder.mkdir(parents=True, exist_ok=True)
    _training(subject)
    module = importlib.import_module(f"regen.evaluation.{SUBJECTS.get(subject.model.config.family, 'images')}")
    measures: Measured = module.evaluate(subject)
    return measures


def _training(subject: Subject) -> None:
    """Copy the training's own tables and pictures to those of the evaluation, and draw its curves."""
    history, folder = subject.history, subject.folder
    if not (history / "history.csv").exists():
        return
    shutil.copyfile(history / "history.csv", folder / "training.csv")
    plots.training_curves(folder / "training.csv", folder / "training.png")
    progress = sorted((history / "progress").glob("epoch_*.png"))
    for name, path in zip(
        ("first", "middle", "last"), progress if len(progress) == 3 else progress[:1] + progress[-1:], strict=False
    ):
        shutil.copyfile(path, folder / f"progress_{name}.png")
