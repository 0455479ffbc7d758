"""Small data and models that the tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regen.process  # noqa: F401
from regen import cli, errors, families
from regen.models.base import DataSpec, GenerativeModel
from regen.training.distributed import Devices

with suppress(ImportError):  # a machine that only trains may be without it
    import dvc  # noqa: F401  # its log keeps the stdout of its first import, which must not be one that a test captures

ROOT = Path(__file__).parents[1]
IMAGES = DataSpec(dataset="toy", kind="toy", shape=(3, 16, 16), labels=("left", "right", "bright"))

LONGER = {"REGEN_CASES", "REGEN_DISK", "REGEN_FUZZ", "REGEN_KILLS", "REGEN_REQUESTS", "REGEN_RUNS"}  # see CONTRIBUTING.md

# The smallest block of each family that is trained on images: the contract suite runs over all of them.
BLOCKS: dict[str, dict[str, Any]] = {
    "classifier": {"target": "attributes", "channels": [4, 8], "features": 8},
    "autoencoder": {"latent_dim": 4, "channels": [4, 8]},
    "vae": {"latent_dim": 4, "channels": [4, 8]},
    "gan": {"latent_dim": 4, "channels": [4, 8]},
    "vade": {"latent_dim": 4, "channels": [4, 8], "components": 3},
    "fsq": {"latent_dim": 16, "channels": [4, 8], "levels": [3, 5], "hidden": 8},
}

# Families of other data: their smallest blocks and what they are told of the data.
LETTERS = DataSpec(dataset="toy", kind="letters", shape=(1, 5, 5))
QUERIES = DataSpec(dataset="toy", kind="queries", shape=(5, 3, 28, 28), labels=tuple("0123456789+- "))
OTHERS: dict[str, tuple[dict[str, Any], DataSpec]] = {
    "flow": (
        {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "hidden": 8, "blocks": 1, "steps": 4},
        DataSpec(dataset="toy", kind="encoding", shape=(2,), mean=0.5, std=2.0),
    ),
    "linear_regression": ({}, DataSpec(dataset="toy", kind="diabetes", shape=(4,))),
    "gaussian_mixture": ({"components": 2}, DataSpec(dataset="toy", kind="toy", shape=(2,), labels=("a", "b"))),
    "pixel_lstm": ({"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "hidden": 4}, LETTERS),
    "ppca": ({"latent_dim": 2}, DataSpec(dataset="toy", kind="toy", shape=(1, 6, 6))),
    "pretrained": ({"network": "shufflenet_v2_x0_5", "path": "weights.pth", "sha256": 64 * "0"}, IMAGES),
    "random_graph": ({}, DataSpec(dataset="toy", kind="classrooms", shape=(15, 3))),
    "seq2seq": (
        {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "source": "text", "target": "text", "hidden": 8, "embedding": 4},
        QUERIES,
    ),
    "prefix_tables": ({}, LETTERS),
}


def compiling(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that compiles networks: in a process of its own, as torch.compile leaves Python's count of calls wrong."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    given = {**os.environ, "PYTHONPATH": paths, **environment}
    return subprocess.run([sys.executable, "-c", program], cwd=folder, env=given, capture_output=True, text=True)


def block(family: str, **changes: Any) -> dict[str, Any]:
    """A valid block of params.yaml for one family."""
    if family in OTHERS:
        return {"dataset": "toy", "family": family, **OTHERS[family][0], **changes}
    common = {"dataset": "toy", "family": family, "epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    return {**common, **BLOCKS[family], **changes}


def build(family: str, **changes: Any) -> GenerativeModel:
    """An untrained small model with fixed initial weights."""
    spec = OTHERS[family][1] if family in OTHERS else IMAGES
    return families.build(families.config(block(family, **changes), family), spec)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest: `make test` has several processes, each of which takes a file after another.

    Whoever asks for more than the default lets it take its time.
    """
    items.sort(key=lambda item: item.path.parent.name not in ("pipeline", "chaos"))
    for item in items if LONGER & os.environ.keys() else ():
        item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session", autouse=True)
def _collected_at_the_end() -> Iterator[None]:
    """Undo what a stage's end leaves for the end of its process: here, extension modules would report all as leaked."""
    yield
    atexit.unregister(errors._freeze)


GPU = torch.cuda.is_available()


@pytest.fixture(scope="session", autouse=True)
def _on_the_cpu() -> Iterator[None]:
    """Where there is a GPU, tests/unit/test_gpu.py alone uses it: the other tests hold figures of a CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # of processes that a test starts; this one reads it when it first uses a GPU
        yield


@pytest.fixture
def toy() -> dict[str, np.ndarray]:
    """40 small images."""
    return toy_images()


def toy_images() -> dict[str, np.ndarray]:
    """40 images with one bright half, and three binary attributes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 3)).astype(np.uint8)
    x = rng.integers(0, 60, (40, 16, 16, 3))
    x[:, :, :8] += 120 * labels[:, 0, None, None, None]
    x[:, :, 8:] += 120 * labels[:, 1, None, None, None]
    return {"x": (x + 60 * labels[:, 2, None, None, None]).astype(np.uint8), "labels": labels}


@pytest.fixture
def devices() -> Devices:
    """One CPU thread, full precision: the same everywhere."""
    return Devices("fp32", threads=1)


def shell(folder: Path, command: str) -> None:
    """Run a command in a repository, by a committer of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names = {f"GIT_{who}_{what}": f"regen@{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = os.environ | names | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}
    subprocess.run(command, shell=True, check=True, cwd=folder, env=environment, capture_output=True)


@pytest.fixture
def repository(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a test file's `committed` repository, in which the command runs; a remote is the original's."""
    folder = tmp_path / "toy"
    shutil.copytree(committed, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, int]]:
    """The command; returns what it printed, and its exit status."""

    def run(*arguments: str) -> tuple[str, int]:
        monkeypatch.setattr("sys.argv", ["regen", *arguments])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return captured.out + captured.err, code

    return run


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: copied, as its creation takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").get_experiment_by_name("regen")
    return path
