"""The autoencoder: its loss in either scale of pixels, and the noise that it learns to remove."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from regen import families
from regen.errors import UserError
from regen.models.base import DataSpec
from tests.conftest import block, build

x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TILE = DataSpec(dataset="toy", kind="brains", shape=(1, 16, 16), mean=0.6, std=0.2)


def of_tiles(**changes):
    config = block("autoencoder", batch_norm=False, standardise=True, **changes)
    return families.build(families.config(config, "autoencoder"), TILE).eval()


def test_the_loss_is_the_squared_error_of_an_image():
    model = build("autoencoder").eval()
    loss, _ = model.loss({"x": x}, "network")
    torch.testing.assert_close(loss.detach(), (model.reconstruct(x) - x).square().sum((1, 2, 3)).mean())


def test_as_cross_entropy_it_is_that_of_an_image_in_nats():
    model = build("autoencoder", reconstruction="bce").eval()
    loss, _ = model.loss({"x": x}, "network")
    expected = F.binary_cross_entropy(model.reconstruct(x), x, reduction="none").sum((1, 2, 3)).mean()
    torch.testing.assert_close(loss.detach(), expected)


def test_of_standardised_pixels_it_is_the_squared_error_in_deviations_of_a_pixel():
    model, tiles = of_tiles(), x[:, :1]
    loss, figures = model.loss({"x": tiles}, "network")
    expected = ((model.decoder(model.encode(tiles)) - (tiles - 0.6) / 0.2) ** 2).sum((1, 2, 3)).mean()
    torch.testing.assert_close(loss, expected)
    assert set(figures) == {"loss"}


def test_reconstructions_of_standardised_pixels_are_on_the_scale_of_pixels():
    model, tiles = of_tiles(), x[:, :1]
    with torch.no_grad():
        expected = (0.6 + 0.2 * model.decoder(model.encoder((tiles - 0.6) / 0.2))).clamp(0, 1)
    torch.testing.assert_close(model.reconstruct(tiles), expected)


def test_cross_entropy_of_standardised_pixels_is_refused():
    with pytest.raises(UserError, match=r"autoencoder: reconstruction: expected l2 where pixels are standardised, .* got 'bce'"):
        of_tiles(reconstruction="bce")


def test_spatial_latents_keep_their_place():
    """A pixel in a corner changes no latent of the opposite corner, and such a latent no pixel of the first."""
    model = build("autoencoder", spatial=True, latent_dim=32).eval()
    assert model.latent_shape == (2, 4, 4)
    changed = x.clone()
    changed[:, :, 0, 0] = 1 - changed[:, :, 0, 0]
    apart = (model.encode(changed) - model.encode(x)).view(6, 2, 4, 4).abs()
    assert apart[:, :, 0, 0].amin() > 0
    assert apart[:, :, 2:, 2:].amax() == 0
    z = torch.zeros(1, 2, 4, 4)
    z[:, :, 0, 0] = 1
    drawn = (model.decode(z.flatten(1)) - model.decode(torch.zeros(1, 32)))[0].abs()
    assert drawn[:, :4, :4].amax() > 0
    assert drawn[:, -1, -1].amax() == 0


@pytest.mark.parametrize("family", ["autoencoder", "vae"])
def test_latents_that_no_map_holds_are_refused(family):
    with pytest.raises(UserError, match="latent_dim: expected a multiple of 16, as spatial latents have 4x4 places; got"):
        build(family, spatial=True, latent_dim=20 if family == "autoencoder" else 12)


def test_gaussian_noise_has_the_deviation_that_is_asked_for():
    model = build("autoencoder", noise=0.3)
    added = model.corrupt(torch.full((100, 3, 16, 16), 0.5), torch.Generator().manual_seed(0)) - 0.5
    assert float(added.std()) == pytest.approx(0.3, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.01)


def test_masking_hides_the_share_of_pixels_that_is_asked_for_in_all_channels():
    model = build("autoencoder", noise=0.3, noise_kind="masking")
    seen = model.corrupt(torch.ones(100, 3, 16, 16), torch.Generator().manual_seed(0))
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    assert float((seen == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert torch.equal(seen[:, 0], seen[:, 2])


def test_a_denoiser_is_asked_for_the_image_without_its_noise():
    model = build("autoencoder", noise=0.5).eval()
    torch.manual_seed(4)
    loss, _ = model.loss({"x": x}, "network")
    torch.manual_seed(4)
    expected = (model.reconstruct(model.corrupt(x)) - x).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(loss.detach(), expected)


def test_convolutions_that_do_not_divide_the_image_are_a_person_s_mistake():
    with pytest.raises(UserError, match=r"channels: 5 convolutions .* divisible by 32; got 16x16"):
        of_tiles(channels=[2] * 5)
