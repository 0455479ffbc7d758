"""A model folder from somebody else: nothing in it is believed before it is checked."""

from __future__ import annotations

import hashlib
import json
import math
import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch

from regen import families
from regen.errors import UserError, reported
from tests.conftest import build


def write(folder: Path, tensors: dict[str, torch.Tensor], **changes: object) -> None:
    """Replace a folder's weights, with the SHA-256 that belongs to them, and parts of its description: `data__shape=...`."""
    content = safetensors.torch.save(tensors)
    (folder / "model.safetensors").write_bytes(content)
    path = folder / "model.json"
    description = json.loads(path.read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}
    for name, value in changes.items():
        part, key = name.split("__")
        description[part][key] = value
    path.write_text(json.dumps(description))


@pytest.fixture
def folder(tmp_path):
    families.save(build("vae"), tmp_path)
    return tmp_path


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((folder / "model.safetensors").read_bytes())


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        families.load(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("family", families.families())
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(family, value, tmp_path):
    families.save(build(family), tmp_path)
    found = tensors(tmp_path)
    numbers = [name for name, tensor in found.items() if tensor.is_floating_point()]
    if not numbers:
        assert family == "prefix_tables"  # counts
        return
    found[numbers[-1]].view(-1)[-1] = value
    write(tmp_path, found)
    assert f"{numbers[-1]} holds NaN or infinite numbers" in refused(tmp_path)


HUGE = [
    ("vae", {"config__latent_dim": 10**9}),
    ("vae", {"config__latent_dim": 10**18}),
    ("vae", {"config__hidden": 10**9}),
    ("vae", {"config__channels": [10**7, 10**7]}),
    ("vae", {"config__latent_dim": 10**6}),
    ("ppca", {"config__latent_dim": 10**7}),
    ("gaussian_mixture", {"data__shape": [10**5]}),
    ("vade", {"config__latent_dim": 10**6}),
    ("vae", {"data__shape": [3, 1 << 20, 1 << 20]}),
    ("vae", {"data__shape": [10**300]}),
    ("vae", {"data__shape": [3, -16, 16]}),
    ("vade", {"config__components": 10**12}),
    ("gan", {"config__channels": [10**7, 10**7]}),
    ("classifier", {"config__features": 10**10}),
    ("classifier", {"config__convolutions": 10**9}),
    ("pixel_lstm", {"config__layers": 10**9}),
    ("pixel_lstm", {"config__hidden": 10**7}),
    ("seq2seq", {"config__encoder_layers": 10**9}),
    ("seq2seq", {"config__embedding": 10**12}),
    ("ppca", {"config__latent_dim": 10**9}),
    ("gaussian_mixture", {"config__components": 10**12}),
    ("gaussian_mixture", {"data__shape": [10**8]}),
    ("linear_regression", {"data__shape": [10**12]}),
    ("random_graph", {"data__shape": [10**12, 10**12]}),
    ("flow", {"config__hidden": 10**7}),
    ("flow", {"config__blocks": 10**9}),
    ("prefix_tables", {"data__shape": [10**6, 10**6, 10**6]}),
]


@pytest.mark.parametrize(("family", "changes"), HUGE)
def test_a_description_of_a_huge_model_is_refused_before_memory_is_asked_for(family, changes, tmp_path):
    families.save(build(family), tmp_path)
    write(tmp_path, tensors(tmp_path), **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop("log_std"), "log_std is missing"),
        (lambda found: found.update(other=torch.ones(1)), "other is unknown"),
        (lambda found: found.update(log_std=torch.zeros((), dtype=torch.float64)), "log_std is F64 []"),
        (lambda found: found.update(log_std=torch.zeros(1)), "log_std is F32 [1]"),
    ],
)
def test_weights_that_do_not_fit_the_description_are_refused(folder, change, said):
    found = tensors(folder)
    change(found)
    write(folder, found)
    assert said in refused(folder)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "3",
        '"x"',
        "null",
        "",
        "[" * 100_000,
        '{"a":' * 100_000,
        "{}",
        '{"config": 1, "data": 2, "sha256": 3}',
        "1" * 5000,
        "\udcff",
    ],
)
def test_a_description_that_is_none_is_one_line(folder, text):
    (folder / "model.json").write_text(text, errors="surrogateescape")
    refused(folder)


def test_a_description_larger_than_any_is_not_read(folder):
    with (folder / "model.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "more than" in refused(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_what_is_no_file_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder)


def test_weights_of_a_sparse_file_that_no_memory_holds_are_not_read(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)
    refused(folder)


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("prefix_tables", "successors", torch.full((1, 2), 7, dtype=torch.int32)),
        ("prefix_tables", "successors", torch.full((2, 2), -1, dtype=torch.int32)),
        ("prefix_tables", "counts", torch.full((1, 2), -1, dtype=torch.int32)),
        ("gaussian_mixture", "weights", torch.tensor([-1.0, 2.0], dtype=torch.float64)),
        ("gaussian_mixture", "weights", torch.zeros(2, dtype=torch.float64)),
        ("gaussian_mixture", "covariances", -torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)),
        ("gaussian_mixture", "component_classes", torch.tensor([0, 9])),
        ("ppca", "spectrum", torch.ones(1, dtype=torch.float64)),
        ("ppca", "noise_variance", torch.tensor(-1.0, dtype=torch.float64)),
        ("ppca", "noise_dimensions", torch.tensor(-1)),
    ],
)
def test_numbers_that_are_of_no_such_model_are_refused(family, name, value, tmp_path):
    families.save(build(family), tmp_path)
    write(tmp_path, {**tensors(tmp_path), name: value})
    assert "damaged model" in refused(tmp_path)


def test_a_description_that_is_a_link_to_itself_is_one_line(tmp_path):
    families.save(build("vae"), tmp_path)
    (tmp_path / "model.json").unlink()
    (tmp_path / "model.json").symlink_to("model.json")
    with pytest.raises(SystemExit), reported():
        families.load(tmp_path)


# -- a model of latents with its decoder


@pytest.fixture
def pair(tmp_path):
    families.save(build("flow"), tmp_path)
    (tmp_path / families.DECODER).mkdir()
    return tmp_path


def test_a_decoder_that_is_none_is_refused(pair):
    families.save(build("classifier"), pair / families.DECODER)
    assert "a classifier, which is no decoder" in refused(pair)


def test_a_decoder_of_other_latents_is_refused(pair):
    families.save(build("vae", latent_dim=7), pair / families.DECODER)
    assert "which is no decoder of the latents" in refused(pair)


def test_a_decoder_that_is_the_folder_itself_ends(pair):
    (pair / families.DECODER).rmdir()
    (pair / families.DECODER).symlink_to(pair)
    refused(pair)
