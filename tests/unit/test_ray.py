"""Studies on a Ray cluster: a head and nodes of one CPU each, on this machine, with caches of their own."""

from __future__ import annotations

import builtins
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from regen import blocks, data, params, paths
from regen.data import arrays
from regen.errors import UserError
from regen.studies import cells, cluster, node, table
from tests.hostile import full_disk

pytestmark = pytest.mark.timeout(1800)  # Ray starts a dozen processes, and each cell imports torch

SEEDS = [1, 2, 3, 4]
STUDY = {"model": "lstm", "vary": {"seed": SEEDS}, "show": ["nats_per_pixel"]}
ROOM = 80 << 20  # bytes of an object store: the smallest that Ray takes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny letters, and a study whose cells have run on this machine."""
    folder = tmp_path_factory.mktemp("ray") / "home"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RAY_ADDRESS", raising=False)
        content = {**full_disk.PARAMS, "datasets": {"letters": full_disk.PARAMS["datasets"]["letters"]}, "queries": {},
                   "encodings": {}, "models": {"lstm": full_disk.PARAMS["models"]["lstm"]}, "studies": {"seeds": STUDY}}  # fmt: skip
        Path("params.yaml").write_text(yaml.safe_dump(content))
        letters = data.kind("letters")
        config = data.config(content["datasets"]["letters"], "letters")
        found, description = letters.prepare(config, Path("data/raw/letters"), 0)
        arrays.write(paths.prepared("letters"), found, {"dataset": "letters", "kind": "letters", **description})
        study()
        Path("studies").rename("local")
    return folder


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head and one node; the packages that they find first are not this repository's."""
    pytest.importorskip("ray", reason="ray is missing; `make setup` installs it")
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    try:
        yield nodes
    finally:
        nodes.end()


class Nodes:
    """A cluster that grows and shrinks."""

    def __init__(self, folder: Path) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self.folder, self.caches = folder, list[Path]()
        (folder / "installed/regen").mkdir(parents=True)
        (folder / "installed/regen/__init__.py").write_text("raise ImportError('an installed regen')\n")
        self.cluster = Cluster()
        try:
            self.add()
            self.add()
        except BaseException:
            self.end()
            raise

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        """Begin a node of one CPU, which has neither this repository nor its data."""
        cache = self.folder / f"cache{len(self.caches)}"
        self.caches.append(cache)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache))
            patch.delenv("REGEN_CACHE", raising=False)
            patch.setenv("PYTHONPATH", str(self.folder / "installed"))
            patch.chdir(self.folder)
            return self.cluster.add_node(num_cpus=1, object_store_memory=ROOM, include_dashboard=False)

    def end(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


@pytest.fixture
def repository(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: Nodes) -> Path:
    """A copy of it, for a study of its own on the cluster."""
    shutil.copytree(place, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("RAY_ADDRESS", ray.address)
    return tmp_path / "copy"


def study(**changes: Any) -> list[dict[str, Any]]:
    """The study of params.yaml; returns what its cells say."""
    given = params.read().model_copy(update=changes)
    config = blocks.parse(blocks.StudyConfig, given.studies["seeds"], "studies.seeds")
    rows = cells.run("seeds", config, given)
    table.write("seeds", table.tabulate(rows, config.show), config.show, paths.study("seeds"))
    return rows


def digests(folder: str) -> dict[str, str]:
    """The SHA-256 of each file below a folder."""
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_study_on_a_cluster_gives_the_bytes_of_this_machine_though_a_node_is_lost(repository: Path, ray: Nodes) -> None:
    given = params.read()
    found = cells.cells("seeds", blocks.parse(blocks.StudyConfig, given.studies["seeds"], ""), given)
    lost, done = ray.add(), []
    for cell in cluster.Ray(ray.address).run(partial(cells._finish, given=given), found, 1):
        done.append(cell.name)
        if len(done) == 1:  # while the other cells run
            ray.cluster.remove_node(lost, allow_graceful=False)
            ray.add()
    assert sorted(done) == [f"seed={seed}" for seed in SEEDS]
    study()  # nothing is left to run: the table
    assert digests("studies") == digests("local")
    assert any(digests(str(cache)) for cache in ray.caches)
