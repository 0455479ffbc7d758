"""What dvc.lock says about a model: hashes of its data, of its code and of itself, as tags of its MLflow run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from regen import paths


def stages() -> dict[str, Any]:
    """Stages of dvc.lock by name; while a stage runs, those above it are current."""
    try:
        return _stages(paths.LOCK.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=1)  # one text is asked about for each model
def _stages(text: str) -> dict[str, Any]:
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
    except yaml.YAMLError:
        return {}
    found = content.get("stages") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def directory_md5(path: Path) -> str:
    """Return DVC's hash of a folder: MD5 of the JSON list of its files' hashes, sorted by relative path."""
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listing = [{"md5": file_md5(file), "relpath": name} for name, file in files]
    return hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest() + ".dir"


def file_md5(path: Path) -> str:
    """Return DVC's hash of a file: MD5 of its bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def data_tag(run: dict[str, Any]) -> str:
    """Name of the tag that holds the hash of a training's prepared data set."""
    return f"dvc.dep.{paths.prepared(run.get('dataset', ''))}.md5"


def of_training(run: dict[str, Any]) -> dict[str, str]:
    """Return the tag with the hash of the data that a training which has just started learns from."""
    prepared = str(paths.prepared(run.get("dataset", "")))
    found = [out["md5"] for _, out in _outs() if out["path"] == prepared and "md5" in out]
    return {data_tag(run): found[0]} if found else {}


def of_model(key: str) -> dict[str, str]:
    """Return tags with the hashes of a model and of all it was made from; {} where models/<key> is not what dvc.lock holds."""
    for stage, out in _outs():
        if out["path"] == str(paths.model(key)) and out.get("md5") == directory_md5(paths.model(key)):
            hashes = {f"dvc.dep.{dep['path']}.md5": dep["md5"] for dep in stage.get("deps", []) if "md5" in dep}
            return hashes | {"dvc.model.md5": out["md5"]}
    return {}


def evaluated(key: str) -> bool:
    """Whether metrics/<key>.json measures models/<key> as it is now, not an earlier model."""
    path = paths.metrics(key)
    return any(
        out["path"] == str(path) and path.exists() and out.get("md5") == file_md5(path)
        and any(
            dep["path"] == str(paths.model(key)) and dep.get("md5") == directory_md5(paths.model(key))
            for dep in stage.get("deps", [])
        )
        for stage, out in _outs()
    )  # fmt: skip


def _outs() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for stage in stages().values():
        for out in stage.get("outs", []):
            yield stage, out
