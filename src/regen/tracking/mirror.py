"""One training on one MLflow server: find or create its run, ask what the run has, send what it lacks."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import tempfile
from collections import Counter
from os import environ
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType

from regen import paths
from regen.tracking import cells, launch, lineage, pace, secrets, state
from regen.tracking.values import finite, flat, named, picture

BATCH = 500  # points in one request; MLflow takes 1,000


class DeletedRunError(Exception):
    """Somebody deleted the run on the server."""


class DamagedNoteError(Exception):
    """What was noted of a training is gone, or half of it."""


class Sender:
    """Sends one training's files. After an exception, make a new one: what the server took of the last call is unknown.

    Attributes:
        run: the MLflow run.
        sent: how many points, images and figures this sender has sent.
    """

    def __init__(self, client: MlflowClient, experiment: str, uri: str, folder: Path, run: Run | None = None) -> None:
        """Find or create the run and ask what it has.

        Args:
            client, experiment, uri, folder: see `connection.connect` and `state.folder`.
            run: the one that was noted here, where somebody has just asked for it.

        Raises:
            DeletedRunError: somebody deleted the run on the server.
            mlflow.exceptions.MlflowException: the server can't be reached, or refused.
        """
        self.client, self.uri, self.folder = client, secrets.shown(uri), folder
        self.training = self._noted()
        self.note = state.sendings(folder, self.training["training"])
        self.sent: Counter[str] = Counter()
        noted = self.note["servers"].get(self.uri, {}).get("run_id")  # of this training, where another took its place meanwhile
        found = self._kept(run) if run and run.info.run_id == noted else self._find(experiment, noted)
        self.created = found is None
        self.run = found or self._create(experiment)
        proto = self.run.data.to_proto()  # which has the steps, too
        self.latest = {point.key: (point.step, point.value) for point in proto.metrics}

    @property
    def key(self) -> str:
        """Key of the model."""
        return str(self.training["run"]["key"])

    def describe(self, tags: dict[str, str]) -> None:
        """Send tags and params that the run lacks, and tie it to its data set by DVC's hash."""
        run = self.training["run"]
        data, run_id = self.run.data, self.run.info.run_id
        given = {name: secrets.sent_value(value) for name, value in flat(run["params"]).items()}
        params = [Param(name, value) for name, value in given.items() if name not in data.params]
        changed = [RunTag(name, value) for name, value in secrets.sent(tags).items() if data.tags.get(name) != value]
        for start in range(0, max(len(params), len(changed)), 100):
            self.client.log_batch(run_id, params=params[start : start + 100], tags=changed[start : start + 100])
        data.params.update((param.key, param.value) for param in params)  # as the run is now; to ask takes a server's time
        data.tags.update((tag.key, tag.value) for tag in changed)
        digest = (data.tags | tags).get(lineage.data_tag(run))
        known = {one.dataset.digest for one in self.run.inputs.dataset_inputs} if self.run.inputs else set()
        if digest and digest not in known:
            place = str(paths.prepared(run["dataset"]))
            source = get_dataset_source_from_json(f'{{"uri": "{place}"}}', "local")
            dataset = MetaDataset(source=source, name=run["dataset"], digest=digest)  # type: ignore[abstract]  # `profile` has a default
            role = InputTag("mlflow.data.context", "training")
            self.client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), [role])])
            self.run = self.client.get_run(run_id)

    def send(self, source: state.Source) -> None:
        """Send the points, images and figures that the run lacks."""
        self._send_points(self._history(source) + self._history(pace.noted(self.folder), "system") + self._evaluation(source))
        pictures = source.pictures()
        if pictures:
            self._send_images(pictures)
            self._send_file(pictures[max(pictures)], "progress.png")
        for path in sorted(source.figures.glob("*.png")):
            self._send_file(path, path.name)

    def reopen(self) -> None:
        """Make the run of a resumed training RUNNING again."""
        if self.run.info.status != "RUNNING":
            self.client.update_run(self.run.info.run_id, status="RUNNING")
            self.run = self.client.get_run(self.run.info.run_id)

    def close(self, status: str) -> bool:
        """Give the run its final status; return whether that changed anything."""
        changed = bool(self.run.info.status != status)
        if changed:
            self.client.set_terminated(self.run.info.run_id, status, self.training.get("ended"))
        return changed

    def deliver(self, workspace: bool = False) -> bool:
        """Send all that an ended training or evaluation left, give its run its status, drop what was kept to be sent.

        Parameters:
            workspace: look into the stages' outs too, where they are this training's.

        Returns:
            whether the run's status changed.
        """
        self.training = self._noted()
        copies = state.snapshots(self.folder)
        status = self.training["status"] or "KILLED"  # a trainer that is gone and said nothing
        sources = [state.Source.of(copy) for copy in copies[-1:]]
        if status != "FINISHED" and self.training["work"]:
            sources.append(state.Source.of(Path(self.training["work"])))
        if workspace and state.restored(self.key).get("signature") == self.training["run"]["signature"]:
            measured = lineage.evaluated(self.key)  # else metrics and figures are an earlier model's
            sources.append(state.Source.workspace(self.key) if measured else state.Source.of(paths.model(self.key)))
        for source in sources:
            self.send(source)
        changed = self.close(status)
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)
        return changed

    def link(self) -> bool:
        """Tag the run of a model that came from the run-cache or a pull with the commit or experiment that has it now.

        Returns:
            whether the model was restored since it was last looked at.
        """
        current = self.folder.parent / "current.json"
        before = state.read(current).get("signature")
        state.write(current, {"signature": self.training["run"]["signature"]})
        if (self.created and self.training["training"] is None) or before == self.training["run"]["signature"]:
            return False
        private = secrets.PRIVATE in environ
        name = (not private and environ.get("DVC_EXP_NAME")) or launch.git("rev-parse", "--short", "HEAD")
        earlier = self.run.data.tags.get("dvc.restored", "").split()
        if name and name not in earlier:
            self.describe({"dvc.restored": " ".join([*earlier, name][-20:])})
        return True

    def _find(self, experiment: str, noted: str | None) -> Run | None:
        """Return this training's run, or for a restored model the run that trained it: the same hash, else the same signature."""
        training = self.training["training"]
        if training is None:
            run = self.training["run"]
            query = f"tags.`dvc.signature` = '{run['signature']}' and tags.`regen.model` = '{run['key']}'"
        else:
            query = f"tags.`regen.training` = '{training}'"
        runs = list(self.client.search_runs([experiment], query, ViewType.ALL, order_by=["attributes.start_time"]))
        md5 = lineage.of_model(self.training["run"]["key"]).get("dvc.model.md5") if training is None else None
        # False sorts before True: the noted run, then the one of the same bytes, then one that was finished
        runs.sort(
            key=lambda run: (
                run.info.run_id != noted,
                run.data.tags.get("dvc.model.md5") != md5,
                run.info.status != "FINISHED",
                run.info.lifecycle_stage == "deleted",
            )
        )
        return self._kept(runs[0]) if runs else None

    def _kept(self, found: Run) -> Run:
        """Return a run, which is this training's, and note it."""
        if found.info.lifecycle_stage == "deleted":
            raise DeletedRunError(found.info.run_id)
        self._remember(run_id=found.info.run_id)
        return found

    def _create(self, experiment: str) -> Run:
        run, tags = self.training["run"], secrets.sent(self.training["tags"])
        name = " ".join(filter(None, [run["key"], tags.get("regen.cell"), tags.get("dvc.exp_name")]))
        if run.get("study"):
            tags |= {"mlflow.parentRunId": cells.parent(self.client, experiment, run["study"])}
        tags = tags | {
            "regen.training": self.training["training"] or "",
            "regen.clone": state.clone(),
            "regen.model": run["key"],
            "dvc.signature": run["signature"],
            "mlflow.source.type": "LOCAL",
            **secrets.sent({"mlflow.user": secrets.user()}),
        }
        created = self.client.create_run(experiment, self.training.get("started"), tags, name)
        self._remember(run_id=created.info.run_id)
        return created

    def _history(self, source: state.Source, group: str = "train") -> list[Metric]:
        metrics = []
        for epoch, values in source.rows():
            for column, value in values.items():
                key = named(f"{group}/{column}")
                if key not in self.latest or epoch > self.latest[key][0]:  # sent in order: who has one has those before it
                    time = self.note["times"].setdefault(str(epoch), state.milliseconds())
                    metrics.append(Metric(key, finite(value), time, epoch))
        return metrics

    def _evaluation(self, source: state.Source) -> list[Metric]:
        """A changed figure of the same model (new evaluation code) is the next step; the same figure is sent once."""
        metrics = []
        for measure, number in source.measures().items():
            key, value = named(measure), finite(number)
            step, last = self.latest.get(key, (-1, None))
            if last is None or not (last == value or (math.isnan(last) and math.isnan(value))):
                time = int(source.metrics.stat().st_mtime * 1000)
                metrics.append(Metric(key, value, time, step + 1))
        return metrics

    def _send_points(self, metrics: list[Metric]) -> None:
        if metrics:
            self._remember()  # the time stamps, before the points
        for start in range(0, len(metrics), BATCH):
            batch = metrics[start : start + BATCH]
            self.client.log_batch(self.run.info.run_id, metrics=batch)
            for metric in batch:
                self.latest[metric.key] = (metric.step, metric.value)
            self.sent["points"] += len(batch)

    def _send_images(self, pictures: dict[int, Path]) -> None:
        """Send the pictures that are not noted as sent, once the server was asked: one may have arrived and not been noted."""
        noted = self.note["servers"][self.uri].setdefault("images", [])
        if not (missing := pictures.keys() - set(noted)):
            return
        names = [Path(file.path).name for file in self.client.list_artifacts(self.run.info.run_id, "images")]
        numbered = (re.match(r"progress[+%]step[+%](\d+)[+%].*compressed", name) for name in names)
        there = {int(match[1]) for match in numbered if match}  # the compressed copy is uploaded last
        for step in sorted(missing):
            if step not in there:
                if (image := picture(pictures[step])) is None:
                    continue
                self.client.log_image(self.run.info.run_id, image, key="progress", step=step, synchronous=True)
                self.sent["images"] += 1
            noted.append(step)
        self._remember()

    def _send_file(self, path: Path, name: str) -> None:
        """Upload one figure as figures/<name>, over an earlier one, unless it is the one that was uploaded last."""
        sent = self.note["servers"][self.uri].setdefault("figures", {})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if sent.get(name) == digest:
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(path, Path(folder) / name)
            self.client.log_artifact(self.run.info.run_id, str(copy), "figures")
        sent[name] = digest
        self._remember()
        self.sent["figures"] += 1

    def _noted(self) -> dict[str, Any]:
        if not (note := state.training(self.folder)):
            raise DamagedNoteError(self.folder / "training.json")
        return note

    def _remember(self, **facts: str) -> None:
        server = self.note["servers"].setdefault(self.uri, {})
        if server.get("run_id") != facts.get("run_id", server.get("run_id")):
            server.clear()  # another run has none of the old one's figures
        server.update(facts)
        state.write(self.folder / "sent.json", self.note)
