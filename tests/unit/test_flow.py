"""Flow matching on latents and on images: its paths, and its density against one that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

from regen import families
from regen.catalogue.registry import CAPTIONS, MEASURES
from regen.data import arrays
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.errors import UserError
from regen.evaluation import flows
from regen.evaluation.subject import Subject
from regen.models import flow
from regen.models.base import DataSpec, normal
from regen.models.two_stages import TwoStages
from regen.networks import asking, velocity
from regen.seeding import generator
from regen.training.distributed import Devices
from regen.training.loop import train
from tests.conftest import OTHERS, block, build, compiling

LATENTS = OTHERS["flow"][1]


class Gaussian:
    """The velocity that carries N(0, I) to N(m, s^2): what a perfect network has learned of Gaussian latents."""

    mean, std = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.5])

    def velocity(self, x, t):
        t = t[:, None]
        variance = (1 - t).square() + t.square() * self.std.square()
        slope = (t * self.std.square() - (1 - t)) / variance
        return self.mean + slope * (x - t * self.mean)


def perfect(monkeypatch, **changes):
    model = build("flow", **{"steps": 64, **changes}).eval()
    monkeypatch.setattr(model, "velocity", Gaussian().velocity)
    return model


def test_its_velocity_s_optimum_draws_the_data_s_distribution(monkeypatch):
    z = perfect(monkeypatch).sample(20_000, seed=1)
    standardised = (z - LATENTS.mean) / LATENTS.std
    assert torch.allclose(standardised.mean(0), Gaussian.mean, atol=0.05)
    assert torch.allclose(standardised.std(0), Gaussian.std, rtol=0.03)


def test_its_log_likelihood_is_the_density_s(monkeypatch):
    model = perfect(monkeypatch)
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    covariance = (LATENTS.std * Gaussian.std).square().diag()
    expected = MultivariateNormal(LATENTS.mean + LATENTS.std * Gaussian.mean, covariance).log_prob(x)
    assert torch.allclose(model.log_likelihood(x), expected, atol=2e-2)


def test_its_divergence_is_that_of_its_network():
    model = build("flow", steps=64).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    few, many = model.log_likelihood(x), []
    for row in x:  # the same by the change of variables through the whole path
        jacobian = torch.autograd.functional.jacobian(
            lambda y: model._integrated(model.velocity, y[None], 1.0, 0.0)[0], (row - LATENTS.mean) / LATENTS.std
        )
        start = model.encode(row[None])[0]
        normal = -0.5 * (start.square().sum() + 2 * math.log(2 * math.pi))
        many.append(normal + jacobian.det().abs().log() - 2 * math.log(LATENTS.std))
    assert torch.allclose(few, torch.stack(many), atol=5e-3)


def test_there_and_back_is_where_it_began(monkeypatch):
    model = perfect(monkeypatch)
    x = torch.randn(5, 2)
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-2)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_a_solver_of_twice_the_steps_errs_less_by_its_order(monkeypatch, solver, order):
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    exact = LATENTS.mean + LATENTS.std * (Gaussian.mean + Gaussian.std * z)
    errors = [(perfect(monkeypatch, solver=solver, steps=n).decode(z) - exact).abs().max() for n in (20, 40)]
    assert 0.75 * 2**order < errors[0] / errors[1] < 1.5 * 2**order


def test_it_learns_two_clusters(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 2)).astype(np.float32) * 0.2 + rng.choice([-3.0, 3.0], (512, 1)).astype(np.float32)
    spec = DataSpec(dataset="toy", kind="encoding", shape=(2,), mean=float(x.mean()), std=float(x.std()))
    changes = {"epochs": 60, "batch_size": 64, "learning_rate": 5e-3, "hidden": 32, "blocks": 2, "ema": 0.98}
    model = families.build(families.config(block("flow", **changes), "flow"), spec)
    batches = ArrayBatches({"x": x}, Share(64, 0))
    drawn = train(model, batches, Devices("fp32", 1), name="flow", seed=0, folder=tmp_path).sample(400, seed=1)
    near = (drawn.abs() - 3).abs().amax(1) < 1
    assert near.float().mean() > 0.9
    assert 0.3 < (drawn[near][:, 0] > 0).float().mean() < 0.7


MAP = DataSpec(dataset="toy", kind="encoding", shape=(48,), mean=1.0, std=2.0)


@pytest.mark.parametrize("channels", [[8], [8, 16]])
def test_latents_that_keep_their_place_are_carried_as_a_map(channels):
    model = shaken(families.build(families.config(block("flow", places=[4, 4], channels=channels, steps=30), "flow"), MAP), 0.1)
    noise = torch.randn(5, 48, generator=torch.Generator().manual_seed(1))
    drawn = model.decode(noise)
    assert drawn.shape == (5, 48)
    assert drawn.amin() < 0  # latents are no pixels
    torch.testing.assert_close(model.encode(drawn), noise, atol=0.02, rtol=0)
    assert torch.equal(model.velocity(noise, torch.ones(1)), model.network(noise.view(5, 3, 4, 4), torch.ones(1)).flatten(1))
    assert model.log_likelihood(drawn).shape == (5,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"channels": [8]}, "channels: expected none where latents have no places"),
        ({"places": [4, 4]}, "channels: missing"),
        ({"places": [4], "channels": [8]}, r"places: expected two numbers, .* that share out 48 latents; got \[4\]"),
        ({"places": [5, 4], "channels": [8]}, r"share out 48 latents; got \[5, 4\]"),
        ({"places": [4, 4], "channels": [8, 8, 8, 8]}, "need sides divisible by 8; got 4x4"),
    ],
)
def test_places_that_latents_do_not_have_are_refused(changes, told):
    with pytest.raises(UserError, match=told):
        families.build(families.config(block("flow", **changes), "flow"), MAP)


def test_an_image_s_places_are_its_own():
    with pytest.raises(UserError, match="places: expected none, as an image has its own"):
        pictured(places=[8, 8])


@pytest.mark.parametrize(("spatial", "places"), [(True, [4, 4]), (True, []), (False, [])])
def test_a_map_that_the_latents_are_is_taken(spatial, places):
    flows.check_places(of_two_stages(build("autoencoder", spatial=spatial, latent_dim=48), places))


@pytest.mark.parametrize(
    ("decoder", "told"),
    [({"spatial": True}, r"places: the latents have \[4, 4\], got \[2, 8\]"), ({}, r"the latents have none, got \[2, 8\]")],
)
def test_a_map_that_the_latents_are_not_is_refused(decoder, told):
    with pytest.raises(UserError, match=told):
        flows.check_places(of_two_stages(build("autoencoder", latent_dim=48, **decoder), [2, 8]))


def test_latents_of_a_linear_model_have_no_places():
    flows.check_places(of_two_stages(build("ppca"), []))
    with pytest.raises(UserError, match="the latents have none"):
        flows.check_places(of_two_stages(build("ppca"), [2, 8]))


def of_two_stages(images, places):
    network = {"places": places, "channels": [8]} if places else {}
    return TwoStages(families.build(families.config(block("flow", **network), "flow"), MAP), images)


def test_a_table_is_refused():
    with pytest.raises(UserError, match="toy is of kind diabetes, and a flow learns on images or on latents"):
        families.build(families.config(block("flow"), "flow"), DataSpec(dataset="toy", kind="diabetes", shape=(4,)))


# -- images

PICTURES = DataSpec(dataset="toy", kind="toy", shape=(1, 8, 8), labels=("dark", "bright"), mean=0.5, std=0.3)
SMALL = {"channels": [8, 16], "blocks": 1, "patch": 2, "hidden": 1}


def pictured(spec=PICTURES, **changes):
    return families.build(families.config(block("flow", **{**SMALL, **changes}), "flow"), spec)


def shaken(model, scale=0.3):
    """The model with other weights than those at which it begins, where it answers 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return model.eval()


