"""Discrete codes: what is rounded comes back, the LSTM learns which maps occur, and writes them as often."""

from __future__ import annotations

import math

import pytest
import torch

from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.errors import UserError
from regen.models import fsq
from regen.training.loop import train
from tests.conftest import IMAGES, block, build, toy_images


def test_codes_number_all_combinations_of_levels_and_lead_back_to_them():
    model = build("fsq").eval()
    assert model.codebook_size == 15
    codes = torch.arange(15).repeat(2)[None, :16].contiguous()
    numbers = model._numbers(codes)
    assert len({tuple(pair) for pair in numbers[0].T.tolist()[:15]}) == 15
    assert numbers[0].abs().amax(1).tolist() == [1.0, 2.0]
    assert torch.equal(numbers, numbers.round())
    assert torch.equal(model._codes(numbers), codes)


def test_an_image_is_rounded_to_whole_numbers_with_the_gradient_of_what_was_not():
    model = build("fsq").train()
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    numbers = model._quantised(x)
    assert torch.equal(numbers, numbers.round())
    assert (numbers.abs().amax((0, 2)) <= torch.tensor([1.0, 2.0])).all()
    raw = torch.zeros(1, 32, requires_grad=True)
    model.encoder = _Given(raw)
    model._quantised(x[:1]).sum().backward()
    assert raw.grad is not None
    assert raw.grad.view(2, 16)[:, 0].tolist() == [1.0, 2.0]  # h at tanh(0)


class _Given(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


def test_a_reconstruction_is_what_an_image_s_codes_decode_to():
    model = build("fsq").eval()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        codes = model._codes(model._quantised(x))
        expected = model.decoder(model._flat(model._numbers(codes))).sigmoid()
    assert len(codes.unique()) > 1
    torch.testing.assert_close(model.reconstruct(x), expected)


def test_no_code_depends_on_those_after_it():
    prior = fsq.CodePrior(15, 16, build("fsq").config).eval()
    codes = torch.randint(15, (2, 16), generator=torch.Generator().manual_seed(0))
    changed = codes.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 15
    before, after = prior(codes), prior(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_maps_are_written_as_often_as_the_lstm_says():
    torch.manual_seed(0)
    prior = fsq.CodePrior(3, 2, build("fsq").config).eval()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    maps = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    with torch.no_grad():
        each = prior(maps).log_softmax(2).gather(2, maps[:, :, None])[..., 0].sum(1).exp()
        drawn = prior.sample(torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert each.sum().item() == pytest.approx(1.0, abs=1e-5)
    seen = torch.tensor([(drawn == one).all(1).double().mean() for one in maps])
    assert float((seen - each).abs().max()) < 4 * math.sqrt(0.25 / 20_000)


def test_the_images_do_not_feel_the_lstm_s_loss():
    x, slopes = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), []
    for scale in (1.0, 3.0):
        model = build("fsq").train()
        for parameter in model.prior.parameters():
            parameter.data.mul_(scale)
        torch.manual_seed(0)
        loss, _ = model.loss({"x": x}, "network")
        slopes.append(torch.autograd.grad(loss, [*model.encoder.parameters(), *model.decoder.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


@pytest.mark.parametrize("killed_at", [3, 8])
def test_both_are_learned_and_a_killed_training_goes_on_to_the_same_bytes(devices, tmp_path, killed_at):
    def trained(folder, stop=-1):
        batches = ArrayBatches(toy_images(), Share(8, 0))

        def read(step):
            if step == stop:
                raise KeyboardInterrupt
            return batches(step)

        read.per_epoch, read.validation = batches.per_epoch, batches.validation
        model = build("fsq", epochs=6, learning_rate=1e-2, ema=0.5, microbatch=3, gradient_clip=100.0, schedule="one_cycle")
        folder.mkdir(exist_ok=True)
        return train(model, read, devices, name="fsq", seed=0, folder=folder, checkpoint_seconds=0)

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", killed_at)
    again = trained(tmp_path / "killed")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    rows = [line.split(",") for line in (tmp_path / "whole/history.csv").read_text().splitlines()]
    for figure in ("squared_error", "nats_per_code"):
        column = [float(row[rows[0].index(figure)]) for row in rows[1:]]
        assert column[-1] < column[0]


def test_a_network_that_diverges_is_told_by_its_loss(devices, tmp_path):
    model = build("fsq", learning_rate=1e38, levels=[3, 5, 3])
    with pytest.raises(UserError, match="fsq: the loss is not finite at step"):
        train(model, ArrayBatches(toy_images(), Share(8, 0)), devices, name="fsq", seed=0, folder=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_dim": 8}, "latent_dim: expected 16, a code at each of 4x4 places; got 8"),
        ({"levels": [4]}, r"levels.*: expected an odd number"),
        ({"levels": []}, r"levels: expected some that make 65,536 codes at most, got \[\]"),
        ({"levels": [255, 255, 255]}, r"levels: expected some that make 65,536 codes at most, got \[255, 255, 255\]"),
    ],
)
def test_what_cannot_be_is_one_clear_line(changes, message):
    with pytest.raises(UserError, match=message):
        families.build(families.config(block("fsq", **changes), "toy"), IMAGES)
