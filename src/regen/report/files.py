"""What stages have written, read for the page. What is missing or damaged is a `UserError` of one line with its cure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from regen import paths
from regen.errors import UserError
from regen.evaluation import figures
from regen.metrics.values import Measured

T = TypeVar("T")


def found(read: Callable[[], T], missing: list[str], otherwise: T) -> T:
    """Return what is read, or else `otherwise`, with the reason added to `missing`: the page says it and goes on."""
    try:
        return read()
    except UserError as error:
        missing += str(error).split("\n")
        return otherwise


def written(path: Path, stage: str) -> Any:
    """Return what a stage has written as JSON.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro {stage}`") from None
    except ValueError as error:
        raise UserError(f"{path}: no valid JSON ({error}); run `dvc repro --force {stage}`") from None


def statistics(dataset: str, stage: str) -> dict[str, Any]:
    """Return what is known of a data set.

    Raises:
        UserError: it is missing or damaged.
    """
    path = paths.prepared(dataset) / "statistics.json"
    content = written(path, stage)
    known = content if isinstance(content, dict) else {}
    splits, facts = known.get("splits"), known.get("facts", {})
    if not isinstance(facts, dict) or not isinstance(splits, dict) or not all(isinstance(one, dict) for one in splits.values()):
        raise UserError(f"{path}: damaged (expected splits and facts); run `dvc repro --force {stage}`")
    return known


def measured(key: str) -> Measured:
    """Return a model's figures.

    Raises:
        UserError: they are missing or damaged.
    """
    path, stage = paths.metrics(key), f"evaluate@{key}"
    try:
        return figures.read(path)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; run `dvc repro {stage}`") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run `dvc repro --force {stage}`") from None


def pictures(key: str) -> list[Path]:
    """Return a model's pictures.

    Raises:
        UserError: there is no folder of them.
    """
    folder = paths.figures(key)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; run `dvc repro evaluate@{key}`")
    return sorted(folder.glob("*.png"))


def history(key: str) -> dict[str, list[float]]:
    """Return the columns of a model's training, a row an epoch or an iteration; none of a model that has no steps.

    Raises:
        UserError: the table is damaged.
    """
    path = paths.figures(key) / "training.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a row that is longer or shorter than its head")
        return {name: [float(row[name] or "nan") for row in rows] for name in (reader.fieldnames or () if rows else ())}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); run `dvc repro --force evaluate@{key}`") from None