def dark_and_bright(n=256):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    levels = np.where(labels, 220, 30)[:, None, None, None] + rng.integers(-20, 20, (n, 8, 8, 1))
    return {"x": levels.astype(np.uint8), "labels": labels}


def trained(folder, names, **changes):
    model = pictured(**{"epochs": 40, "batch_size": 32, "learning_rate": 4e-3, "ema": 0.98, "steps": 8, **changes})
    content = {name: array for name, array in dark_and_bright().items() if name in names}
    return train(model, ArrayBatches(content, Share(32, 0)), Devices("fp32", 1), name="flow", seed=0, folder=folder)


def test_it_begins_at_no_velocity_so_that_samples_are_noise():
    model = pictured().eval()
    z = torch.randn(3, 64)
    assert torch.equal(model.carried(z, 0.0, 1.0), z.reshape(3, 1, 8, 8))
    assert model.sample(3).shape == (3, 1, 8, 8)


def test_images_of_noise_of_images_are_these():
    model = shaken(pictured(steps=200), 0.1)
    x = 0.2 + 0.6 * torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = model.encode(x)
    assert noise.shape == (4, 64)
    assert torch.allclose(model.decode(noise), x, atol=1e-3)


def test_the_estimated_log_likelihood_is_the_exact_one_on_average(monkeypatch):
    model = shaken(pictured(steps=4))
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    exact = model.log_likelihood(x)
    monkeypatch.setattr(flow, "EXACT", 0)
    each = model.log_likelihood(x.repeat(300, 1, 1, 1)).view(300, 2)  # each with signs of its own
    assert (each.std(0) > 0).all()
    assert ((each.mean(0) - exact).abs() < 4 * each.std(0) / 300**0.5).all()


