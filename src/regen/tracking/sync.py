"""Bring a server up to date: send what never got through, link restored models, close runs whose trainer is gone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import tenacity

from regen import paths
from regen.errors import UserError
from regen.tracking import cells, lineage, state
from regen.tracking.connection import chosen, connected, failures
from regen.tracking.launch import reason
from regen.tracking.secrets import shown

if TYPE_CHECKING:
    from regen.tracking.mirror import Sender

ATTEMPTS = 3
PATIENCE = 30  # seconds for a mirror whose stage has just ended


def sync() -> None:
    """Bring the server up to date and print one line a model. Run again, it sends nothing.

    Raises:
        UserError: the server can't be reached, or mlflow is not installed.
    """
    if not state.server():
        print("tracking is off: MLFLOW_TRACKING_URI is empty")
        return
    uri = chosen()
    behind = state.box() / "behind"  # named after the environment that is changed next
    here = _note_restored()
    lines, left = 0, list[str]()
    with connected(uri, timeout=10, otherwise="; nothing is lost: run `make mlflow-sync` again when it can") as (
        client,
        experiment,
    ):
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(failures(uri)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(max=4),
            reraise=True,
        )
        concerned = [noted for noted in (_Noted.of(folder, uri, here) for folder in state.folders()) if noted.concerns]
        runs = retrying(_runs, client, experiment, [str(noted.sent.get("run_id")) for noted in concerned])
        for noted in concerned:
            try:
                line = retrying(_bring_up, client, experiment, uri, noted, runs)
            except Exception as error:  # of this training, unless the server is gone
                client.get_experiment(experiment)
                line = f"{noted.name}: not sent: {reason(error)}"
                left.append(noted.folder.parent.name)
            if line:
                print(line, flush=True)
                lines += 1
        for line in retrying(_close_orphans, client, experiment, uri):
            print(line, flush=True)
            lines += 1
    behind.unlink(missing_ok=True)
    if left:
        raise UserError(f"{shown(uri)}: not sent, for the reasons above: {', '.join(sorted(left))}; what is complete was sent")
    if not lines:
        print("nothing to send: no model was trained here yet")


def _note_restored() -> set[Path]:
    """Return the tracking folders of the models in the workspace; models that were trained elsewhere get one."""
    here = set()
    for path in sorted(paths.MODELS.glob("*/model.json")):
        if run := state.restored(path.parent.name):
            folder = state.folder(run["key"], run["signature"])
            here.add(folder)
            if not state.training(folder):
                state.note_restored(folder, run)
    return here


@dataclass(frozen=True)
class _Noted:
    """What was noted of one training, read once: of a thousand that have ended and were sent, that is all that is done.

    Attributes:
        training: its note; {} where that is damaged.
        sent: what was noted of it on this server.
        here: whether its model lies in the workspace.
        concerns: whether there may be something to send or to say of it.
    """

    folder: Path
    training: dict[str, Any]
    sent: dict[str, Any]
    here: bool
    concerns: bool

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name} ({self.folder.name})"

    @staticmethod
    def of(folder: Path, uri: str, models: set[Path]) -> _Noted:
        training, here = state.training(folder), folder in models
        kept, sent = bool(state.snapshots(folder)), dict[str, Any]()
        if training.get("status") != "FINISHED" or here or kept or training.get("cell"):
            sent = _sent(folder, training, uri)
            if training.get("cell") and not sent and not kept:  # the server is another one
                kept = cells.again(folder, training)
        return _Noted(folder, training, sent, here, training.get("status") != "FINISHED" or here or kept)


def _sent(folder: Path, training: dict[str, Any], uri: str) -> dict[str, Any]:
    """Return what was noted of one training on this server."""
    servers: dict[str, dict[str, Any]] = state.sendings(folder, training.get("training"))["servers"]
    return servers.get(shown(uri), {})


def _runs(client: Any, experiment: str, ids: list[str]) -> dict[str, Any]:
    """Return runs as they are now on the server, by their ids: a few questions for all of them."""
    from mlflow.entities import ViewType

    ids = [run for run in ids if re.fullmatch("[0-9a-f]{32}", run)]
    found = dict[str, Any]()
    for start in range(0, len(ids), 100):
        query = f"attributes.run_id IN ({', '.join(repr(run) for run in ids[start : start + 100])})"
        found |= {run.info.run_id: run for run in client.search_runs([experiment], query, ViewType.ALL)}
    return found


def _bring_up(client: Any, experiment: str, uri: str, noted: _Noted, runs: dict[str, Any]) -> str | None:
    """Bring one training up to date. Returns the line to print; None where an old training needs nothing."""
    from regen.tracking.mirror import DeletedRunError, Sender

    folder, training, here, name = noted.folder, noted.training, noted.here, noted.name
    if not training:
        return f"{name}: {folder / 'training.json'} is damaged; left out"
    if training["status"] is None and not state.ours(training):
        return f"{name}: is the training of another copy of this repository; left to it"
    try:
        with filelock.FileLock(folder / "lock", timeout=PATIENCE):
            if _alive(training):
                return f"{name}: is being trained"
            run = runs.pop(str(noted.sent.get("run_id")), None)  # a second try asks again
            sender = Sender(client, experiment, uri, folder, run)
            tags = lineage.of_model(sender.key) if here else {}
            early = {tag: value for tag, value in state.read(folder / "lineage.json").items() if isinstance(value, str)}
            sender.describe(training["tags"] | early | tags)
            done = _done(sender, here)
    except filelock.Timeout:
        return f"{name}: is being mirrored"
    except DeletedRunError as run:
        return f"{name}: run {run} was deleted on the server; left out"
    return f"{name}: run {sender.run.info.run_id}: {done or 'up to date'}" if here or done else None


def _done(sender: Sender, here: bool) -> str:
    done = []
    if here and sender.link():
        done.append("restored here, linked")
    closed = sender.deliver(workspace=here)
    if sender.sent:
        done.append(
            "sent " + ", ".join(f"{count} {what if count > 1 else what[:-1]}" for what, count in sorted(sender.sent.items()))
        )
    if here and sender.training["status"] == "FINISHED":
        done += _registered(sender)
    if closed:
        done.append(f"closed as {sender.training['status'] or 'KILLED'}")
    return ", ".join(done)


def _registered(sender: Sender) -> list[str]:
    """Return what there is to say of a model's version in the registry: which one was made, or why none was."""
    from regen.tracking import registry

    measures = state.Source.workspace(sender.key).measures() if lineage.evaluated(sender.key) else {}
    try:
        version = registry.register(sender, measures)
    except UserError as error:
        return [f"not registered: {error}"]
    return [f"registered as version {version}"] if version else []


def _close_orphans(client: Any, experiment: str, uri: str) -> list[str]:
    """Close RUNNING runs that this clone started and that no living trainer or mirror of it holds."""
    query = f"attributes.status = 'RUNNING' and tags.`regen.clone` = '{state.clone()}'"
    running = list(client.search_runs([experiment], query))  # asked first: what begins from now on is not among them
    held = set()
    for folder in state.folders() if running else []:
        training = state.training(folder)
        if (training and _alive(training)) or _taken(folder / "lock"):
            held.add(_sent(folder, training, uri).get("run_id"))
    lines = []
    for run in running:
        if run.info.run_id not in held:
            client.set_terminated(run.info.run_id, "KILLED")
            lines.append(f"{run.data.tags.get('regen.model')}: run {run.info.run_id}: orphan, closed as KILLED")
    return lines


def _alive(training: dict[str, Any]) -> bool:
    """Whether the trainer still holds its work folder."""
    return training["status"] is None and _taken(Path(re.sub(r"/*$", ".lock", training["work"])))


def _taken(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        with filelock.FileLock(lock, timeout=0):
            return False
    except filelock.Timeout:
        return True
