"""Precision to coverage, nearest training images and copies, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from regen.errors import UserError
from regen.metrics.neighbours import Manifold, copying_measures, nearest


def points(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def radii(x: np.ndarray, k: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors(x)[0][:, k]


def within(centres: np.ndarray, radius: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(x, centres): does x lie in the ball around a centre?"""
    return np.linalg.norm(x[:, None] - centres[None], axis=2) <= radius[None]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """24 pictures of 6x6, enlarged to 16x16: equal pixels in uneven cells."""
    small = torch.randint(0, 256, (24, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    index = torch.arange(16) * 6 // 16
    return small[:, :, index][:, :, :, index]


def test_precision_and_recall_agree_with_brute_force() -> None:
    samples, real = points(80, 5, 1, shift=0.7), points(60, 5, 2)
    x, y = samples.numpy(), real.numpy()
    got = Manifold(real).measures(samples)
    assert got["precision"] == pytest.approx(within(y, radii(y, 3), x).any(1).mean())
    assert got["recall"] == pytest.approx(within(x, radii(x, 3), y).any(1).mean())
    assert 0 < got["recall"] != got["precision"] < 1


def test_density_and_coverage_agree_with_brute_force() -> None:
    samples, real = points(80, 5, 3, shift=0.7), points(60, 5, 4)
    inside = within(real.numpy(), radii(real.numpy(), 5), samples.numpy())
    got = Manifold(real).measures(samples)
    assert got["density"] == pytest.approx(inside.sum() / (5 * 80))
    assert got["coverage"] == pytest.approx(inside.any(0).mean())


def test_a_set_against_itself_scores_one() -> None:
    x = points(50, 5, 5)
    assert Manifold(x).measures(x) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}


def test_sets_far_apart_score_zero() -> None:
    assert set(Manifold(points(50, 5, 7, shift=100)).measures(points(50, 5, 6)).values()) == {0.0}


def test_a_model_that_repeats_one_real_image_is_precise_without_recall() -> None:
    real = points(50, 5, 8)
    got = Manifold(real).measures(real[:1].repeat(50, 1))
    assert got["precision"] == 1.0
    assert got["recall"] == pytest.approx(1 / 50)  # the image itself


def test_chunks_and_order_do_not_change_the_measures() -> None:
    samples, real = points(70, 5, 9, shift=0.5), points(60, 5, 10)
    shuffled = Manifold(real[torch.randperm(60)], chunk=7).measures(samples.flip(0))
    assert shuffled == pytest.approx(Manifold(real).measures(samples))


def test_six_examples_are_needed() -> None:
    with pytest.raises(UserError, match="samples: 5 examples are too few; at least 6"):
        Manifold(torch.zeros(9, 2)).measures(torch.zeros(5, 2))


def test_nearest_agrees_with_scikit_learns_brute_force() -> None:
    queries, references = points(40, 30, 11).float(), points(90, 30, 12).float()
    oracle = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(references.double().numpy())
    distance, index = oracle.kneighbors(queries.double().numpy())
    got_distance, got_index = nearest(queries, references, k=3, chunk=13)
    np.testing.assert_array_equal(got_index.numpy(), index)
    np.testing.assert_allclose(got_distance.numpy(), distance / np.sqrt(30), rtol=1e-5)


def test_nearest_measures_images_of_bytes_and_floats_alike(pictures) -> None:
    noisy = (
        pictures[:7].double() / 255 + 0.2 * torch.randn(pictures[:7].shape, generator=torch.Generator().manual_seed(1))
    ).float()
    flat, references = noisy.double().flatten(1).numpy(), pictures.double().flatten(1).numpy() / 255
    rms = np.sqrt(((flat[:, None] - references[None]) ** 2).mean(2))
    distance, index = nearest(noisy, pictures, k=2)
    np.testing.assert_array_equal(index.numpy(), rms.argsort(1)[:, :2])
    np.testing.assert_allclose(distance.numpy(), np.sort(rms, 1)[:, :2], rtol=1e-5)
    same_distance, same_index = nearest(noisy, pictures.float() / 255, k=2)
    assert torch.equal(same_index, index)
    torch.testing.assert_close(same_distance, distance)


def test_nearest_finds_a_copy_at_distance_zero(pictures) -> None:
    distance, index = nearest(pictures.flip(0), pictures)
    assert distance.abs().max() == 0
    assert index[:, 0].tolist() == list(range(23, -1, -1))


def test_equal_references_come_in_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        equal = torch.randperm(60, generator=generator)[:6]
        references = torch.rand(60, 2, generator=generator) + 1
        references[equal] = 0.5
        assert nearest(torch.zeros(1, 2), references, k=3, chunk=25)[1].tolist() == [sorted(equal.tolist())[:3]]


def test_nearest_leaves_its_inputs_alone(pictures) -> None:
    queries, references = pictures[:5].float() / 255, pictures.float() / 255
    before = queries.clone(), references.clone()
    nearest(queries, references)
    assert torch.equal(queries, before[0])
    assert torch.equal(references, before[1])


def test_more_neighbours_than_references_are_refused() -> None:
    with pytest.raises(UserError, match="2 examples have no 3 nearest"):
        nearest(torch.zeros(1, 2), torch.zeros(2, 2), k=3)


def test_training_images_given_as_samples_are_copies(pictures) -> None:
    train, test = pictures[:12], pictures[12:]
    got = copying_measures(train.float() / 255 + 0.4 / 255, test, train)
    assert got["copies"] == {"value": 1.0, "error": pytest.approx(1 / 12), "real": 0.0}
    assert got["near_copies"]["value"] == 1.0
    assert got["copying"] == {"value": 1.0, "error": 0.0, "real": 0.5}


def test_test_images_given_as_samples_are_as_new_as_test_images(pictures) -> None:
    train, test = pictures[:12], pictures[12:]
    got = copying_measures(test, test, train)
    assert got["copies"]["value"] == 0.0
    assert got["near_copies"]["value"] == got["near_copies"]["real"] == 1 / 12  # 5 % of 12 images
    assert got["copying"]["value"] == 0.5
    assert got["nearest_distance"]["value"] == got["nearest_distance"]["real"]


def test_mirrored_training_images_are_copies_where_the_model_has_seen_them_mirrored(pictures) -> None:
    train, test = pictures[:12], pictures[12:]
    samples = torch.cat([train[:6], train[6:].flip(3)])
    assert copying_measures(samples, test, train)["copies"]["value"] == 0.5
    seen = copying_measures(samples, test, train, mirrored=True)
    assert seen["copies"] == {"value": 1.0, "error": pytest.approx(1 / 12), "real": 0.0}
    assert seen == copying_measures(samples, test, torch.cat([train, train.flip(3)]))


def test_noise_is_no_copy(pictures) -> None:
    train, test = pictures[:12], (pictures[:12].int() + 3).clamp(max=255).to(torch.uint8)
    noise = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert {
        name: entry["value"] for name, entry in copying_measures(noise, test, train).items() if name != "nearest_distance"
    } == {
        "copies": 0.0,
        "near_copies": 0.0,
        "copying": 0.0,
    }


def test_images_of_another_shape_are_refused(pictures) -> None:
    with pytest.raises(UserError, match="differ in shape"):
        copying_measures(torch.rand(3, 3, 8, 8), pictures, pictures)
