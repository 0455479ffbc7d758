"""Who adds a model writes one module and one block: in a copy, `regen check` takes both, and it is trained and evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from regen.data import arrays
from tests import smoke
from tests.conftest import toy_images

MODULE = '''"""Each pixel by itself: x ~ N(mu, sigma^2), the simplest model that can draw an image."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from regen.models.base import DataSpec, TrainedConfig, TrainedModel, normal


class Config(TrainedConfig):
    """Parameters of a model of single pixels."""

    smallest: float = Field(0.01, gt=0)  # standard deviation of a pixel, at least


class Model(TrainedModel):
    """A mean and a standard deviation for each pixel."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.mean = nn.Parameter(torch.zeros(data.shape))
        self.spread = nn.Parameter(torch.zeros(data.shape))

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return -log p(x) in nats an image, mean over the batch."""
        loss = -self.distribution().log_prob(batch["x"]).flatten(1).sum(1).mean()
        return loss, {"loss": loss.detach()}

    def distribution(self) -> Any:
        """Return that of an image."""
        return torch.distributions.Normal(self.mean, self.spread.exp() + self.config.smallest)

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]."""
        found, noise = self.distribution(), normal(n, self.mean.numel(), seed, self.device)
        return (found.mean + found.stddev * noise.view(n, *self.mean.shape)).clamp(0, 1)
'''
BLOCK = {"dataset": "toys", "family": "pixels", "classifier": "none", "epochs": 30, "batch_size": 8, "learning_rate": 0.1}

PROGRAM = """
import sys
import numpy as np
import regen
from regen import checks, cli, params, paths
from regen.evaluation.run import run as evaluate
from regen.training.run import run as train

sys.argv = ["regen", "check"]
cli.main()
key, given = "toys_pixels", params.read(paths.PARAMS)
stages = {str(path) for path, text in checks.code(given) if "src/regen/models/pixels.py" in text}
assert stages == {str(paths.code(stage, key)) for stage in ("train", "evaluate", "export")}, stages
data, model = paths.prepared("toys"), paths.model(key)
train(key, given, data, model)
evaluate(key, given, data, model, paths.classifier(given.models[key]), paths.figures(key), paths.metrics(key))
np.save("samples.npy", regen.load(model).sample(200, seed=0).numpy())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the code with a new family, its block in params.yaml, and a prepared data set of toy images."""
    for name in ("src", "stages"):
        shutil.copytree(smoke.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(smoke.ROOT / "dvc.yaml", tmp_path)  # by which `regen check` knows a repository; it names no family
    (tmp_path / "src/regen/models/pixels.py").write_text(MODULE)
    given = yaml.safe_load((smoke.ROOT / "params.yaml").read_text())
    given["datasets"]["toys"] = {"kind": "images", "source": "folder", "path": "toys"}
    given["models"]["toys_pixels"] = BLOCK
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(given))
    x = toy_images()["x"]
    description = {"dataset": "toys", "kind": "images", "shape": [3, 16, 16], "labels": []}
    arrays.write(tmp_path / "data/prepared/toys", {"train": x[:30], "test": x[30:]}, description)
    return tmp_path


def test_a_new_family_is_one_module_and_one_block(copy: Path) -> None:
    done = smoke.run(copy, "python", "-c", PROGRAM, check=False, MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stdout[-3000:]
    figures = json.loads((copy / "metrics/toys_pixels.json").read_text())
    assert "nearest_distance" in figures
    pictures = {path.name for path in (copy / "figures/toys_pixels").iterdir()}
    assert {"samples.png", "neighbours_pixels.png", "training.png"} <= pictures
    train = np.load(copy / "data/prepared/toys/train.npy").transpose(0, 3, 1, 2) / 255
    assert np.abs(np.load(copy / "samples.npy").mean(0) - train.mean(0)).max() < 0.1  # it has learned what a pixel is
