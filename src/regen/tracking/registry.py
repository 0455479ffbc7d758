"""Trained models in MLflow's registry, a name a key: the same weights are one version, whoever trained or pulled them.

A version is an MLflow model that needs no pickle: the script `regen.serving`, the modules that it imports, and model.json and
model.safetensors as they are. Its tags say which weights these are (`regen.sha256`), DVC's hash, the commit and the figures.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from regen import imports, paths
from regen.errors import UserError
from regen.tracking import lineage, secrets, state

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from regen.models.base import GenerativeModel
    from regen.tracking.mirror import Sender

WEIGHTS, FIGURES = "regen.sha256", "regen.figures"
Figures = dict[str, dict[str, float]]


def register(sender: Sender, measures: Mapping[str, float]) -> str | None:
    """Log and register the model that one training left in the workspace, if the registry does not have its weights.

    Args:
        sender: of that training; its run is the version's.
        measures: its figures, as `state.Source.measures` returns them; none leaves what the registry knows.

    Returns:
        the number of the version that was made; None where there was one, or another model lies in the workspace by now.

    Raises:
        UserError: the model is damaged.
    """
    key, folder = sender.key, paths.model(sender.key)
    here = state.restored(key).get("signature") == sender.training["run"]["signature"]
    if not here or not (folder / "model.safetensors").is_file():
        return None
    if any(secrets.sent_value(value) != value for value in sender.training["run"]["params"].values() if isinstance(value, str)):
        return None  # model.json holds a place of this machine, and those are private
    tags = _tags(sender, folder, measures)
    if found := versions(sender.client, key, tags[WEIGHTS]):
        _retag(sender.client, found[0], tags)
        return None
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "model"  # another experiment may replace the model meanwhile
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("progress", "history.csv"))
        model = _loaded(copy, folder)
        return _created(sender, tags, _logged(sender, tags, model, copy)) if weights(copy) == tags[WEIGHTS] else None


def versions(client: MlflowClient, key: str, weights: str) -> list[ModelVersion]:
    """Return the versions of these weights, the oldest first."""
    found = client.search_model_versions(f"name = '{key}' and tags.`{WEIGHTS}` = '{weights}'")
    return sorted(found, key=lambda version: int(version.version))


def weights(folder: Path) -> str:
    """Return the SHA-256 of a model's weights; of a model of two stages, of both."""
    described = [folder / "model.json", folder / "decoder/model.json"]
    return "+".join(str(state.read(path).get("sha256")) for path in described if path.is_file())


def figures(version: ModelVersion) -> Figures:
    """Return the figures that a version was registered with: {name: {"value", "error"?}}."""
    try:
        found = json.loads(version.tags.get(FIGURES, "{}"))
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _loaded(copy: Path, folder: Path) -> GenerativeModel:
    from regen import families

    try:
        return families.load(copy)
    except UserError as error:
        raise UserError(str(error).replace(str(copy), str(folder))) from None


def _tags(sender: Sender, folder: Path, measures: Mapping[str, float]) -> dict[str, str]:
    known = {**sender.run.data.tags, **lineage.of_model(sender.key)}
    parts = {"eval": "value", "error": "error"}
    measured: Figures = {}
    for name, value in sorted(measures.items()):
        part, _, measure = name.partition("/")
        if part in parts:
            measured.setdefault(measure, {})[parts[part]] = float(f"{value:.6g}")
    tags = {
        WEIGHTS: weights(folder),
        "regen.version": importlib.metadata.version("regen"),
        "dvc.signature": sender.training["run"]["signature"],
        "dvc.model.md5": known.get("dvc.model.md5"),
        "git.commit": known.get("mlflow.source.git.commit"),
        FIGURES: json.dumps(measured, sort_keys=True) if measured else None,
    }
    return {name: value for name, value in tags.items() if value}


