"""Params and figures of the workspace, of a commit, or of an experiment of DVC."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regen import blocks, documents, paths
from regen.errors import UserError

if TYPE_CHECKING:
    from regen.metrics.values import Measured  # imports torch, for which `regen sync` would wait a second

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Revision:
    """One state of the repository.

    Attributes:
        name: as a person calls it: `workspace`, `HEAD`, a branch, an experiment.
        commit: its hash; empty for the workspace.
    """

    name: str
    commit: str = ""

    def models(self) -> list[str]:
        """Return the models of its params.yaml that have figures; what was taken out of that leaves files behind."""
        if not self.commit:
            listed = [str(path) for path in paths.METRICS.glob("*.json")]
        else:
            listed = (git("ls-tree", "--name-only", self.commit, f"{paths.METRICS}/") or "").splitlines()
        return sorted(key for line in listed if line.endswith(".json") and self.has(key := Path(line).stem))

    def has(self, key: str) -> bool:
        """Whether a model of this name stands in its params.yaml; where there is no such file, any name may."""
        return blocks.is_name(key) and (self._defined is None or key in self._defined)

    def measured(self, key: str) -> Measured | None:
        """Return the figures of one model; None where it has none here, or is none of this params.yaml's.

        Raises:
            UserError: its file is damaged.
        """
        path = paths.metrics(key)
        if not self.has(key) or (text := self._text(path)) is None:
            return None
        try:
            values, beside = json.loads(text), json.loads(self._text(paths.context(path)) or "{}")
            # Commits before metrics/context/ have all of a figure in one file: {"value": ..., "error": ...}.
            parts = {name: value if isinstance(value, dict) else {"value": value} for name, value in values.items()}
            return {name: {**{part: float(value) for part, value in (entry | beside.get(name, {})).items()}}
                    for name, entry in parts.items()}  # fmt: skip
        except (ValueError, TypeError, AttributeError):
            raise UserError(f"{path}: damaged in {self.name}; restore it with `dvc repro`") from None

    def params(self) -> dict[str, Any]:
        """Return each value of params.yaml by its path: `models.punks_vae.beta`.

        Raises:
            UserError: there is no such file, or it is no YAML.
        """
        text = self._text(paths.PARAMS)
        if text is None:
            raise UserError(f"{paths.PARAMS}: no such file in {self.name}")
        return flat(documents.parsed(text, f"{self.name}: {paths.PARAMS}"))

    @cached_property
    def _defined(self) -> frozenset[str] | None:
        """The models of params.yaml."""
        if (text := self._text(paths.PARAMS)) is None:
            return None
        content = documents.parsed(text, f"{self.name}: {paths.PARAMS}")
        models = content.get("models") if isinstance(content, dict) else None
        return frozenset(models if isinstance(models, dict) else ())

    def _text(self, path: Path) -> str | None:
        if self.commit:
            return git("show", f"{self.commit}:./{path.as_posix()}")
        return path.read_text(encoding="utf-8") if path.is_file() else None


def here() -> None:
    """Refuse to go on where no regen repository is.

    Raises:
        UserError: with its root, where this is a folder in one.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / paths.PARAMS).is_file() and (folder / "dvc.yaml").is_file():
            if folder == Path.cwd():
                return
            raise UserError(f"{Path.cwd()}: not the root of the repository; run: cd {folder}")
    raise UserError(f"{Path.cwd()}: not a regen repository (no params.yaml and dvc.yaml); run in the root of one")


def revision(name: str) -> Revision:
    """Return the workspace, or the commit or experiment that a person names.

    Raises:
        UserError: there is no such revision.
    """
    if name == WORKSPACE:
        return Revision(name)
    if not name.startswith("-") and (commit := git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")):
        return Revision(name, commit.strip())
    by_name = _kept()
    if name not in by_name:
        near = blocks.suggestion(name, [WORKSPACE, *(["HEAD"] if git("rev-parse", "--verify", "HEAD") else []), *by_name])
        raise UserError(f"revision: unknown revision {name!r}{near}")
    return by_name[name]


def compared(last: int | None = None) -> list[Revision]:
    """Return the workspace, HEAD and the experiments made from HEAD (at most the `last` newest)."""
    found = experiments()
    return [Revision(WORKSPACE), *([revision("HEAD")] if git("rev-parse", "--verify", "HEAD") else []), *found[:last]]


def experiments() -> list[Revision]:
    """Return the experiments that DVC has made from HEAD and finished, newest first."""
    if not git("for-each-ref", "--count=1", "refs/exps"):
        return []  # dvc takes seconds to say the same
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        rows = dvc.api.exp_show()
    except DvcException as error:
        raise UserError(f"dvc: {error}") from None
    return [
        Revision(row["Experiment"], row["rev"])
        for row in rows
        if row["Experiment"] and row.get("State") not in ("Queued", "Running", "Failed")
    ]


def _kept() -> dict[str, Revision]:
    """Return all finished experiments by their names, whatever commit they were made from; of several of one name the newest."""
    listed = git("for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps") or ""
    found = {}
    for line in listed.splitlines():
        commit, reference = line.split(" ", 1)
        if match := re.fullmatch("refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)", reference):  # others are DVC's own
            found[match[1]] = Revision(match[1], commit)
    return found


def model(name: str, revisions: list[Revision]) -> None:
    """Refuse a model that has figures in no revision.

    Raises:
        UserError: with the nearest one that has some.
    """
    if not (measured := sorted({key for revision in revisions for key in revision.models()})):
        raise UserError("figures: no model has any yet; `dvc repro` measures them")
    blocks.known(name, measured, "figures", "model")


def git(*arguments: str) -> str | None:
    """Return what git says, or None where it refuses.

    Raises:
        UserError: git is not installed, or does not trust a repository of another user.
    """
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:
        raise UserError("git: not installed") from None
    if "dubious ownership" in done.stderr:
        place = Path.cwd()
        raise UserError(
            f"{place}: belongs to another user; trust it by: git config --global --add safe.directory {shlex.quote(str(place))}"
        )
    return done.stdout if done.returncode == 0 else None


def flat(content: Any, where: str = "") -> dict[str, Any]:
    """Return the leaves of nested blocks by their path; an empty block is a leaf."""
    if not isinstance(content, dict) or not content:
        return {where: content}
    return {
        path: leaf
        for name, value in content.items()
        for path, leaf in flat(value, f"{where}.{name}" if where else str(name)).items()
    }
