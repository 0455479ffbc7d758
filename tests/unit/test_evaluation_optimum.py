"""Evaluation of letters, components, mixtures, regression and random graphs, against other programs and by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, r2_score

from regen import families
from regen.catalogue.registry import CAPTIONS, MEASURES
from regen.data import arrays
from regen.data.loaders.arrays import as_images
from regen.data.sets import classrooms, letters
from regen.evaluation import regression
from regen.evaluation.clusters import macro_f1
from regen.evaluation.components import components
from regen.evaluation.graphs import graphs
from regen.evaluation.images import planes
from regen.evaluation.letters import covered, equal_frequencies, equalities, tiles
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.metrics.values import confusion
from regen.models.base import DataSpec
from tests.conftest import block


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Metrics and figures of one small model of each family, by the same path as the pipeline's."""
    root = tmp_path_factory.mktemp("evaluated")
    draw = np.random.default_rng(0)
    faces = (draw.uniform(0, 255, (60, 8)) @ draw.dirichlet(np.ones(8), 144).T).reshape(60, 12, 12, 1).astype(np.uint8)
    labels = np.arange(60) % 3
    x = draw.normal(size=(60, 4))
    y = x @ [3.0, -2.0, 0.0, 1.0] + 5 + draw.normal(size=60)
    z = draw.normal(size=(300, 2)) * 0.3 + np.array([[2, 0], [-2, 0], [0, 3]])[np.arange(300) % 3]
    alphabet = letters.parse(letters.GLYPHS)
    people = draw.uniform(-1, 1, (40, 8, 3))
    friends = classrooms.edges(people, 3.0, -3.0, draw)
    data = {
        "prefix_tables": (
            {"train": alphabet, "train_labels": np.arange(26), "test": alphabet, "test_labels": np.arange(26)},
            {"shape": [1, 5, 5], "labels": [*"abcdefghijklmnopqrstuvwxyz"]},
        ),
        "ppca": (
            {"train": faces[:45], "test": faces[45:], "train_labels": labels[:45], "test_labels": labels[45:]},
            {"shape": [1, 12, 12], "labels": ["a", "b", "c"]},
        ),
        "linear_regression": (
            {"train": x[:45], "train_targets": y[:45], "test": x[45:], "test_targets": y[45:]},
            {"shape": [4], "features": ["p", "q", "r", "s"]},
        ),
        "gaussian_mixture": (
            {"train": z[:240], "test": z[240:], "train_labels": np.arange(240) % 3, "test_labels": np.arange(60) % 3},
            {"shape": [2], "labels": ["one", "four", "eight"]},
        ),
        "random_graph": (
            {"train": people[:30], "train_edges": friends[:30], "test": people[30:], "test_edges": friends[30:]},
            {"shape": [8, 3], "truth": {"a": 3.0, "b": -3.0}},
        ),
    }
    changes = {"ppca": {"latent_dim": 4, "sizes": [2, 3]}, "gaussian_mixture": {"components": 3}}
    found = {}
    for family, (split, description) in data.items():
        folder = root / family
        arrays.write(folder / "data", split, {**description, "kind": family})
        spec = DataSpec.of("toy", arrays.statistics(folder / "data"))
        model = families.build(families.config(block(family, **changes.get(family, {})), family), spec)
        model.fit(arrays.load(folder / "data", "train"), seed=0)
        subject = Subject(model.eval(), None, 0, data=folder / "data", history=folder / "none", folder=folder / "figures")
        found[family] = (evaluate(subject), folder / "figures", model, split)
    return found


FAMILIES = ("prefix_tables", "ppca", "linear_regression", "gaussian_mixture", "random_graph")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_figure_is_described_and_every_picture_has_a_caption(evaluated, family):
    measures, folder, *_ = evaluated[family]
    assert set(measures) <= set(MEASURES)
    assert all(math.isfinite(value) for entry in measures.values() for value in entry.values())
    for name, entry in measures.items():
        assert "error" in entry
        against = set(entry) - {"value", "error"}
        assert len(against) <= 1
        assert all(MEASURES[name].against(which) for which in against), name
    pictures = {path.stem for path in folder.glob("*.png")}
    assert pictures
    assert pictures <= set(CAPTIONS)


