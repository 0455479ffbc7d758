"""A trained model by its key of params.yaml, by its folder, or by its address in MLflow's registry."""

from __future__ import annotations

import os
from pathlib import Path

from regen import families, paths
from regen.blocks import suggestion
from regen.errors import UserError
from regen.models.base import GenerativeModel

REGISTERED = "models:/"


def loaded(source: str | Path) -> GenerativeModel:
    """Load a trained model from its folder or from MLflow's registry, ready to `sample`, `encode`, `decode` or `reconstruct`.

    Example:
        >>> vae = regen.load("models/punks_vae")
        >>> vae = regen.load("models:/punks_vae@champion")  # of the server that MLFLOW_TRACKING_URI names
        >>> images = vae.sample(100, seed=0)  # (100, 3, 64, 64), in [0, 1]

    No code of the model's is run, and nothing in its files is believed before it is checked.

    Raises:
        UserError: there is no such model, it is damaged, or the server cannot be used.
    """
    if str(source).startswith(REGISTERED):
        from regen.tracking import fetching

        return fetching.load(str(source))
    return families.load(source)


def load(model: str | Path) -> tuple[Path, GenerativeModel]:
    """Return the folder of a trained model, and the model; of a registered one its address in place of the folder.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    if str(model).startswith(REGISTERED):
        return Path(model), loaded(model)
    folder = Path(model) if os.path.isdir(model) else paths.model(str(model))  # of a text that is no path at all, `isdir` says no
    if folder.is_file():
        raise UserError(f"{folder}: no model, but what stands for none")
    if not folder.exists():
        found = [path.parent.name for path in folder.parent.glob("*/model.json")]
        near = suggestion(folder.name, found) if found else ""
        from regen import params  # on demand: a model that is there is loaded without YAML

        if paths.PARAMS.is_file() and folder.name not in params.usable(params.content()).models:
            raise UserError(f"{folder}: no such model{near}; params.yaml has none of that name either")
        raise UserError(f"{folder}: no such model{near}; train it with `dvc repro train@{folder.name}`")
    return folder, families.load(folder)