def test_it_learns_images(tmp_path):
    drawn = trained(tmp_path, ["x"]).sample(200, seed=1).flatten(1).mean(1)
    assert (((drawn - 30 / 255).abs() < 0.15) | ((drawn - 220 / 255).abs() < 0.15)).float().mean() > 0.9
    assert 0.3 < (drawn > 0.5).float().mean() < 0.7


def test_what_is_asked_for_is_drawn_and_more_surely_so_with_more_guidance(tmp_path):
    # To the end of a schedule: while the rate stays high, how many unguided draws are bright is a matter of the seed.
    model = trained(tmp_path, ["x", "labels"], conditional=True, epochs=80, schedule="one_cycle")
    for name, bright in (("Bright", 1.0), (" dark ", 0.0)):
        drawn = model.sample(100, seed=1, asked=model.asked([name]), guidance=1.5).flatten(1).mean(1)
        assert ((drawn > 0.5).float() == bright).float().mean() > 0.95
    free = model.sample(100, seed=1, asked=model.asked(["bright"]), guidance=0.0)
    assert torch.equal(free, model.decode(normal(100, model.dim, 1, model.device)))
    assert 0.2 < (free.flatten(1).mean(1) > 0.5).float().mean() < 0.8
    with pytest.raises(UserError, match="with: dark and bright exclude each other: no training image has both"):
        model.asked(["dark", "bright"])


def test_guidance_goes_from_the_free_velocity_through_the_told_one(monkeypatch):
    model = shaken(pictured(conditional=True, solver="euler"))
    x, asked = torch.randn(2, 1, 8, 8), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    free, told = (model.velocity(x, torch.zeros(1), each) for each in (torch.zeros_like(asked), asked))
    for guidance in (0.0, 1.0, 3.0):
        moved = model.carried(x, 0.0, 1.0, steps=1, asked=asked, guidance=guidance) - x
        assert torch.allclose(moved, free + guidance * (told - free), atol=1e-5)


def test_a_share_of_an_example_s_attributes_is_told_and_of_some_examples_nothing():
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (4000, 100))
    known = asking.known(labels, asking.present(labels, 100))
    assert known.abs().min() == 1
    left = asking.forgotten(known, 0.1)
    assert ((left == 0) | (left == known)).all()
    kept = [(left * (known == sign)).abs().sum(1) / (known == sign).sum(1) for sign in (1, -1)]  # of what it has, and has not
    assert kept[0].mean() == pytest.approx(0.9 / 2, abs=0.02)
    assert (kept[0] > 0.9).float().mean() == pytest.approx(0.9 * 0.1, abs=0.03)  # any share is as frequent as any other
    assert kept[1].mean() == pytest.approx(0.9 / 4, abs=0.02)
    alone = (kept[0] > 0) & (kept[1] == 0)  # as a person asks
    assert alone.float().mean() > 0.4
    classes = asking.known(torch.arange(3), asking.present(torch.arange(3), 3)).repeat(1000, 1)
    told = asking.forgotten(classes, 0.1)
    assert set(told.sum(1).tolist()) == {0.0, 1.0}
    assert told.sum(1).mean() == pytest.approx(0.9, abs=0.02)


