"""The tile VAE: the reference's network, its loss against torch.distributions, and training stopped by a validation brain."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from torch.distributions import Normal, kl_divergence

from regen import families
from regen.data import arrays, folders
from regen.data.sets import brains
from regen.errors import UserError
from regen.models.base import DataSpec, TrainedModel
from regen.models.tile_vae import Model, TileBatches
from regen.training.distributed import Devices
from regen.training.loop import since_best, train

TILE = DataSpec(dataset="toy", kind="brains", shape=(1, 64, 64))
REFERENCE = {
    "dataset": "toy", "family": "tile_vae", "latent_dim": 128, "channels": [16, 16, 32, 32], "beta": 3.0, "epochs": 1,
    "batch_size": 256, "learning_rate": 1e-4, "weight_decay": 1e-6,
}  # fmt: skip
SMALL = {
    **REFERENCE,
    "latent_dim": 3,
    "channels": [2, 4],
    "epochs": 3,
    "batch_size": 8,
    "tiles_per_epoch": 40,
    "learning_rate": 1e-3,
}


def build(**changes: Any) -> Model:
    block = {**SMALL, **changes}
    tile = 16 if block["channels"] == [2, 4] else 64
    model = families.build(families.config(block, "toy"), DataSpec(dataset="toy", kind="brains", shape=(1, tile, tile)))
    assert isinstance(model, Model)
    return model


def test_the_reference_s_network_has_its_255_393_parameters() -> None:
    model = families.build(families.config(REFERENCE, "toy"), TILE)
    assert sum(parameter.numel() for parameter in model.parameters()) == 255_393


def test_the_loss_is_squared_error_plus_beta_times_the_divergence() -> None:
    model = build(beta=2.5).eval()
    model.mean.fill_(0.6)
    model.std.fill_(0.2)
    x = torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    mu, sigma = model.posterior(x)
    rate = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(1).mean()
    torch.manual_seed(3)
    loss, figures = model.loss({"x": x}, "network")
    torch.manual_seed(3)
    z = mu + sigma * torch.randn_like(mu)
    error = ((model.decoder(z) - (x - 0.6) / 0.2) ** 2).flatten(1).sum(1).mean()
    torch.testing.assert_close(figures["rate"], rate)
    torch.testing.assert_close(figures["squared_error"], error.detach())
    torch.testing.assert_close(loss, error + 2.5 * rate)


def test_errors_of_many_draws_agree_with_the_loss() -> None:
    model = build(beta=1.0).eval()
    x = torch.rand(400, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    error, rate = (torch.stack(part).mean() for part in zip(*(model.errors(x, seed) for seed in range(20)), strict=True))
    with torch.no_grad():
        losses = [float(model.loss({"x": x}, "network")[0]) for _ in range(20)]
    assert float(error + rate) == pytest.approx(np.mean(losses), rel=0.01)


def test_without_beta_it_is_an_autoencoder() -> None:
    model = build(beta=0.0).eval()
    x = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert getattr(model, "sample", "missing") is None
    assert model.encoder[-1].out_features == 3
    loss, figures = model.loss({"x": x}, "network")
    z = model.encode(x)
    expected = ((model.decoder(z) - (x - model.mean) / model.std) ** 2).flatten(1).sum(1)
    torch.testing.assert_close(loss, expected.mean())
    assert set(figures) == {"loss"}
    error, rate = model.errors(x)
    torch.testing.assert_close(error, expected.detach())
    assert not rate.any()


def test_channels_that_do_not_divide_the_tile_are_a_person_s_mistake() -> None:
    with pytest.raises(UserError, match=r"channels: 5 convolutions .* divisible by 32; got 16x16"):
        families.build(families.config({**SMALL, "channels": [2] * 5}, "toy"), DataSpec(dataset="t", kind="b", shape=(1, 16, 16)))


# -- trained on tiles of a file


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Blurred noise of four brains, prepared with a validation brain."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with h5py.File("sections.h5", "w") as file:
        for brain, count in {"a": 3, "b": 3, "c": 2, "d": 1}.items():
            for number in range(count):
                coarse = rng.integers(0, 256, (8, 9)).astype(np.uint8)
                file[f"{brain}/{number}"] = np.kron(coarse, np.ones((5, 5), np.uint8))
    return prepare("fewest_images")


def prepare(validation: str) -> Path:
    config = brains.Config(kind="brains", source="file", path="sections.h5", tile=16, validation_brain=validation)
    with folders.replacing(Path("raw/toy")) as part:
        brains.download(config, part)
    made, description = brains.prepare(config, Path("raw/toy"), 0)
    arrays.write(Path("prepared/toy"), made, description | {"dataset": "toy", "kind": "brains", "source": "file"})
    return Path("prepared/toy")


class KillError(Exception):
    pass


def run(folder: Path, devices: Devices, work: Path, kill_at: int = -1, losses: Any = None, **changes: Any) -> TrainedModel:
    """Train; `losses` replaces the validation losses of the epochs."""
    work.mkdir(exist_ok=True)
    model = build(**changes)
    batches = model.batches(folder, 0, devices)

    class Interrupted:
        per_epoch, patience = batches.per_epoch, batches.patience

        def __call__(self, step: int) -> dict[str, torch.Tensor]:
            if step == kill_at:
                raise KillError
            return batches(step)

        def validate(self, model: TrainedModel) -> float:
            found = batches.validate(model)
            if losses is None:
                return found
            rows = list(csv.DictReader((work / "history.csv").open())) if (work / "history.csv").exists() else []
            return float(losses[len(rows)])

    return train(model, Interrupted(), devices, name="toy", seed=0, folder=work, checkpoint_seconds=0)


def digest(model: TrainedModel) -> str:
    return hashlib.sha256(safetensors.torch.save({k: v.contiguous() for k, v in model.state_dict().items()})).hexdigest()


def history(work: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((work / "history.csv").open()))


def test_the_model_takes_the_training_pixels_mean_and_deviation(prepared: Path, devices: Devices) -> None:
    model = build()
    batch = model.batches(prepared, 0, devices)(0)
    train_ = arrays.statistics(prepared)["splits"]["train"]
    assert float(model.mean) == pytest.approx(train_["mean"] / 255)
    assert float(model.std) == pytest.approx(train_["std"] / 255)
    assert batch["x"].shape == (8, 1, 16, 16)
    assert 0 <= float(batch["x"].min()) <= float(batch["x"].max()) <= 1


def test_it_learns(prepared: Path, devices: Devices, tmp_path: Path) -> None:
    run(prepared, devices, tmp_path / "work", epochs=6, tiles_per_epoch=800, learning_rate=5e-3, latent_dim=12, beta=0.0)
    losses = [float(row["loss"]) for row in history(tmp_path / "work")]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("patience", [0, 1])
def test_a_killed_training_resumes_to_the_same_bytes(patience: int, prepared: Path, devices: Devices, tmp_path: Path) -> None:
    losses = [3.0, 2.0, 4.0] if patience else None
    whole = digest(run(prepared, devices, tmp_path / "whole", losses=losses, patience=patience))
    for step in (1, 5, 11, 14):
        work = tmp_path / f"killed{step}"
        with pytest.raises(KillError):
            run(prepared, devices, work, kill_at=step, losses=losses, patience=patience)
        assert digest(run(prepared, devices, work, losses=losses, patience=patience)) == whole


def test_it_stops_when_the_validation_brain_gets_no_better_and_keeps_the_best_weights(
    prepared: Path, devices: Devices, tmp_path: Path
) -> None:
    losses = [5.0, 3.0, 4.0, 3.5, 1.0]
    stopped = run(prepared, devices, tmp_path / "stopped", losses=losses, patience=2, epochs=5)
    assert [row["validation_loss"] for row in history(tmp_path / "stopped")] == ["5", "3", "4", "3.5"]
    until = run(prepared, devices, tmp_path / "until", losses=[5.0, 3.0], patience=5, epochs=2)
    assert digest(stopped) == digest(until)
    again = run(prepared, devices, tmp_path / "stopped", losses=losses, patience=2, epochs=5)  # killed after its end
    assert digest(again) == digest(stopped)
    assert len(history(tmp_path / "stopped")) == 4


def test_a_validation_loss_that_is_no_number_is_never_the_best() -> None:
    assert since_best([{"validation_loss": value} for value in (2.0, float("nan"), 3.0)]) == 2
    assert since_best([{"validation_loss": value} for value in (float("nan"), 3.0)]) == 0


def test_the_validation_loss_is_that_of_the_validation_brain_alone(prepared: Path, devices: Devices) -> None:
    model = build(patience=1)
    batches = model.batches(prepared, 0, devices)
    assert isinstance(batches, TileBatches)
    assert batches.validation is not None
    assert {name[0] for name in batches.validation.names} == {"c"}
    assert {name[0] for name in batches.tiles.names} == {"a", "b"}
    assert batches.validate(model) == batches.validate(model)


def test_patience_without_a_validation_brain_is_one_clear_line(prepared: Path, devices: Devices) -> None:
    folder = prepare("none")
    with pytest.raises(UserError, match=r"toy has no such brain; set .*, or patience: 0"):
        build(patience=1).batches(folder, 0, devices)


def test_a_batch_larger_than_an_epoch_is_refused(prepared: Path, devices: Devices) -> None:
    with pytest.raises(UserError, match=r"batch_size: expected 1 \(processes\) to 4 \(tiles_per_epoch\), got 8"):
        build(tiles_per_epoch=4).batches(prepared, 0, devices)
