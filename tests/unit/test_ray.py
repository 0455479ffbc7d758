"""Studies on a Ray cluster: a head and nodes of one CPU each, on this machine, with caches of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from regen import blocks, data, params, paths
from regen.data import arrays
from regen.errors import UserError
from regen.studies import cell, cells, cluster, node, table
from tests.chaos import kills

pytestmark = pytest.mark.timeout(1800)  # Ray starts a dozen processes, and each cell imports torch

SEEDS = [1, 2, 3]
STUDY = {"model": "lstm", "vary": {"seed": SEEDS}, "show": ["nats_per_pixel"]}
PATIENCE = 600  # seconds for a node to begin, or to be lost
ROOM = 80 << 20  # bytes of an object store: the smallest that Ray takes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny letters, and a study whose cells have run on this machine."""
    folder = tmp_path_factory.mktemp("ray") / "home"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RAY_ADDRESS", raising=False)
        content = {**kills.tiny(), "studies": {"seeds": STUDY}}
        Path("params.yaml").write_text(yaml.safe_dump(content))
        letters = data.kind("letters")
        config = data.config(content["datasets"]["letters"], "letters")
        Path("data/raw/letters").mkdir(parents=True)
        letters.download(config, Path("data/raw/letters"))
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
    """A cluster that grows and shrinks: its head, which runs no cells, and nodes of one CPU each.

    None of them has this repository, or its data: each has an empty cache of its own, and another regen among its packages.
    """

    def __init__(self, folder: Path) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self.folder, self.places = folder, list[Path]()
        (folder / "installed/regen").mkdir(parents=True)
        (folder / "installed/regen/__init__.py").write_text("raise ImportError('an installed regen')\n")
        self.sockets = tempfile.mkdtemp(prefix="ray-")  # their paths may have 107 bytes
        self.cluster = Cluster()
        try:
            self.add(cpus=0)
            self.add()
        except BaseException:
            self.end()
            raise

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, cpus: int = 1) -> Any:
        """Begin a node; the last of `places` is where it keeps what it is sent (`cache`) and runs cells (`tmp`)."""
        from ray._private import services

        place = self.folder / f"node{len(self.places)}"
        (place / "tmp").mkdir(parents=True)
        self.places.append(place)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
            patch.setenv("TMPDIR", str(place / "tmp"))
            patch.setenv("RAY_TMPDIR", self.sockets)
            patch.setenv("RAY_worker_register_timeout_seconds", f"{PATIENCE}")
            patch.setattr(services, "get_node", patient(services.get_node))  # Ray gives a node 30 seconds to begin
            patch.setenv("PYTHONPATH", str(self.folder / "installed"))
            patch.delenv("REGEN_CACHE", raising=False)
            return self.cluster.add_node(num_cpus=cpus, object_store_memory=ROOM, include_dashboard=False)

    def processes(self) -> list[psutil.Process]:
        """The processes of cells on all nodes."""
        found = psutil.process_iter(["cmdline"])
        return [one for one in found if any(str(self.folder) in part for part in one.info["cmdline"] or [])]

    def end(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()
        shutil.rmtree(self.sockets, ignore_errors=True)


@pytest.fixture
def repository(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, for a study of its own."""
    shutil.copytree(place, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def on_cluster(repository: Path, ray: Nodes, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """The cluster, and such a copy beside it."""
    monkeypatch.setenv("RAY_ADDRESS", ray.address)
    return ray


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


def given() -> tuple[params.Params, list[cells.Cell]]:
    """All params, and the cells of the study."""
    found = params.read()
    return found, cells.cells("seeds", blocks.parse(blocks.StudyConfig, found.studies["seeds"], ""), found)


def patient(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, called until it raises no RuntimeError: machines of tests are busy."""

    def called(*arguments: Any, **options: Any) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return function(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    return called


def until(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_study_on_a_cluster_gives_the_bytes_of_this_machine_though_a_node_is_lost(
    on_cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = Counter[str](), on_cluster.add()
    finish = cells._finish

    def counted(cell: cells.Cell, given: params.Params) -> Iterator[str]:
        yield from finish(cell, given)
        kept[cell.name] += 1

    monkeypatch.setattr(cells, "_finish", counted)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(study)
        until(lambda: running.done() or list((on_cluster.places[-1] / "tmp").glob("regen-cell-*/cell.log")))
        on_cluster.cluster.remove_node(lost, allow_graceful=False)  # as it runs a cell
        on_cluster.add()
        running.result()
    assert kept == dict.fromkeys([f"seed={seed}" for seed in SEEDS], 1)
    assert digests("studies") == digests("local")
    until(lambda: not on_cluster.processes())  # that of the lost node has ended, too
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    study()  # where nothing is to be run, no cluster is asked


def test_a_cell_that_is_trained_is_evaluated_alone_on_a_node(on_cluster: Nodes) -> None:
    shutil.copytree("local/seeds", "studies/seeds")
    note = Path("studies/seeds/seed=1/cell.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"evaluation": "another"}))
    everything, found = given()
    for done in cluster.Ray(on_cluster.address).run(partial(cells._finish, given=everything), found, 1):
        if done.name == "seed=1":
            assert "epoch" not in (done.work / "cell.log").read_text()
    assert digests("studies") == digests("local")


def test_a_cell_that_fails_on_a_node_says_why_and_leaves_its_log(on_cluster: Nodes) -> None:
    changed = {"lstm": params.read().models["lstm"] | {"batch_size": 1000}}
    with pytest.raises(
        UserError, match=r"^studies.seeds: cell seed=\d failed on node [\d.]+: .*batch_size.* \(see [^\n]*cell.log\)$"
    ):
        study(models=changed)
    assert "batch_size" in next(Path(".work").rglob("cell.log")).read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"threads": 64},
            r"cell seed=1 takes 64 CPUs \(threads in params.yaml\), and no node of \S+ has as many: .* has 1 CPUs$",
        ),
        (
            {"launcher": "torchrun --nproc_per_node 2"},
            "launcher: torchrun --nproc_per_node 2: on a cluster a cell is one process",
        ),
    ],
)
def test_what_no_node_can_run_is_refused_rather_than_waited_for(on_cluster: Nodes, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        study(**changes)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, r"127.0.0.1:\d+: no Ray cluster answers there \(timed out\)"),
        (b"HTTP/1.1 400 Bad Request", "what answers there is no Ray cluster"),
        (b"", "what answers there is no Ray cluster"),
    ],
)
def test_where_no_cluster_answers_it_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, said: str
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                if answer is None:
                    connection.recv(1)  # until the other side has enough
                connection.sendall(answer or b"")

        serving = pool.submit(serve)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(UserError, match=f"^RAY_ADDRESS: .*{said}"):
            study()
        serving.result()


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "http://head:8265", "head", "head:123456"])
def test_what_is_no_address_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="expected HOST:PORT of the cluster's head"):
        study()