def test_tables_reach_the_entropy_and_write_letters_only(evaluated):
    measures, *_ = evaluated["prefix_tables"]
    assert measures["nats_per_pixel"]["value"] == pytest.approx(math.log(26) / 25, abs=1e-9)
    assert measures["letters"]["value"] == 1
    assert measures["letters_covered"]["value"] == 26
    assert measures["bytes_held"]["value"] < 1e4 < measures["bytes_held"]["baseline"] == 8 * (2**26 - 2)


def test_samples_are_told_to_be_letters_image_by_image():
    alphabet = as_images(letters.parse(letters.GLYPHS))
    drawn = torch.cat([alphabet[[3, 3, 7]], 1 - alphabet[:2]])
    by_hand = [sum(bool(torch.equal(a, b)) for a in drawn) for b in alphabet]
    equal = equalities(drawn, alphabet)
    assert equal.sum(0).tolist() == by_hand
    assert int(covered(equal)) == 2


def test_tiles_are_cut_from_a_picture_row_by_row(tmp_path):
    alphabet = as_images(letters.parse(letters.GLYPHS))[:6]
    rows = [torch.cat(list(row), 2) for row in torch.split(alphabet, 3)]
    Image.fromarray((torch.cat(rows, 1)[0] * 255).byte().numpy()).save(tmp_path / "a.png")
    assert torch.equal(tiles(tmp_path / "a.png", 5, 5), alphabet)


def test_equal_frequencies_are_the_chi_square_test_s():
    counts = torch.tensor([90, 110, 95, 105])
    statistic = ((counts.numpy() - 100) ** 2 / 100).sum()
    assert equal_frequencies(counts) == pytest.approx(scipy.stats.chi2.sf(statistic, 3))
    assert equal_frequencies(torch.zeros(4, dtype=torch.long)) == 0


def test_scores_are_uncorrelated_in_order_and_as_likely_as_scikit_learn_says(evaluated):
    measures, *_ = evaluated["ppca"]
    assert measures["off_diagonal"]["value"] < 1e-12
    assert measures["order_violations"]["value"] == 0
    assert measures["scikit_learn_difference"]["value"] < 1e-6


