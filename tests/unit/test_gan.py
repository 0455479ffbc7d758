"""The GAN's objectives, against their formulas, and its grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from regen import families
from regen.data.sets.punks import enlarge
from regen.errors import UserError
from regen.models.base import DataSpec
from regen.models.gan import _k_means
from tests.conftest import block, build

x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def losses(objective):
    """Both networks' losses as the model has them, and the logits that they follow from."""
    model = build("gan", objective=objective)
    real = x * 2 - 1
    torch.manual_seed(5)
    discriminator, _ = model.loss({"x": x}, "discriminator")
    drawn = model._drawn.detach()
    generator, _ = model.loss({"x": x}, "generator")
    return discriminator, generator, model.discriminator(real)[:, 0], model.discriminator(drawn)[:, 0]


def test_the_non_saturating_losses_are_those_of_their_paper():
    d, g, on_real, on_drawn = losses("non_saturating")
    torch.testing.assert_close(d, -(torch.sigmoid(on_real).log() + (1 - torch.sigmoid(on_drawn)).log()).mean())
    torch.testing.assert_close(g, -torch.sigmoid(on_drawn).log().mean())


def test_the_hinge_losses_are_those_of_their_paper():
    d, g, on_real, on_drawn = losses("hinge")
    torch.testing.assert_close(d, (1 - on_real).clamp(min=0).mean() + (1 + on_drawn).clamp(min=0).mean())
    torch.testing.assert_close(g, -on_drawn.mean())


def test_the_relativistic_losses_pair_each_sample_with_a_real_image():
    d, g, on_real, on_drawn = losses("relativistic")
    torch.testing.assert_close(d, -torch.sigmoid(on_real - on_drawn).log().mean())
    torch.testing.assert_close(g, -torch.sigmoid(on_drawn - on_real).log().mean())


def test_the_gradient_penalty_is_the_squared_slope_by_finite_differences():
    model = build("gan").double()
    images = (x * 2 - 1).double()
    step, total = 1e-5, torch.zeros((), dtype=torch.float64)
    for flat in range(0, 768, 1):
        moved = torch.zeros(768, dtype=torch.float64)
        moved[flat] = step
        with torch.no_grad():
            up, down = (model.discriminator(images[:1] + sign * moved.view(1, 3, 16, 16)) for sign in (1, -1))
        total += ((up - down) / (2 * step)).square().sum()
    torch.testing.assert_close(model._squared_slope(images[:1]), total.float(), rtol=1e-3, atol=1e-6)


def test_penalties_at_one_step_in_eight_weigh_the_same_on_average():
    def mean_loss(every):
        model = build("gan", r1=5.0, r2=5.0, penalty_every=every)
        values = []
        for step in range(400):
            torch.manual_seed(step)
            values.append(float(model.loss({"x": x}, "discriminator")[0].detach()))
        return np.mean(values), np.std(values) / np.sqrt(400)

    (always, _), (sometimes, error) = mean_loss(1), mean_loss(8)
    assert always == pytest.approx(sometimes, abs=4 * error + 1e-3)


def test_on_a_grid_samples_are_what_enlarging_the_drawn_pixels_gives():
    spec = DataSpec(dataset="toy", kind="toy", shape=(3, 64, 64))
    model = families.build(families.config(block("gan", grid=24), "gan"), spec).eval()
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        small = (model.generator(z) + 1) / 2
    expected = enlarge(small.permute(0, 2, 3, 1).numpy(), 64)
    assert np.array_equal(model.decode(z).permute(0, 2, 3, 1).numpy(), expected)


def test_on_a_grid_the_discriminator_sees_every_cell_of_a_real_image():
    spec = DataSpec(dataset="toy", kind="toy", shape=(3, 64, 64))
    model = families.build(families.config(block("gan", grid=24), "gan"), spec)
    small = np.random.default_rng(0).random((2, 24, 24, 3), dtype=np.float32)
    large = torch.from_numpy(enlarge(small, 64)).permute(0, 3, 1, 2)
    seen = large[..., model.centres, :][..., model.centres]
    assert np.array_equal(seen.permute(0, 2, 3, 1).numpy(), small)


