"""Where every artefact lives, relative to the repository root (the folder of dvc.yaml, where every stage runs)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
METRICS = Path("metrics")
FIGURES = Path("figures")
REPORTS = Path("reports")
STUDIES = Path("studies")
README_PICTURE = Path("docs/showcase.png")
CODE = Path("data/code")
WORK = Path(".work")  # resumable state: git-ignored, not an out, so DVC never deletes it


def root() -> Path:
    """Return the real repository root: under `dvc exp run --temp` the one that owns the copy, so tracking survives it."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def raw(dataset: str) -> Path:
    """Downloaded files of one data set, unchanged."""
    return Path("data/raw") / dataset


def prepared(dataset: str) -> Path:
    """Packed arrays and statistics.json of one data set."""
    return Path("data/prepared") / dataset


def model(key: str) -> Path:
    """Trained model: model.safetensors, model.json, history.csv, progress/*.png."""
    return Path("models") / key


def metrics(key: str) -> Path:
    """Figures of one model: numbers alone. Beside them lies their context (`regen.evaluation.figures`)."""
    return METRICS / f"{key}.json"


def context(metrics: Path) -> Path:
    """What the figures in a metrics file are held against, and their errors."""
    return metrics.parent / "context" / metrics.name


def figures(key: str) -> Path:
    """Pictures (*.png) and plotted tables (*.csv) of one model."""
    return FIGURES / key


def classifier(block: Mapping[str, Any]) -> Path | None:
    """Trained classifier that a model's block names; None where it names none."""
    name = block.get("classifier", "none")
    return None if name == "none" else model(name)


def code(stage: str, key: str = "") -> Path:
    """What decides the outcome of one stage, module by module (`regen.imports`)."""
    return CODE / stage / key if key else CODE / stage
