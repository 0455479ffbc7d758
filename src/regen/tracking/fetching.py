"""A registered model by its address: `models:/punks_vae@champion`, or `models:/punks_vae/3`."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regen import blocks, families
from regen.errors import UserError
from regen.tracking import secrets, state
from regen.tracking.connection import chosen, connected
from regen.tracking.registry import WEIGHTS, weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from regen.models.base import GenerativeModel

ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def load(address: str) -> GenerativeModel:
    """Fetch a registered model's files and load it, as `regen.load` loads a folder. None of its code is run.

    Raises:
        UserError: no such model, alias or version; a server that cannot be reached; files that are damaged, not those that were
            registered, or of another version of regen.
    """
    uri = chosen()
    with connected(uri, timeout=30) as (client, _):
        version = find(client, address)
        with tempfile.TemporaryDirectory() as place:
            import mlflow.artifacts

            store = secrets.handed_over(state.store(uri))
            fetched = mlflow.artifacts.download_artifacts(version.source, dst_path=place, tracking_uri=store)
            folder = next(iter(sorted(Path(fetched).glob("artifacts/*/model.json"))), Path(fetched) / "model.json").parent
            return _loaded(folder, address, version)


def find(client: MlflowClient, address: str) -> ModelVersion:
    """Return the version that an address names.

    Raises:
        UserError: it is no address, or there is no such model, alias or version.
    """
    if (match := ADDRESS.fullmatch(address)) is None:
        raise UserError(f"{address}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match["name"], match["alias"], match["version"]
    registered = {model.name: model for model in client.search_registered_models(max_results=1000)}
    if name not in registered:
        near = blocks.suggestion(name, list(registered)) if registered else ""
        raise UserError(f"{address}: no registered model {blocks.shown(name)}{near}")
    if alias:
        aliases = registered[name].aliases
        if alias not in aliases:
            near = blocks.suggestion(alias, list(aliases)) if aliases else f"; `regen promote {name} {alias}` sets it"
            raise UserError(f"{address}: no alias {blocks.shown(alias)}{near}")
        number = aliases[alias]
    versions = {str(version.version): version for version in client.search_model_versions(f"name = '{name}'")}
    if str(number) not in versions:
        raise UserError(f"{address}: no version {number}{blocks.suggestion(str(number), list(versions)) if versions else ''}")
    return versions[str(number)]


def _loaded(folder: Path, address: str, version: Any) -> GenerativeModel:
    made, here = version.tags.get("regen.version"), importlib.metadata.version("regen")
    if (folder / "model.json").is_file() and version.tags.get(WEIGHTS) not in (None, weights(folder)):
        raise UserError(f"{address}: other weights than those that were registered; sync them anew: `make mlflow-sync`")
    try:
        return families.load(folder)
    except UserError as error:
        other = f"it was made by regen {made}, this is {here}: " if made and made != here else ""
        raise UserError(f"{address}: {other}{str(error).splitlines()[0].replace(f'{folder}', version.name)}") from None
