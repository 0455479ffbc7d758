"""Where every artefact lives, relative to the repository root (the folder of dvc.yaml, where every stage runs).

What regen replaces or removes lies where these functions say. So each takes a name by the rule (`regen.blocks.named`) and refuses
any other, `..` and `/` among them: no path leads out of the folders of this page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regen.blocks import named

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
METRICS = Path("metrics")
FIGURES = Path("figures")
REPORTS = Path("reports")
STUDIES = Path("studies")
MODELS = Path("models")
EXPORTS = Path("exports")
RUNTIME = Path("data/runtime")  # the program that runs exported models in a page
README_PICTURE = Path("docs/showcase.png")
CODE = Path("data/code")
CHECKED = CODE / "checked"  # that params.yaml was checked: every other stage depends on it
WORK = Path(".work")  # resumable state: git-ignored, not an out, so DVC never deletes it


def root() -> Path:
    """Return the real repository root: under `dvc exp run --temp` the one that owns the copy, so tracking survives it."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def located(path: str) -> Path:
    """Return the place of a path in params.yaml or statistics.json: relative ones start at the repository's root."""
    try:
        given = Path(path).expanduser()
    except RuntimeError:  # nobody of that name, or a container's user, who has no home
        given = Path(path)
    return given if given.is_absolute() or given.exists() else root() / given


def raw(dataset: str) -> Path:
    """Downloaded files of one data set, unchanged."""
    return _of(Path("data/raw"), dataset)


def prepared(dataset: str) -> Path:
    """Packed arrays and statistics.json of one data set."""
    return _of(Path("data/prepared"), dataset)


def model(key: str) -> Path:
    """Trained model: model.safetensors, model.json, history.csv, progress/*.png."""
    return _of(MODELS, key)


def exported(key: str) -> Path:
    """ONNX files of one model, and their description: decoder.onnx, decoder.json."""
    return _of(EXPORTS, key)


def metrics(key: str) -> Path:
    """Figures of one model: numbers alone. Beside them lies their context (`regen.evaluation.figures`)."""
    return _of(METRICS, key).with_suffix(".json")


def context(metrics: Path) -> Path:
    """What the figures in a metrics file are held against, and their errors."""
    return metrics.parent / "context" / metrics.name


def figures(key: str) -> Path:
    """Pictures (*.png) and plotted tables (*.csv) of one model."""
    return _of(FIGURES, key)


def study(key: str) -> Path:
    """Table and finished cells of one study."""
    return _of(STUDIES, key)


def training(key: str) -> Path:
    """Resumable state of a model's trainings, a folder each."""
    return _of(WORK / "train", key)


def classifier(block: Mapping[str, Any]) -> Path | None:
    """Trained classifier that a model's block names; None where it names none."""
    name = block.get("classifier", "none")
    return None if name == "none" else model(name)


def code(stage: str, key: str = "") -> Path:
    """What decides the outcome of one stage, module by module (`regen.imports`)."""
    return _of(CODE / stage, key) if key else CODE / stage


def _of(folder: Path, name: str) -> Path:
    return folder / named(name, str(folder))
