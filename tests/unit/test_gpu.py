"""On a GPU: a killed training goes on to the same bytes, no step waits for the card, and it computes what a CPU computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.estimators.gaussian_mixture import GaussianMixture
from regen.estimators.ppca import PPCA
from regen.models.base import DataSpec, TrainedModel
from regen.training.distributed import Devices
from regen.training.loop import train
from tests.conftest import BLOCKS, GPU, build, toy_images

pytestmark = pytest.mark.skipif(not GPU, reason="needs a GPU")

VARIANTS = {
    **{family: (family, {}) for family in BLOCKS},
    "spectral": ("gan", {"discriminator_norm": "spectral", "ema": 0.9}),
    "r1 r2": ("gan", {"objective": "relativistic", "discriminator_norm": "none", "r1": 1.0, "r2": 1.0, "penalty_every": 2}),
    "unet": ("flow", {"channels": [8, 16], "conditional": True, "guidance": 2.0, "ema": 0.9}),
    "augmented": ("autoencoder", {"flip": True, "shift": 2, "noise": 0.1}),
    "microbatch": ("vae", {"microbatch": 3, "gradient_clip": 1.0}),
}


@pytest.fixture(autouse=True)
def _on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other tests do not see."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


class Watched(ArrayBatches):
    """Batches that end the process at one step, and forbid to wait for the card in an epoch from its second step on."""

    killed_at, strict = -1, False

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        if step == self.killed_at:
            raise KeyboardInterrupt
        torch.cuda.set_sync_debug_mode("error" if self.strict and step % self.per_epoch else "default")
        batch = super().__call__(step)
        if (step + 1) % self.per_epoch == 0:  # at the end of an epoch history and pictures are written
            torch.cuda.set_sync_debug_mode("default")
        return batch


def trained(variant: str, folder: Path, killed_at: int = -1, strict: bool = False, precision: str = "auto") -> TrainedModel:
    """Three epochs of five steps on the toy images."""
    family, options = VARIANTS[variant]
    devices = Devices(precision, threads=1)
    if family == "flow":
        block = {"dataset": "toy", "family": "flow", "epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "steps": 4, "blocks": 1}
        spec = DataSpec(dataset="toy", kind="toy", shape=(3, 16, 16), labels=("left", "right", "bright"))
        model = families.build(families.config(block | options, "flow"), spec)
    else:
        model = build(family, epochs=3, **options)
    assert isinstance(model, TrainedModel)
    share = Share(8, 0, device=devices.device, name=family, flip=model.config.flip, shift=model.config.shift)
    batches = Watched(toy_images(), share)
    batches.killed_at, batches.strict = killed_at, strict
    folder.mkdir(exist_ok=True)
    try:
        return train(model, batches, devices, name=family, seed=0, folder=folder, checkpoint_seconds=1e9 if strict else 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, variant):
    whole = trained(variant, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(variant, tmp_path / "killed", killed_at=8)
    again = trained(variant, tmp_path / "killed")
    for name, tensor in whole.state_dict().items():
        assert tensor.is_cuda
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert (tmp_path / "whole/history.csv").read_bytes() == (tmp_path / "killed/history.csv").read_bytes()


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_step_waits_for_the_card(tmp_path, variant):
    trained(variant, tmp_path / "once")  # what is made at the first call only
    trained(variant, tmp_path / "strict", strict=True)


def test_images_that_are_read_ahead_give_the_same_weights_without_waiting(tmp_path, monkeypatch):
    kept = trained("vae", tmp_path / "kept")
    monkeypatch.setattr("regen.data.loaders.arrays.KEPT", 0.0)
    ahead = trained("vae", tmp_path / "ahead", strict=True)
    for name, tensor in kept.state_dict().items():
        assert torch.equal(tensor, ahead.state_dict()[name]), name


@pytest.mark.parametrize("family", ["autoencoder", "classifier"])
def test_gradients_in_fp32_are_a_cpus(family):
    """To 2^-14 of the largest: TF32, of 11 bits, is off."""
    Devices("fp32", threads=1)
    content = toy_images()
    x = torch.from_numpy(content["x"]).permute(0, 3, 1, 2).float() / 255
    batch = {"x": x, "labels": torch.from_numpy(content["labels"])}
    gradients = []
    for device in ("cpu", "cuda"):
        model = build(family, channels=[64, 128]).to(device).train()  # wide enough for the units that have TF32
        loss, _ = model.loss({name: value.to(device) for name, value in batch.items()}, "network")
        loss.backward()
        gradients.append({name: parameter.grad.cpu() for name, parameter in model.named_parameters()})
    for name, expected in gradients[0].items():
        assert float((gradients[1][name] - expected).abs().max()) <= 2**-14 * float(expected.abs().max()), name


@pytest.mark.parametrize(("N", "D"), [(300, 12), (12, 300)])
def test_ppca_is_fitted_as_on_a_cpu(N, D):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 3)) @ rng.standard_normal((3, D)) + 0.1 * rng.standard_normal((N, D))
    a, b = PPCA(3).fit(X), PPCA(3).fit(torch.from_numpy(X).cuda())
    assert b.components_.is_cuda
    torch.testing.assert_close(b.components_.cpu(), a.components_, rtol=1e-6, atol=1e-8)
    assert b.score(X) == pytest.approx(a.score(X), rel=1e-9)


def test_a_gaussian_mixture_is_fitted_as_on_a_cpu():
    X = np.random.default_rng(0).standard_normal((400, 20)) + 5 * np.eye(4, 20)[np.arange(400) % 4]
    start = {"means_init": X[:4], "max_iter": 25, "tol": 0}
    a, b = GaussianMixture(4, **start).fit(X), GaussianMixture(4, **start).fit(torch.from_numpy(X).cuda())
    assert b.means_.is_cuda
    torch.testing.assert_close(b.means_.cpu(), a.means_, rtol=1e-6, atol=1e-8)
    assert b.score(X) == pytest.approx(a.score(X), rel=1e-9)
    assert b.sample(5)[0].is_cuda
