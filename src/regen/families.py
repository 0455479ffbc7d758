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

import safetensors
import safetensors.torch
import torch

import regen.estimators
import regen.models
from regen import blocks
from regen.blocks import ModelConfig
from regen.errors import UserError
from regen.models.base import DataSpec, GenerativeModel
from regen.seeding import derive_seed

SHARED = ("base", "layers", "variational", "gaussian_sums", "missing", "naming", "spectrum")  # modules that are no family


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
    (folder / "model.safetensors").write_bytes(content)
    description = {
        "config": model.config.model_dump(), "data": model.data.model_dump(), "signature": signature,
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: str | Path) -> GenerativeModel:
    """Load a trained model from its folder, ready to `sample`, `encode`, `decode` or `reconstruct`, on the CPU.

    Example:
        >>> vae = regen.load("models/punks_vae")
        >>> images = vae.sample(100, seed=0)  # (100, 3, 64, 64), in [0, 1]

    Raises:
        UserError: the folder has no model, or its files are cut short or altered.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        content = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != description["sha256"]:
            raise ValueError("the weights' SHA-256 is not the one in model.json")
        state = safetensors.torch.load(content)
        model = build(config(description["config"], f"{folder}/model.json"), DataSpec(**description["data"]))
        model.load_state_dict(state)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or folder}: no such file; train it with `dvc repro train@{folder.name}`") from None
    except (ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: damaged model ({reason}); restore it with `dvc checkout --force {folder}`") from None
    return model.eval()