def test_reconstruction_errors_and_likelihoods_over_sizes_stand_in_the_table(evaluated):
    measures, folder, model, split = evaluated["ppca"]
    with (folder / "sizes.csv").open() as file:
        rows = {row["dimensions"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["2", "3", "4"]
    test = as_images(np.array(split["test"]))
    error = np.square(model.reconstruct(test).numpy() - test.numpy()).mean()
    assert float(rows["4"]["test_mse"]) == pytest.approx(error, rel=1e-4)
    assert measures["mse"]["value"] == pytest.approx(error, rel=1e-4)
    assert measures["mse"]["baseline"] <= measures["mse"]["value"] * (1 + 1e-6)  # no linear map of that size is better


def test_the_half_that_is_completed_was_never_seen(evaluated):
    _, _, model, split = evaluated["ppca"]
    test = as_images(np.array(split["test"]))[:4]
    hidden = torch.zeros(12, 12, dtype=torch.bool)
    hidden[:, 6:] = True
    other = torch.where(hidden, torch.rand(4, 1, 12, 12), test)
    guesses = [model.complete(x.masked_fill(hidden, math.nan)) for x in (test, other)]
    torch.testing.assert_close(*guesses)


def test_a_mosaic_holds_the_images_row_by_row():
    images = torch.arange(4).float().div(10).view(4, 1, 1, 1).expand(4, 1, 60, 60)
    picture = components.mosaics({"shown": images})
    levels = picture[picture.shape[0] // 2 - 20 :, :, 0]
    assert {round(value * 255 / 10) for value in range(4)} <= set(np.unique(levels).tolist()) | set(np.unique(picture).tolist())


def test_f1_and_confusion_are_scikit_learn_s():
    draw = np.random.default_rng(1)
    true, found = draw.integers(0, 3, 200), draw.integers(0, 3, 200)
    table = confusion(torch.from_numpy(found), torch.from_numpy(true), 3)
    assert np.array_equal(table.numpy(), confusion_matrix(true, found))
    assert macro_f1(table) == pytest.approx(f1_score(true, found, average="macro"))


def test_separate_clusters_are_named_and_counted_right(evaluated):
    measures, folder, *_ = evaluated["gaussian_mixture"]
    assert measures["cluster_macro_f1"]["value"] == 1
    assert measures["components_by_bic"]["value"] == 3
    assert measures["scikit_learn_difference"]["value"] < 1e-6
    with (folder / "bic.csv").open() as file:
        assert [row["components"] for row in csv.DictReader(file)] == [str(K) for K in range(1, 9)]


def test_a_regression_explains_what_scikit_learn_says_that_it_does(evaluated):
    measures, _, model, split = evaluated["linear_regression"]
    predicted = {name: model.predict(torch.from_numpy(split[name])).numpy() for name in ("train", "test")}
    r2 = r2_score(split["train_targets"], predicted["train"])
    assert measures["variance_explained_train"]["value"] == pytest.approx(r2)
    total = np.square(split["test_targets"] - split["train_targets"].mean()).sum()  # scikit-learn centres by the test mean
    residual = np.square(split["test_targets"] - predicted["test"]).sum()
    assert measures["variance_explained"]["value"] == pytest.approx(1 - residual / total)
    assert measures["lstsq_difference"]["value"] < 1e-10


def test_weights_are_written_with_their_errors(evaluated):
    _, folder, model, _ = evaluated["linear_regression"]
    with (folder / "weights.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["feature"] for row in rows] == ["p", "q", "r", "s", "intercept"]
    assert float(rows[0]["t"]) == pytest.approx(float(model.weights[0] / model.weight_errors[0]), rel=1e-3)


def test_the_ascent_of_a_graph_model_never_falls_and_ends_at_newton_s_optimum(evaluated):
    measures, *_ = evaluated["random_graph"]
    assert measures["ascent_falls"]["value"] == 0
    assert measures["ascent_log_likelihood"]["value"] == pytest.approx(measures["ascent_log_likelihood"]["bound"], rel=1e-6)


def test_the_truth_s_likelihood_is_the_product_over_pairs(evaluated):
    _, _, _, split = evaluated["random_graph"]
    x, edges = split["test"][:2], split["test_edges"][:2]
    by_hand = []
    for features, adjacency in zip(x, edges, strict=True):
        p = 1 / (1 + np.exp(-(3 * features @ features.T - 3)))
        upper = np.triu_indices(8, 1)
        by_hand.append(np.log(np.where(adjacency[upper], p[upper], 1 - p[upper])).sum())
    got = graphs.log_likelihood(torch.from_numpy(x), torch.from_numpy(edges).double(), torch.tensor([3.0, -3.0]))
    assert got.numpy() == pytest.approx(by_hand)


def test_calibration_bins_hold_as_many_pairs_each_and_their_observed_share(evaluated):
    _, _, model, split = evaluated["random_graph"]
    x, edges = torch.from_numpy(split["train"]), torch.from_numpy(split["train_edges"]).double()
    table = graphs.calibration(x, edges, model.coefficients)
    assert len(table) == graphs.BINS
    pairs = len(x) * 28
    assert np.mean([row["observed"] for row in table]) == pytest.approx(float(edges.sum()) / 2 / pairs, rel=1e-6)
    assert np.mean([abs(row["z"]) for row in table]) < 2


def test_the_plane_s_quantiles_are_the_normal_s():
    grid = planes.quantiles(20, 0.05).view(20, 20, 2)
    expected = scipy.stats.norm.ppf(np.linspace(0.05, 0.95, 20))
    assert grid[0, :, 0].numpy() == pytest.approx(expected, abs=1e-5)
    assert grid[:, 0, 1].numpy() == pytest.approx(expected[::-1], abs=1e-5)


def test_residuals_beyond_least_squares_are_told(evaluated):
    _, _, model, split = evaluated["linear_regression"]
    x, y = torch.from_numpy(split["train"]), torch.from_numpy(split["train_targets"])
    assert regression.lstsq_difference(model, x, y + 1.0) == pytest.approx(
        1.0 / np.abs(np.append(model.weights.numpy(), float(model.intercept) + 1)).max()
    )


def test_metrics_are_plain_numbers(evaluated):
    for measures, *_ in evaluated.values():
        json.dumps(measures, allow_nan=False)
        assert isinstance(measures, dict)


def test_no_picture_is_empty(evaluated):
    for _, folder, *_ in evaluated.values():
        assert all(path.stat().st_size > 500 for path in Path(folder).glob("*.png"))
