"""The table of measures names everything that evaluation returns and that metrics/ holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from regen.catalogue import registry
from regen.errors import UserError
from regen.evaluation.images import latents
from regen.metrics import classification, distances, likelihood, neighbours, pixel_art, reconstruction

ROOT = Path(__file__).parents[2]


class Bounds:
    def elbo(self, x, seed=0):
        return torch.zeros(len(x)), torch.zeros(len(x))

    def log_likelihood_bound(self, x, importance_samples, seed=0):
        return torch.zeros(len(x))


def test_every_measure_that_evaluation_returns_is_in_the_table() -> None:
    x = torch.rand(8, 3, 16, 16)
    pictures = torch.randint(0, 256, (8, 3, 24, 24), dtype=torch.uint8)
    z = torch.randn(8, 2)
    attributes = torch.rand(8, 4) > 0.5
    returned = [
        distances.compare(z, z, z),
        latents.latent_measures(lambda z: z.view(-1, 1, 1, 2), lambda x: x.flatten(1), z, z, z, z),
        likelihood.likelihood_measures(Bounds(), x),
        neighbours.copying_measures(x, x, x),
        pixel_art.pixel_measures(pictures, pictures, pixel_art.Grid(pictures)),
        classification.class_measures(z, torch.zeros(8, dtype=torch.long)),
        classification.attribute_measures(attributes.float() - 0.5, attributes),
        reconstruction.reconstruction_measures(x, x),
        reconstruction.denoising_measures(x, x, x),
    ]
    assert {name for measured in returned for name in measured} <= set(registry.MEASURES)


def test_every_measure_in_the_metrics_folder_is_in_the_table() -> None:
    named = {name for path in ROOT.glob("metrics/*.json") for name in json.loads(path.read_text())}
    assert named <= set(registry.MEASURES)


@pytest.mark.parametrize("name", registry.MEASURES)
def test_every_measure_is_told_in_whole_sentences(name) -> None:
    measure = registry.measure(name)
    assert measure.meaning.endswith((".", "?"))
    assert all((measure.title, measure.unit, measure.limit))


def test_no_two_subjects_give_one_name_two_meanings() -> None:
    subjects = (registry.answers, registry.images, registry.letters, registry.optimum, registry.tiles)
    assert len(registry.MEASURES) == sum(len(subject.MEASURES) for subject in subjects)


def test_titles_name_the_features_and_never_claim_inception() -> None:
    assert registry.title("frechet_distance", "punks_classifier") == "Frechet distance (punks_classifier features)"
    assert not any("FID" in m.title or "KID" in m.title or "nception" in m.title for m in registry.MEASURES.values())


def test_an_unknown_measure_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean precision"):
        registry.measure("precison")