def test_attributes_that_meet_and_those_that_hardly_could_are_asked_for_together():
    model = pictured(conditional=True, spec=PICTURES.model_copy(update={"labels": ("female", "top hat", "rare", "male")}))
    labels = torch.zeros(4000, 4)
    labels[:2000, 0], labels[2000:, 3], labels[::5, 1], labels[1, 2] = 1, 1, 1, 1
    model.train().loss({"x": torch.rand(4000, 1, 8, 8), "labels": labels}, "network")
    assert model.asked(["FEMALE", "top_hat"]).tolist() == model.asked([" female", "topHat"]).tolist() == [[1, 1, 0, 0]]
    assert model.asked(["rare", "top hat"]).sum() == 2  # one example in 4,000 of a thing: chance keeps it from meeting another
    with pytest.raises(UserError, match="female and male exclude each other"):
        model.asked(["male", "female"])
    with pytest.raises(UserError, match=r"with: unknown label 'top hut' \(did you mean top hat\?\)"):
        model.asked(["top hut"])


def test_where_nothing_is_asked_labels_are_drawn_as_often_as_they_were_seen(tmp_path):
    model = trained(tmp_path, ["x", "labels"], conditional=True, guidance=1.5)
    model.together = torch.tensor([[900, 0, 900], [0, 100, 100], [900, 100, 1000]]).double()
    bright = model.sample(400, seed=1).flatten(1).mean(1) > 0.5
    names = model.labels
    expected = 0.9 if names[0] == "bright" else 0.1
    assert bright.float().mean() == pytest.approx(expected, abs=0.06)
    with pytest.raises(UserError, match="guidance: expected none where no labels are learned"):
        pictured(guidance=2.0)


def test_a_flow_without_labels_cannot_be_asked():
    with pytest.raises(UserError, match="learned no labels of toy"):
        pictured().asked(["bright"])
    with pytest.raises(UserError, match="conditional: toy has no labels"):
        pictured(conditional=True, spec=PICTURES.model_copy(update={"labels": ()}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": []}, "channels: missing; expected those of each size"),
        ({"channels": [8, 8, 8]}, "3 sizes of patches of 2 pixels need sides divisible by 8"),
        ({"patch": 3}, "need sides divisible by 6; got 8x8"),
        ({"steps": 0}, "steps: expected greater than or equal to 1, got 0"),
    ],
)
def test_wrong_sizes_are_told(changes, message):
    if message.startswith("3 sizes"):
        changes = {**changes, "spec": PICTURES.model_copy(update={"shape": (1, 12, 12)})}
    with pytest.raises(UserError, match=message):
        pictured(**changes)


def test_attention_is_softmax_attention():
    torch.manual_seed(0)
    layer = velocity.Attention(64)
    nn.init.normal_(layer.exit.weight)
    x = torch.randn(2, 64, 3, 5)
    query, key, value = (part.view(2, 2, 32, 15).transpose(2, 3) for part in layer.entry(layer.norm(x)).chunk(3, 1))
    seen = F.scaled_dot_product_attention(query, key, value).transpose(2, 3).reshape(2, 64, 3, 5)
    assert torch.allclose(layer(x), x + layer.exit(seen), atol=1e-5)


# -- its evaluation


