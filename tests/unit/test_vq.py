"""Discrete codes: what is rounded comes back, the LSTM learns which maps occur, and writes them as often."""

from __future__ import annotations

import math

import pytest
import torch

from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.errors import UserError
from regen.models import vq
from regen.training.loop import train
from tests.conftest import IMAGES, block, build, toy_images


def test_codes_number_all_combinations_of_levels_and_lead_back_to_them():
    model = build("vq").eval()
    assert model.codes == 15
    codes = torch.arange(15).repeat(2)[None, :16].contiguous()
    numbers = codes[:, None] // model.base % (2 * model.reach + 1).long() - model.reach
    assert len({tuple(pair) for pair in numbers[0].T.tolist()[:15]}) == 15
    assert numbers[0].abs().amax(1).tolist() == [1.0, 2.0]
    assert torch.equal(((numbers + model.reach).long() * model.base).sum(1), codes)


def test_an_image_is_rounded_to_whole_numbers_with_the_gradient_of_what_was_not():
    model = build("vq").train()
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    numbers = model._quantised(x)
    assert torch.equal(numbers, numbers.round())
    assert (numbers.abs().amax((0, 2)) <= torch.tensor([1.0, 2.0])).all()
    raw = torch.zeros(1, 32, requires_grad=True)
    model.encoder = torch.nn.Sequential(torch.nn.Flatten(), _Given(raw))
    model._quantised(x[:1]).sum().backward()
    assert raw.grad is not None
    assert raw.grad.view(2, 16)[:, 0].tolist() == [1.0, 2.0]  # h at tanh(0)


class _Given(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


def test_a_reconstruction_is_what_its_codes_decode_to():
    model = build("vq").eval()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.decoder(model._scaled_back(model._quantised(x))).sigmoid()
    torch.testing.assert_close(model.reconstruct(x), expected)


def test_no_code_depends_on_those_after_it():
    writer = vq.Writer(15, 16, build("vq").config).eval()
    codes = torch.randint(15, (2, 16), generator=torch.Generator().manual_seed(0))
    changed = codes.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 15
    before, after = writer(codes), writer(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_maps_are_written_as_often_as_the_lstm_says():
    torch.manual_seed(0)
    writer = vq.Writer(3, 2, build("vq").config).eval()
    for parameter in writer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    maps = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    with torch.no_grad():
        each = writer(maps).log_softmax(2).gather(2, maps[:, :, None])[..., 0].sum(1).exp()
        drawn = writer.sample(torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert each.sum().item() == pytest.approx(1.0, abs=1e-5)
    seen = torch.tensor([(drawn == one).all(1).double().mean() for one in maps])
    assert float((seen - each).abs().max()) < 4 * math.sqrt(0.25 / 20_000)


def test_first_the_images_are_learned_and_then_the_codes_while_the_images_stay(devices, tmp_path):
    model = build("vq", epochs=8, pretrain_steps=20, learning_rate=1e-2)
    batches = ArrayBatches(toy_images(), Share(8, 0))
    states = []

    def watched(step):
        if step == 20:
            states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return batches(step)

    watched.per_epoch, watched.validation = batches.per_epoch, batches.validation
    trained = train(model, watched, devices, name="vq", seed=0, folder=tmp_path)
    rows = [line.split(",") for line in (tmp_path / "history.csv").read_text().splitlines()]
    error, nats = (rows[0].index(name) for name in ("squared_error", "nats_per_code"))
    values = [[float(row[column]) for row in rows[1:]] for column in (error, nats)]
    assert values[0][0] > values[0][3] > 0 == values[0][4] == values[0][7]
    assert values[1][0] == values[1][3] == 0 < values[1][7] < values[1][4]
    final = trained.state_dict()
    for name, before in states[0].items():
        assert torch.equal(before, final[name]) != name.startswith("writer"), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_dim": 8}, "latent_dim: expected 16, a code at each of 4x4 places; got 8"),
        ({"levels": [4]}, r"levels.*: expected an odd number"),
        ({"levels": [255, 255, 255]}, "levels: expected at most 65,536 codes, got 255 x 255 x 255"),
        ({"pretrain_steps": 0}, "pretrain_steps"),
    ],
)
def test_what_cannot_be_is_one_clear_line(changes, message):
    with pytest.raises(UserError, match=message):
        families.build(families.config(block("vq", **changes), "toy"), IMAGES)
