"""Model families by name: what they are, and how a model is configured, built, saved and loaded.

A family is one module, in `regen.models` (networks trained by gradient steps) or in `regen.estimators` (fitted to all the data),
which defines `Config`, its block of params.yaml, and `Model`. Modules are imported when asked for: touching one family never
concerns another.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch

import regen.estimators
import regen.models
from regen import blocks, weights
from regen.blocks import ModelConfig
from regen.data import folders
from regen.errors import UserError
from regen.models.base import DataSpec, GenerativeModel
from regen.models.two_stages import TwoStages
from regen.seeding import derive_seed

SHARED = (
    "base",
    "layers",
    "two_stages",
    "variational",
    "gaussian_sums",
    "missing",
    "naming",
    "spectrum",
)  # modules that are no family

DECODER = "decoder"  # folder of the model that decodes what another one draws


def modules() -> dict[str, str]:
    """Return the module of each family by name, from the files of the two packages."""
    return {
        module.name: f"{package.__name__}.{module.name}"
        for package in (regen.models, regen.estimators)
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in SHARED
    }


def families() -> list[str]:
    """Return the names of all families."""
    return sorted(modules())


def family(name: str, where: str = "family") -> ModuleType:
    """Import the module of one family.

    Raises:
        UserError: there is no such family.
    """
    blocks.known(name, families(), where, "family")
    return importlib.import_module(modules()[name])


def config(block: Mapping[str, Any], where: str) -> ModelConfig:
    """Return a model's block of params.yaml as its family's `Config`.

    Raises:
        UserError: unknown family, unknown keys, wrong types or values out of range, one line each.
    """
    if not isinstance(block, Mapping) or "family" not in block:
        raise UserError(f"{where}.family: missing (there is: {', '.join(families())})")
    parsed = blocks.parse(family(block["family"], f"{where}.family").Config, block, where)
    assert isinstance(parsed, ModelConfig)
    return parsed


def build(config: ModelConfig, data: DataSpec, seed: int = 0) -> GenerativeModel:
    """Return an untrained model for data of the given kind, its initial weights drawn from (seed, "weights")."""
    torch.manual_seed(derive_seed(seed, "weights"))
    model = family(config.family).Model(config, data)
    assert isinstance(model, GenerativeModel)
    return model


def save(model: GenerativeModel, folder: Path, signature: str = "") -> None:
    """Write `model.safetensors` and `model.json` (params, data, signature of the training, SHA-256 of the weights).

    The same bytes for the same model.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(state)
    folders.write(folder / "model.safetensors", content)
    description = {
        "config": model.config.model_dump(), "data": model.data.model_dump(), "signature": signature,
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    folders.write(folder / "model.json", json.dumps(description, indent=2, sort_keys=True) + "\n")


def load(folder: str | Path) -> GenerativeModel:
    """Load a trained model from its folder, ready to `sample`, `encode`, `decode` or `reconstruct`, on the CPU.

    One of latents that has its decoder beside it is loaded with it, as one model of images.

    Example:
        >>> vae = regen.load("models/punks_vae")
        >>> images = vae.sample(100, seed=0)  # (100, 3, 64, 64), in [0, 1]

    Nothing in the folder is believed before it is checked, and no memory is asked for before its files agree how much.

    Raises:
        UserError: the folder has no model, or its files are cut short or altered, do not fit together, or hold NaN.
    """
    folder = Path(folder)
    model = _one(folder)
    if not (folder / DECODER).is_dir():
        return model
    images = _one(folder / DECODER)
    dims = getattr(images.config, "latent_dim", None)
    if not all(hasattr(part, name) for part in (model, images) for name in ("encode", "decode")) or model.data.shape != (dims,):
        raise UserError(f"{folder / DECODER}: a {images.config.family}, which is no decoder of the latents, {model.data.shape}, "
                        f"of a {model.config.family}; {_remedy(folder)}")  # fmt: skip
    return TwoStages(model, images).eval()


def _one(folder: Path) -> GenerativeModel:
    """Load the model whose files lie in `folder` itself. Raises: see `load`."""
    try:
        description, path = weights.description(folder / "model.json"), folder / "model.safetensors"
        chosen = config(description["config"], f"{folder}/model.json: config")
        spec = blocks.parse(DataSpec, description["data"], f"{folder}/model.json: data")
        with weights.bounded(path):
            model = _built(chosen, spec)
        weights.compare(path, model)
        model.load_state_dict(weights.read(path, description["sha256"]))
        model.check()
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or folder}: no such file; train it with `dvc repro train@{folder.name}`") from None
    except NotADirectoryError:
        raise UserError(f"{folder}: no folder of a model; {_remedy(folder)}") from None
    except weights.DAMAGE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{folder}: damaged model ({reason}); {_remedy(folder)}") from None
    return model.eval()


def _built(config: ModelConfig, data: DataSpec) -> GenerativeModel:
    try:
        return build(config, data)
    except UserError as error:
        raise ValueError(f"model.json: {error}") from None


def _remedy(folder: Path) -> str:
    return f"restore it with `dvc checkout --force {folder}`"