def prepared(folder, encoding, places):
    rows = dark_and_bright(60)
    x, labels = rows["x"].repeat(2, 1).repeat(2, 2), rows["labels"]
    split = {"train": x[:36], "test": x[36:], "train_labels": labels[:36], "test_labels": labels[36:]}
    description = {"shape": [1, 16, 16], "labels": ["dark", "bright"], "kind": "toy", "loader": "arrays"}
    if encoding:
        latents = np.random.default_rng(1).normal(size=(60, 16 if places else 4)).astype(np.float32)
        split = {f"{name}_images" if name in ("train", "test") else name: array for name, array in split.items()}
        split |= {"train": latents[:36], "test": latents[36:]}
        description |= {"shape": [latents.shape[1]], "kind": "encoding"}
    arrays.write(folder, split, description)
    return folder


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("encoding", "places"), [(False, []), (True, []), (True, [4, 4])])
def test_all_figures_have_errors_and_are_described_and_the_same_twice(encoding, places, conditional, tmp_path):
    data = prepared(tmp_path / "data", encoding, places)
    spec = DataSpec.of("toy", arrays.statistics(data))
    pixels = DataSpec.of("toy", {**arrays.statistics(data), "shape": [1, 16, 16], "kind": "toy"})
    small = {"steps": 2, "conditional": conditional} | (
        {"channels": [8], "places": places} if places else {} if encoding else SMALL
    )
    model = shaken(families.build(families.config(block("flow", **small), "flow"), spec))
    if encoding:
        images = block("autoencoder", latent_dim=16 if places else 4, spatial=bool(places))
        decoder = families.build(families.config(images, "ae"), pixels).eval()
        model = TwoStages(model, decoder).eval()
    reader = families.build(families.config(block("classifier", target="class"), "c"), pixels).eval()
    found = []
    for name in "ab":
        given = Subject(model, reader, 0, data=data, history=tmp_path / "none", folder=tmp_path / name)
        (tmp_path / name).mkdir()
        found.append(flows.evaluate(given))
    assert found[0] == found[1]
    for name, entry in found[0].items():
        assert all(MEASURES[name].against(which) for which in set(entry) - {"value", "error"})
        assert all(math.isfinite(value) for value in entry.values())
    pictures = {path.stem for path in (tmp_path / "a").glob("*.png")}
    assert {"paths", "velocity_errors", "samples"} <= pictures <= set(CAPTIONS)
    assert {"velocity_error", "frechet_distance"} <= set(found[0])
    assert ("read_as_asked" in found[0]) == ({"asked", "guidance", "guidance_curve"} <= pictures) == conditional
    assert ("bits_per_dimension" in found[0]) != encoding
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_independent_normal_dimensions_leave_the_error_that_stands_beside(monkeypatch, tmp_path):
    """The best velocity of such data reaches the baseline, and no more."""
    model = perfect(monkeypatch)
    x = (
        Gaussian.mean + Gaussian.std * torch.randn(4000, 2, generator=torch.Generator().manual_seed(1))
    ) * LATENTS.std + LATENTS.mean
    monkeypatch.setattr(model, "velocity", lambda x, t, asked=None: Gaussian().velocity(x, t))
    given = Subject(model, None, 0, data=tmp_path, history=tmp_path, folder=tmp_path)
    entry = flows.velocity_errors(model, x[:2000], x[2000:], given)["velocity_error"]
    assert entry["value"] == pytest.approx(entry["baseline"], rel=0.05)


def test_the_bits_of_an_image_are_those_of_its_density_with_noise_in_each_level():
    model = pictured(steps=1).eval()
    assert float(flows._bits(model, torch.zeros(3, 1, 8, 8, dtype=torch.uint8), 0)["value"]) == pytest.approx(
        8 - float((-0.5 * ((torch.rand(3, 1, 8, 8, generator=generator(0, "dequantised")) / 256 - 0.5) / 0.3).square().double()
                   - 0.5 * math.log(2 * math.pi) - math.log(0.3)).mean()) / math.log(2), abs=1e-4)  # fmt: skip


def test_a_compiled_unet_in_bf16_learns_as_it_does_uncompiled(tmp_path):
    program = """
import torch
from regen.networks.velocity import UNet
from regen.training.distributed import Devices

devices = Devices("bf16", 2)
x, t = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.linspace(0, 1, 4)
gradients = []
for compiled in (False, True):
    torch.manual_seed(0)
    network = UNet((3, 16, 16), [8, 16], 1, 1, 0)
    for parameter in network.parameters():  # else the last layers of all branches are 0, and so are most gradients
        torch.nn.init.normal_(parameter, 0, 0.1)
    if compiled:
        network.compile(dynamic=False)
    with devices.autocast():
        loss = network(x, t).float().square().mean()
    loss.backward()
    gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
assert torch.isfinite(gradients[1]).all()
assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 0.05
"""
    done = compiling(program, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
