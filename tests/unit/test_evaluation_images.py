"""Models of images, evaluated whole: every capability's figures and pictures, the same each time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from regen.catalogue.registry import CAPTIONS, MEASURES
from regen.data import arrays
from regen.evaluation.images import draws, images, subject
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.models.base import GenerativeModel
from tests.conftest import build

FAMILIES = {"autoencoder": {}, "vae": {}, "gan": {}, "fsq": {}, "vade": {"latent_dim": 2}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Images of three classes: left, right or both halves bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = rng.integers(0, 60, (60, 16, 16, 3))
    x[labels != 1, :, :8] += 150
    x[labels != 0, :, 8:] += 150
    x = x.astype(np.uint8)
    folder = tmp_path_factory.mktemp("prepared") / "toy"
    split = {"train": x[:36], "test": x[36:], "train_labels": labels[:36], "test_labels": labels[36:]}
    arrays.write(folder, split, {"shape": [3, 16, 16], "labels": ["left", "right", "bright"], "kind": "toy", "loader": "arrays"})
    return folder


def evaluated(family: str, prepared: Path, folder: Path, classifier: bool = True) -> tuple[dict, set[str]]:
    model, reader = build(family, **FAMILIES[family]).eval(), build("classifier", target="attributes").eval()
    given = Subject(model, reader if classifier else None, 0, data=prepared, history=folder / "none", folder=folder)
    return evaluate(given), {path.stem for path in folder.glob("*.png")}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_figures_have_errors_and_are_described_and_the_same_twice(family, prepared, tmp_path) -> None:
    measures, pictures = evaluated(family, prepared, tmp_path / "a")
    assert measures == evaluated(family, prepared, tmp_path / "b")[0]
    assert pictures <= set(CAPTIONS)
    for name, entry in measures.items():
        against = set(entry) - {"value", "error"}
        assert "error" in entry
        assert len(against) <= 1
        assert all(MEASURES[name].against(which) for which in against)
        assert all(math.isfinite(value) for value in entry.values())
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_samples_of_a_vae_are_draws_of_its_prior_and_of_an_autoencoder_of_the_fitted_gaussian(prepared, tmp_path) -> None:
    for family, where in (("vae", "prior"), ("vade", "prior"), ("autoencoder", "fitted")):
        measures, _ = evaluated(family, prepared, tmp_path / family)
        assert measures["frechet_distance"] == measures[f"frechet_distance_{where}"]
        assert measures["precision"] == measures[f"completeness_{where}"]
        assert measures["frechet_distance"]["error"] > 0


def test_without_a_classifier_no_features_are_compared(prepared, tmp_path) -> None:
    measures, pictures = evaluated("vae", prepared, tmp_path, classifier=False)
    assert "frechet_distance" not in measures
    assert "continuity" in measures
    assert "neighbours_features" not in pictures


def sharded(prepared: Path, folder: Path) -> Path:
    """The same images in shards of 10."""
    folder.mkdir()
    for split in ("train", "test"):
        content = arrays.load(prepared, split)
        for number, start in enumerate(range(0, len(content["x"]), 10)):
            np.save(folder / f"{split}-{number:05d}.npy", content["x"][start : start + 10])
        np.save(folder / f"{split}_labels.npy", content["labels"])
    arrays.describe(folder, {"shape": [3, 16, 16], "labels": ["left", "right", "bright"], "kind": "toy", "loader": "arrays"})
    return folder


def test_shards_are_evaluated_as_one_array(prepared, tmp_path) -> None:
    whole, of_shards = (
        evaluated("vae", folder, tmp_path / folder.name)[0] for folder in (prepared, sharded(prepared, tmp_path / "s"))
    )
    assert whole == of_shards


def test_of_a_larger_split_a_fixed_number_of_images_is_drawn_with_their_labels(prepared, tmp_path, monkeypatch) -> None:
    folder = sharded(prepared, tmp_path / "sharded")
    whole = subject.Images(None, None, 0, data=prepared, history=tmp_path, folder=tmp_path)
    monkeypatch.setattr(subject, "TRAIN", 20)
    some, again, other = (subject.Images(None, None, seed, data=folder, history=tmp_path, folder=tmp_path) for seed in (0, 0, 1))
    assert some.train_x.shape == (20, 3, 16, 16)
    assert some.train_x.is_contiguous()  # flattened without a copy
    assert len(some.test_x) == 24
    pairs = {(image.numpy().tobytes(), int(label)) for image, label in zip(whole.train_x, whole.train["labels"], strict=True)}
    drawn = [(image.numpy().tobytes(), int(label)) for image, label in zip(some.train_x, some.train["labels"], strict=True)]
    assert set(drawn) <= pairs
    assert len(set(drawn)) == 20
    assert torch.equal(some.train_x, again.train_x)
    assert not torch.equal(some.train_x, other.train_x)


def test_the_report_says_among_how_many_training_images_neighbours_are_looked_for() -> None:
    assert f"of {subject.TRAIN:,} drawn" in CAPTIONS["neighbours_pixels"].text


def test_of_large_images_fewer_are_drawn(prepared, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(subject, "IMAGE", (16 * 16 * 3 + 8) // 2)
    monkeypatch.setattr(subject, "TRAIN", 40)
    assert len(subject.Images(None, None, 0, data=prepared, history=tmp_path, folder=tmp_path).train_x) == 20


def test_a_model_of_more_images_than_are_taken_is_evaluated(prepared, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(subject, "TRAIN", 25)
    monkeypatch.setattr(subject, "TEST", 15)
    measures, _ = evaluated("vade", sharded(prepared, tmp_path / "sharded"), tmp_path / "a")
    assert {"frechet_distance", "completeness_midpoints", "mse", "copies", "cluster_accuracy"} <= set(measures)


def test_reconstructions_are_measured_some_at_a_time_to_the_same_figures(prepared, tmp_path, monkeypatch) -> None:
    model = build("autoencoder", noise=0.3).eval()
    given = [subject.Images(model, None, 0, data=prepared, history=tmp_path, folder=tmp_path / name) for name in "ab"]
    for one in given:
        one.folder.mkdir()
    whole = images.reconstructed(given[0])
    monkeypatch.setattr(images, "PART", 10)
    parts = images.reconstructed(given[1])
    assert {"mse", "ssim", "denoised_psnr"} <= set(whole)
    assert parts == {name: pytest.approx(entry, rel=1e-6) for name, entry in whole.items()}


def test_latents_of_the_prior_are_the_model_s_own(prepared, tmp_path) -> None:
    model = build("vade", latent_dim=2).eval()
    given = subject.Images(model, None, 0, data=prepared, history=tmp_path, folder=tmp_path)
    assert torch.equal(draws.Draws(given, 9).prior(5), model.sample_prior(9, seed=5))


def test_components_of_a_prior_are_named_by_a_few_labels_and_drawn(prepared, tmp_path) -> None:
    measures, pictures = evaluated("vade", prepared, tmp_path)
    assert 0 < measures["cluster_accuracy"]["value"] <= measures["cluster_accuracy"]["bound"] == 1
    assert measures["cluster_macro_f1"]["error"] >= 0
    assert {"ellipses", "responsibilities", "confusion"} <= pictures


@pytest.mark.parametrize(("target", "measure"), [("class", "accuracy"), ("rotation", "rotation_accuracy")])
def test_a_classifier_is_told_by_what_it_reads_and_which_for_which(target, measure, prepared, tmp_path) -> None:
    model = build("classifier", target=target).eval()
    for folder in ("a", "b"):
        measures = evaluate(Subject(model, None, 0, data=prepared, history=tmp_path / "none", folder=tmp_path / folder))
        assert list(measures) == [measure]
    assert {path.stem for path in (tmp_path / "a").glob("*.png")} == {"confusion", "examples", "mistakes"}
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_model_that_only_samples_is_measured_against_real_images(prepared, tmp_path) -> None:
    gan, reader = build("gan").eval(), build("classifier", target="attributes").eval()

    class Sampler(GenerativeModel):
        def sample(self, n: int, seed: int = 0) -> torch.Tensor:
            return gan.sample(n, seed)

    model = Sampler(reader.config, gan.data)  # settings without latents
    measures = evaluate(Subject(model, reader, 0, data=prepared, history=tmp_path / "none", folder=tmp_path))
    assert {"frechet_distance", "recall", "near_copies"} <= measures.keys()
    assert {path.stem for path in tmp_path.glob("*.png")} >= {"samples", "samples_nearest", "neighbours_features"}
    assert not (tmp_path / "interpolation_linear.png").exists()