def _retag(client: MlflowClient, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Add what was not known when a version was registered, and figures that a changed evaluation gives the same weights."""
    for name, value in tags.items():
        if name not in version.tags or (name == FIGURES and version.tags[name] != value):
            client.set_model_version_tag(version.name, version.version, name, value)


def _logged(sender: Sender, tags: Mapping[str, str], model: GenerativeModel, folder: Path) -> LoggedModel:
    """Return the MLflow model of these weights, which an interrupted registration may have left."""
    client, experiment = sender.client, sender.run.info.experiment_id
    found = client.search_logged_models([experiment], f"tags.`{WEIGHTS}` = '{tags[WEIGHTS]}'")
    begun = {str(one.status): one for one in found if one.name == sender.key}
    if "READY" in begun:
        return begun["READY"]
    kept, run_id = {name: value for name, value in tags.items() if name != FIGURES}, sender.run.info.run_id
    logged = begun.get("PENDING") or client.create_logged_model(
        experiment, sender.key, run_id, tags=kept, model_type=model.config.family
    )
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model"
        save(model, folder, path, model_id=logged.model_id, run_id=run_id)
        client.log_model_artifacts(logged.model_id, str(path))
    return client.finalize_logged_model(logged.model_id, "READY")


def save(model: GenerativeModel, folder: Path, path: Path, model_id: str | None = None, run_id: str | None = None) -> None:
    """Write the MLflow model of a trained model to `path`: nothing in it is a pickle, and nothing is run that it holds.

    Args:
        model: as it was loaded from `folder`.
        folder: model.json and model.safetensors, and those of a decoder.
        path: that is made.
        model_id, run_id: of it on the server.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    script = imports.file("regen.serving")
    with tempfile.TemporaryDirectory() as place:
        code = Path(place) / "regen"
        start = [script, imports.file(type(model).__module__)]
        if decoder := state.read(folder / "decoder/model.json").get("config"):
            start.append(imports.file(_module(decoder["family"])))
            start.append(imports.file(_module(state.read(folder / "model.json")["config"]["family"])))
        files = imports.needed(start)
        for file in files:
            target = code / file.relative_to(imports.SRC / "regen")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        example, signature = _signature(model)
        mlflow.pyfunc.save_model(
            path=str(path), python_model=str(script), artifacts={"model": str(folder)}, code_paths=[str(code)],
            signature=signature, input_example=example, pip_requirements=_requirements(files),
            mlflow_model=Model(model_id=model_id, run_id=run_id),
        )  # fmt: skip
    told = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    python = told["flavors"]["python_function"]  # the places that it remembers are those of this machine
    python["model_code_path"] = script.name
    python["artifacts"]["model"]["uri"] = python["artifacts"]["model"]["path"]
    (path / "MLmodel").write_text(yaml.safe_dump(told), encoding="utf-8")


def _module(family: str) -> str:
    from regen import families

    return families.modules()[family]


def _signature(model: GenerativeModel) -> tuple[Any, Any]:
    """Return an example of a request, and the shapes of what goes in and out; None of a model that answers none."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    from regen import serving

    def tensor(kind: type, *shape: int) -> Schema:
        return Schema([TensorSpec(np.dtype(kind), (-1, *shape))])

    if serving.classifies(model):  # images in, numbers out
        shape = model.data.shape
        signature = ModelSignature(tensor(np.float32, *shape), tensor(np.float32, -1))
        return np.zeros((1, *shape), np.float32), signature
    if not serving.draws(model):
        return None, None
    asked = ParamSchema([ParamSpec("seed", "long", 0), ParamSpec("n", "long", 0)])
    signature = ModelSignature(tensor(np.float32, -1), tensor(str), asked)
    dims = serving.latent_dim(model)
    return (np.zeros((1, dims), np.float32) if dims else (np.zeros((1, 0), np.float32), {"seed": 0, "n": 1})), signature


def _requirements(files: Sequence[Path]) -> list[str]:
    """Return the packages that files need, each as it is here; of a build of torch the public number."""
    pinned = []
    for name in imports.packages(files):
        with suppress(importlib.metadata.PackageNotFoundError):  # one that a family can do without
            pinned.append(f"{name}=={importlib.metadata.version(name).partition('+')[0]}")
    return pinned


def _created(sender: Sender, tags: dict[str, str], logged: LoggedModel) -> str | None:
    from mlflow.exceptions import MlflowException

    client, key = sender.client, sender.key
    try:
        client.create_registered_model(key)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run_id, source = sender.run.info.run_id, logged.artifact_location
    made = client.create_model_version(key, source, run_id, tags=tags, model_id=logged.model_id)
    if versions(client, key, tags[WEIGHTS])[0].version != made.version:  # another clone registered them at the same moment
        client.delete_model_version(key, made.version)
        return None
    return str(made.version)
