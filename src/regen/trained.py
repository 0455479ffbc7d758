"""A trained model by its key of params.yaml, or by its folder."""

from __future__ import annotations

from pathlib import Path

from regen import families, paths
from regen.blocks import suggestion
from regen.errors import UserError
from regen.models.base import GenerativeModel


def load(model: str | Path) -> tuple[Path, GenerativeModel]:
    """Return the folder of a trained model, and the model.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    folder = Path(model) if Path(model).is_dir() else paths.model(str(model))
    if folder.is_file():
        raise UserError(f"{folder}: no model, but what stands for none")
    if not folder.exists():
        found = [path.parent.name for path in folder.parent.glob("*/model.json")]
        near = suggestion(folder.name, found) if found else ""
        raise UserError(f"{folder}: no such model{near}; a key of params.yaml is trained with `dvc repro train@{folder.name}`")
    return folder, families.load(folder)