def test_settling_makes_the_statistics_those_of_the_present_weights():
    model = build("gan").eval()
    with torch.no_grad():
        model.generator[0].weight.mul_(10)
    model.recalibrate()
    z = torch.randn(4096, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        normalised = model.generator[:3](z)
    assert F.mse_loss(normalised.mean((0, 2, 3)), torch.zeros(8)) < 0.01
    assert float(normalised.var((0, 2, 3)).sub(1).abs().max()) < 0.2
    assert not model.generator.training


def test_the_codes_of_a_band_are_the_nearest_of_its_k_means():
    model = build("gan", codes=3, bands=2)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    codes = model.columns({"x": images}, seed=0)["codes"]
    assert codes.shape == (60, 2)
    for band, rows in enumerate((slice(0, 8), slice(8, 16))):
        x = torch.from_numpy(images[:, rows].astype(np.float64)).flatten(1)
        centroids = torch.stack([x[codes[:, band] == code].mean(0) for code in range(3)])
        assert torch.equal(torch.cdist(x, centroids).argmin(1), codes[:, band])  # Lloyd's algorithm has come to rest


def test_samples_have_the_codes_of_the_training_images_as_often_and_follow_the_band_above():
    model = build("gan", codes=2, bands=2)
    images = np.zeros((100, 16, 16, 3), np.uint8)
    images[:25, :8] = 255  # a quarter has a white top,
    images[:10, 8:] = 255  # and 10 of those 25 a white bottom; no black top has one
    codes = model.columns({"x": images}, seed=0)["codes"]
    white = codes[0]
    assert torch.equal(codes[:, 0] == white[0], torch.arange(100) < 25)
    assert torch.equal(codes[:, 1] == white[1], torch.arange(100) < 10)
    told = model._inputs(torch.randn(20000, 4, generator=torch.Generator().manual_seed(0)))[:, 2:].view(-1, 2, 2)
    assert torch.equal(told.sum(2), torch.ones(20000, 2))
    top, bottom = (told[:, band, white[band]] == 1 for band in range(2))
    assert float(top.float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(bottom[top].float().mean()) == pytest.approx(0.4, abs=0.02)
    assert not bottom[~top].any()


def test_every_band_takes_a_latent():
    with pytest.raises(UserError, match="latent_dim: expected at least 8, one for the code of each band; got 4"):
        build("gan", codes=2, bands=8)


def test_the_discriminator_hears_the_codes_and_only_its_own():
    model = build("gan", codes=3, bands=2)
    told = model._told(torch.tensor([[0, 2]] * 6))
    logits = model.discriminator(x)
    torch.testing.assert_close(model._logit(x, told), logits[:, 0] + logits[:, 1] + logits[:, 6])


def test_more_codes_than_images_are_refused():
    with pytest.raises(UserError, match="codes: expected at most 2, the number of training images; got 3"):
        build("gan", codes=3, bands=2).columns({"x": np.zeros((2, 16, 16, 3), np.uint8)}, seed=0)


def test_bands_divide_the_image():
    with pytest.raises(UserError, match="bands: expected a divisor of 16 pixels, got 3"):
        build("gan", codes=3, bands=3)


def test_every_distinct_band_has_a_code_of_its_own_where_there_are_enough_however_rare_it_is():
    common, rare = torch.zeros(500, 4), torch.eye(4)
    codes = _k_means(torch.cat([common, rare]), 5, seed=0)
    assert len(codes.unique()) == 5
    assert len(codes[:500].unique()) == 1


def test_codes_that_nothing_needs_stay_unused():
    assert _k_means(torch.tensor([[0.0], [1.0]]).repeat(5, 1), 8, seed=0).unique().numel() == 2