def test_a_name_that_no_host_can_have_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "a..b:6379")
    with pytest.raises(UserError, match=r"RAY_ADDRESS: a\.\.b:6379: no Ray cluster answers there"):
        study()


def test_where_ray_is_not_installed_it_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.setattr(cluster, "_answers", lambda address, where: None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is not installed here; pip install ray, or unset RAY_ADDRESS"):
        study()


def test_a_node_that_would_give_other_bytes_says_in_what_it_differs() -> None:
    here = node.version("numpy")
    order = node.Order("lstm", "abc", "fp32", {}, {"numpy": here}, node.code(), "src", [])
    assert node.unlike(order) == ""
    assert "not what was sent" in node.unlike(replace(order, code="another"))
    other = {"numpy": "0.1", "no_such_package": "1.0"}
    said = node.unlike(replace(order, versions=other))
    assert said == f"numpy is {here}, no_such_package is missing; install there: pip install numpy==0.1 no_such_package==1.0"


def test_a_cell_s_packages_are_known_by_their_versions(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cluster._versions(given()[1][0])
    assert found["torch"] == node.version("torch")
    assert "dvc" not in found


def test_a_machine_of_another_precision_is_refused_where_it_is_left_to_the_machine() -> None:
    auto = params.read(Path(__file__).parents[2] / "params.yaml").model_copy(update={"precision": "auto", "threads": 1})
    mine = cell.precision(auto)
    cell._same_precision(auto, mine)
    other = "fp32" if mine == "bf16" else "bf16"
    with pytest.raises(UserError, match=f"auto is {mine} on this machine, and {other} where the study was started"):
        cell._same_precision(auto, other)
    cell._same_precision(auto.model_copy(update={"precision": "bf16"}), other)


@pytest.mark.parametrize(("said", "share"), [("", 0.25), ("1", 1.0), ("2", 2.0), ("0.5", 0.5)])
def test_a_cell_s_share_of_a_gpu(monkeypatch: pytest.MonkeyPatch, said: str, share: float) -> None:
    monkeypatch.setenv("REGEN_CELL_GPUS", said)
    assert cluster._share() == share


@pytest.mark.parametrize("said", ["0", "-1", "1.5", "nan", "inf", "half"])
def test_what_is_no_share_of_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("REGEN_CELL_GPUS", said)
    with pytest.raises(UserError, match=r"^REGEN_CELL_GPUS: .*expected how much of a GPU"):
        cluster._share()
