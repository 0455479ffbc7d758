"""A change that is meant to change no computation changes no loss: small trainings against the committed losses.json.

After a change that is meant to, write it anew with `python -m tests.golden.test_losses` and look at the difference.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pytest

from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.models.base import TrainedModel
from regen.training.distributed import Devices
from regen.training.loop import train
from tests.conftest import BLOCKS, build, toy_images

GOLDEN = Path(__file__).with_name("losses.json")


def losses(family: str) -> list[dict[str, float]]:
    """The history of three epochs on the toy images."""
    devices = Devices("fp32", threads=1)
    model = build(family, epochs=3, schedule="cosine", ema=0.5)
    assert isinstance(model, TrainedModel)
    with tempfile.TemporaryDirectory() as folder:
        train(model, ArrayBatches(toy_images(), Share(8, 0)), devices, name=family, seed=0, folder=Path(folder))
        with (Path(folder) / "history.csv").open() as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("family", BLOCKS)
def test_the_losses_are_those_on_file(family):
    expected = json.loads(GOLDEN.read_text())[family]
    for row, golden in zip(losses(family), expected, strict=True):
        assert row == pytest.approx(golden, rel=1e-4)  # the last bits depend on the processor


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({family: losses(family) for family in BLOCKS}, indent=1, sort_keys=True) + "\n")
