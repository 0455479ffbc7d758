"""Move an alias of a registered model to the model of the workspace, unless its figures are worse."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from regen import blocks, paths
from regen.catalogue.registry import MEASURES
from regen.commands import text
from regen.commands.compare import judged
from regen.errors import UserError
from regen.tracking import registry, secrets
from regen.tracking.connection import chosen, connected

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FORCED = "regen.forced"  # tag of a version: aliases that it got in spite of worse figures, and which these were


def promote(key: str, alias: str, force: bool) -> str:
    """Give the alias to the version of the weights in models/<key>. Returns what was done, in a line.

    A figure is worse where it differs by more than twice both errors in the wrong direction (`regen.commands.compare`).

    Raises:
        UserError: no such model or no version of it on the server, no name for an alias, or figures that are worse or missing.
    """
    folder = paths.model(key)
    if not (folder / "model.json").is_file():
        here = [path.parent.name for path in paths.MODELS.glob("*/model.json")]
        raise UserError(f"{folder}: no such model{blocks.suggestion(key, here) if here else ''}")
    if not blocks.is_name(alias) or re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):  # these are MLflow's own
        raise UserError(f"alias: expected {blocks.RULE}, and not `latest` or a version's number; got {blocks.shown(alias)}")
    with connected(chosen(), timeout=30) as (client, _):
        found = registry.versions(client, key, registry.weights(folder))
        if not found:
            raise UserError(f"{key}: the server does not have its weights yet; `make mlflow-sync` registers them")
        version = found[0]
        number = client.get_registered_model(key).aliases.get(alias)
        before = client.get_model_version(key, number) if number else None
        if before and before.version == version.version:
            return f"{key}: version {version.version} is {alias} already"
        worse = _worse(before, version)
        if worse and not force:
            raise UserError(f"{key}: not promoted, {'; '.join(worse)} (--force does it all the same)")
        if worse:
            forced = [*_noted(version), {"alias": alias, "by": secrets.sent_user(), "in_place_of": str(number), "worse": worse}]
            client.set_model_version_tag(key, version.version, FORCED, json.dumps(forced, sort_keys=True))
        client.set_registered_model_alias(key, alias, version.version)
    instead = f", in place of version {before.version}" if before else ""
    return f"{key}: version {version.version} is {alias}{instead}{' (forced)' if worse else ''}"


def _noted(version: ModelVersion) -> list[Any]:
    """Return what was forced before; somebody may have written over it."""
    try:
        found = json.loads(version.tags.get(FORCED, "[]"))
    except ValueError:
        return []
    return found if isinstance(found, list) else [found]


def _worse(before: ModelVersion | None, version: ModelVersion) -> list[str]:
    """Return what speaks against a version in place of another, a few words each."""
    now = registry.figures(version)
    if not now:
        return [f"version {version.version} has no figures: run `dvc repro` and `make mlflow-sync`"]
    was = registry.figures(before) if before else {}
    directed = [name for name in was if name in MEASURES and MEASURES[name].better != "none"]
    gone = [f"{name} is not measured any more" for name in directed if name not in now]
    return gone + [
        f"{name} is worse: {text.figure(was[name])} -> {text.figure(now[name])}"
        for name in directed
        if name in now and judged(name, was[name], now[name]) == "worse"
    ]
