"""Models of images, evaluated whole: every capability's figures and pictures, the same each time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from regen.catalogue.registry import CAPTIONS, MEASURES
from regen.data import arrays
from regen.evaluation.images import draws, subject
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from tests.conftest import build

FAMILIES = {"autoencoder": {}, "vae": {}, "gan": {}, "vade": {"latent_dim": 2}}


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


def test_latents_of_the_prior_are_the_model_s_own(prepared, tmp_path) -> None:
    model = build("vade", latent_dim=2).eval()
    given = subject.Images(model, None, 0, data=prepared, history=tmp_path, folder=tmp_path)
    assert torch.equal(draws.Draws(given, 9).prior(5), model.sample_prior(9, seed=5))


def test_components_of_a_prior_are_named_by_a_few_labels_and_drawn(prepared, tmp_path) -> None:
    measures, pictures = evaluated("vade", prepared, tmp_path)
    assert 0 < measures["cluster_accuracy"]["value"] <= measures["cluster_accuracy"]["bound"] == 1
    assert measures["cluster_macro_f1"]["error"] >= 0
    assert {"ellipses", "responsibilities", "confusion"} <= pictures
