"""The GAN's objectives and penalties, against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.conftest import build

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


def penalised(every, step, weights):
    """The discriminator's loss at one step of a training, and that loss without penalties."""
    losses = []
    for r1, r2 in (weights, (0.0, 0.0)):
        model = build("gan", r1=r1, r2=r2, penalty_every=every)
        model.step = step
        torch.manual_seed(5)
        losses.append(model.loss({"x": x}, "discriminator"))
    (loss, figures), (plain, _) = losses
    torch.testing.assert_close(figures["discriminator"], plain.detach())  # what is logged does not count the penalty
    return loss.detach(), plain.detach()


@pytest.mark.parametrize("every", [1, 3, 8])
def test_penalties_apply_at_every_so_many_th_step_and_no_other(every):
    applied = [step for step in range(17) if torch.ne(*penalised(every, step, (5.0, 5.0)))]
    assert applied == list(range(0, 17, every))


@pytest.mark.parametrize("weights", [(4.0, 0.0), (0.0, 4.0)])
def test_a_penalty_is_half_its_weight_times_the_squared_slope_times_the_steps_between(weights):
    model = build("gan")
    torch.manual_seed(5)
    model.loss({"x": x}, "discriminator")
    images = x * 2 - 1 if weights[0] else model._drawn.detach()
    loss, plain = penalised(8, 16, weights)
    torch.testing.assert_close(loss - plain, 4 / 2 * 8 * build("gan")._squared_slope(images).detach(), rtol=1e-3, atol=1e-5)


def test_penalties_weigh_the_same_over_the_steps_however_far_apart_they_are():
    def mean_penalty(every):
        pairs = [penalised(every, step, (5.0, 5.0)) for step in range(8)]
        return float(sum(loss - plain for loss, plain in pairs)) / 8

    assert mean_penalty(8) == pytest.approx(mean_penalty(1), rel=1e-3)  # the same draws at each step, so the same slopes


@pytest.mark.parametrize(("norm", "batch_norms", "spectral"), [("batch", 1, 0), ("spectral", 0, 3), ("none", 0, 0)])
def test_the_discriminator_has_the_normalisation_that_is_asked_for(norm, batch_norms, spectral):
    layers = list(build("gan", discriminator_norm=norm).discriminator)  # two convolutions and a linear layer
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == batch_norms
    assert sum(hasattr(layer, "parametrizations") for layer in layers) == spectral


def test_spectral_normalisation_holds_the_slope_of_a_layer_at_one():
    model = build("gan", discriminator_norm="spectral").train()
    for _ in range(200):  # its power iteration goes a step at each forward pass
        model.discriminator(x)
    weight = model.discriminator.eval()[0].weight.detach()
    assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1, abs=1e-3)


def test_the_discriminator_s_rate_is_a_multiple_of_the_generator_s():
    model = build("gan", learning_rate=1e-3, discriminator_rate=4.0)
    assert model.learning_rate("generator") == 1e-3
    assert model.learning_rate("discriminator") == pytest.approx(4e-3)


def test_recalibrating_makes_the_statistics_those_of_the_present_weights():
    model = build("gan").eval()
    with torch.no_grad():
        model.generator[0][0].weight.mul_(10)
    model.recalibrate()
    z = torch.randn(4096, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        normalised = model.generator[0][:3](z)  # linear, unflattened, normalised
    assert F.mse_loss(normalised.mean((0, 2, 3)), torch.zeros(8)) < 0.01
    assert float(normalised.var((0, 2, 3)).sub(1).abs().max()) < 0.2
    assert not model.generator.training
