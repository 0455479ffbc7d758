"""The table of measures names everything that evaluation returns and that metrics/ holds; published figures find their models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from regen import imports, params
from regen.catalogue import published, registry
from regen.errors import UserError
from regen.metrics import classification, distances, likelihood, neighbours, pixel_art, reconstruction
from regen.metrics.values import AGAINST

ROOT = Path(__file__).parents[2]
GIVEN = params.read(ROOT / "params.yaml")


class Bounds:
    def elbo(self, x, seed=0):
        return torch.zeros(len(x)), torch.zeros(len(x))

    def log_likelihood_bound(self, x, importance_samples, seed=0):
        return torch.zeros(len(x))


def returned():
    x = torch.rand(8, 3, 16, 16)
    pictures = torch.randint(0, 256, (8, 3, 24, 24), dtype=torch.uint8)
    z = torch.randn(8, 2)
    attributes = torch.rand(8, 4) > 0.5
    bounds = likelihood.likelihood_measures(Bounds(), x, x)
    return [
        distances.compare([z], z, z, places={place: [z] for place in ("prior", "fitted", "midpoints")}),
        bounds,
        likelihood.per_image(bounds, 10),
        neighbours.copying_measures(x, x, x),
        pixel_art.pixel_measures(pictures, pictures, pixel_art.Grid(pictures)),
        classification.class_measures(z, torch.zeros(8, dtype=torch.long)),
        classification.attribute_measures(attributes.float() - 0.5, attributes),
        reconstruction.over_images(reconstruction.per_image(x, x), reconstruction.per_image(x, x)),
        reconstruction.over_denoised(reconstruction.psnr_of(x, noisy=x, denoised=x, baseline=x)),
    ]


def test_every_measure_that_is_returned_is_described_with_what_it_is_held_against() -> None:
    for measured in returned():
        for name, entry in measured.items():
            assert "error" in entry, name
            which = [part for part in AGAINST if part in entry]
            assert len(which) <= 1, name
            assert all(registry.measure(name).against(part) for part in which), name


def test_every_measure_in_the_metrics_folder_is_in_the_table() -> None:
    paths = [path for key in GIVEN.models if (path := ROOT / "metrics" / f"{key}.json").exists()]
    files = [json.loads(path.read_text()) for path in paths]
    named = {name for file in files for name, value in file.items() if not isinstance(value, dict)}  # an older run's are dicts
    assert named <= set(registry.MEASURES)


@pytest.mark.parametrize("name", registry.MEASURES)
def test_every_measure_is_told_in_whole_sentences(name) -> None:
    measure = registry.measure(name)
    assert measure.meaning.endswith((".", "?"))
    assert measure.title
    assert measure.unit


def test_no_two_tasks_give_one_name_two_meanings() -> None:
    for named in ("MEASURES", "CAPTIONS"):
        assert len(getattr(registry, named)) == sum(len(getattr(task, named)) for task in registry.TASKS)


def test_titles_name_the_features_and_never_claim_inception() -> None:
    assert registry.title("frechet_distance", "punks_classifier") == "Frechet distance (punks_classifier features)"
    models = {"told": {"target": "rotation"}, "other": {"target": "class"}}
    titles = [registry.title_of("recall", {"classifier": key}, models) for key in models]
    assert titles == ["Recall (told rotation features)", "Recall (other features)"]
    assert not any("FID" in m.title or "KID" in m.title or "nception" in m.title for m in registry.MEASURES.values())


def test_an_unknown_measure_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean precision"):
        registry.measure("precison")


def test_nobody_s_jargon_is_in_the_catalogue() -> None:
    words = ("limit", "judge", "hangs on", "floor", "whim")
    told = [" ".join(map(str, vars(measure).values())) for measure in registry.MEASURES.values()]
    told += [" ".join(caption) for caption in registry.CAPTIONS.values()]
    assert [(word, text) for word in words for text in told if word in text.lower()] == []


@pytest.mark.parametrize("entry", published.PUBLISHED, ids=lambda entry: f"{entry.about} {entry.setting}")
def test_every_published_figure_is_of_a_model_of_params_yaml(entry) -> None:
    setting = entry.setting or None
    keys = [key for key in GIVEN.models if entry.figures.keys() <= published.beside(key, GIVEN, setting).keys()]
    keys = [key for key in keys if all(published.described(key, GIVEN).get(name) == value for name, value in entry.about.items())]
    assert keys, f"{entry.about}: no model of params.yaml is like this; a renamed family, data set or param needs it renamed here"
    assert set(entry.figures) <= set(registry.MEASURES)
    assert entry.source


def test_a_published_figure_follows_a_renamed_model_and_data_set() -> None:
    def renamed(blocks):
        return {f"my_{key}": block for key, block in blocks.items()}

    models = {f"my_{key}": block | {"dataset": f"my_{block['dataset']}"} for key, block in GIVEN.models.items()}
    encodings = {f"my_{key}": {"dataset": f"my_{block['dataset']}", "model": f"my_{block['model']}"}
                 for key, block in GIVEN.encodings.items()}  # fmt: skip
    other = GIVEN.model_copy(
        update={"datasets": renamed(GIVEN.datasets), "queries": renamed(GIVEN.queries), "encodings": encodings, "models": models}
    )
    for key in GIVEN.models:
        assert published.beside(f"my_{key}", other) == published.beside(key, GIVEN)


def test_a_published_figure_of_a_setting_stands_beside_it_whatever_else_a_cell_varies() -> None:
    found = published.beside("arithmetic_text_to_text", GIVEN, {"train_fraction": 0.9, "weight_decay": 0.1})
    assert found["character_accuracy"][0] == 0.5873
    assert published.beside("arithmetic_text_to_text", GIVEN, {"train_fraction": 0.95}) == {}
    assert published.beside("arithmetic_text_to_text", GIVEN, {}) == {}
    layers = {"encoder_layers": 1, "decoder_layers": 3, "epochs": 36}
    assert published.beside("arithmetic_image_to_text", GIVEN, layers)["character_accuracy"][0] == 0.4877


@pytest.mark.parametrize("package", ["evaluation", "metrics", "drawing", "studies"])
def test_what_measures_and_draws_does_not_know_what_figures_mean(package) -> None:
    for path in (ROOT / "src/regen" / package).rglob("*.py"):
        assert not [name for name in imports.closure([path]) if "/catalogue/" in name or "/report/" in name], path
