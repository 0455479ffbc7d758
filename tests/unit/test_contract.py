"""What every family of the registry promises, whatever else it does."""

from __future__ import annotations

import json

import pytest
import torch

from regen import families
from regen.data.loaders.arrays import as_images
from regen.errors import UserError
from regen.estimators.base import Estimator
from regen.models.base import DataSpec, GenerativeModel, TrainedModel
from tests.conftest import BLOCKS, IMAGES, OTHERS, block, build

FAMILIES = families.families()
x = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def with_capability(name):
    """Families of images that can do something."""
    return [family for family in BLOCKS if hasattr(families.family(family).Model, name)]


def test_every_family_has_a_smallest_block_for_these_tests():
    assert sorted([*BLOCKS, *OTHERS]) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_trained_by_a_loss_or_fitted(family):
    model = families.family(family).Model
    assert issubclass(model, GenerativeModel)
    assert issubclass(model, TrainedModel) != issubclass(model, Estimator)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_and_its_config_say_what_they_are(family):
    module = families.family(family)
    for documented in (module, module.Config, module.Model):
        assert (documented.__doc__ or "").strip()


@pytest.mark.parametrize("family", BLOCKS)
def test_its_initial_weights_follow_from_the_seed(family):
    config = families.config(block(family), family)
    states = [families.build(config, IMAGES, seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("family", with_capability("loss"))
def test_each_network_s_loss_is_one_finite_number_and_moves_all_its_parameters(family, toy):
    model = build(family)
    assert isinstance(model, TrainedModel)
    batch = {"x": as_images(toy["x"]), "labels": torch.as_tensor(toy["labels"])}
    for network, parameters in model.networks().items():
        loss, figures = model.loss(batch, network)
        assert loss.shape == ()
        assert bool(loss.isfinite())
        assert figures
        assert all(not figure.requires_grad for figure in figures.values())
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_saved_and_loaded_without_its_data(family, tmp_path):
    model = build(family).eval()
    families.save(model, tmp_path, "abc")
    loaded = families.load(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_model_is_the_same_bytes_on_disk(family, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        families.save(build(family), tmp_path / name)
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("damage", ["family", "data", "json"])
def test_an_altered_description_is_one_clear_line(family, damage, tmp_path):
    families.save(build(family), tmp_path)
    path = tmp_path / "model.json"
    description = json.loads(path.read_text())
    if damage == "family":
        description["config"]["family"] = "gnn"
    else:
        del description["data"]
    path.write_text("{" if damage == "json" else json.dumps(description))
    with pytest.raises(UserError) as error:
        families.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", with_capability("sample"))
def test_samples_follow_from_the_seed_and_lie_in_the_unit_range(family):
    model = build(family).eval()
    samples = model.sample(6, seed=1)
    assert samples.shape == (6, 3, 16, 16)
    assert bool((samples >= 0).all() and (samples <= 1).all())
    assert torch.equal(samples, model.sample(6, seed=1))
    assert not torch.equal(samples, model.sample(6, seed=2))
    many = model.sample(400, seed=1)  # more than one chunk
    torch.testing.assert_close(many[:8], model.sample(8, seed=1))
    assert len(torch.unique(many.flatten(1), dim=0)) == 400


@pytest.mark.parametrize("family", with_capability("encode"))
def test_latents_do_not_depend_on_the_other_images_of_a_batch(family):
    model = build(family).eval()
    z = model.encode(x)
    assert z.shape == (7, model.config.latent_dim)
    torch.testing.assert_close(torch.cat([model.encode(image[None]) for image in x]), z)


@pytest.mark.parametrize("family", sorted({*with_capability("reconstruct")} & {*with_capability("encode")}))
def test_a_reconstruction_is_what_decoding_the_latents_gives(family):
    model = build(family).eval()
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x)))


@pytest.mark.parametrize("family", with_capability("features"))
def test_features_and_readings_have_one_row_an_image(family):
    model = build(family).eval()
    assert model.features(x).shape == (7, model.config.features)
    assert model.logits(x).shape == (7, 3)


@pytest.mark.parametrize("channels", [[4] * 6, []])
@pytest.mark.parametrize("family", ["autoencoder", "vae", "vade", "fsq", "gan"])
def test_impossible_channels_are_a_person_s_mistake(family, channels):
    with pytest.raises(UserError, match="channels"):
        build(family, channels=channels)


@pytest.mark.parametrize("family", families.families())
def test_altered_weights_are_refused(family, tmp_path):
    families.save(build(family), tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # one bit of the last weight: the file itself is sound
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged model"):
        families.load(tmp_path)


@pytest.mark.parametrize("family", ["autoencoder", "gan", "classifier", "seq2seq", "vade", "vae", "fsq"])
def test_data_of_another_shape_are_one_clear_line(family):
    spec = DataSpec(dataset="table", kind="diabetes", shape=(10,), labels=("a", "b"))
    with pytest.raises(UserError, match=r"dataset: table has no (images|queries), which this family needs"):
        families.build(families.config(block(family), "toy"), spec)
