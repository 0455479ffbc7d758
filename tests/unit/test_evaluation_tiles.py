"""Evaluation of models of tiles: figures against scikit-learn, torch and SciPy; every picture of a small run is there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi, chisquare
from sklearn.metrics import r2_score
from torch.distributions import MultivariateNormal, kl_divergence

from regen import families
from regen.catalogue.registry import MEASURES
from regen.data import arrays, folders
from regen.data.sets import brains
from regen.evaluation import tiles
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.metrics import aggregate_posterior, coverage
from regen.metrics.bootstrap import ratio
from regen.models.base import DataSpec


def test_variance_explained_is_r_squared_weighted_by_variance() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (50, 1, 4, 4), generator=rng).to(torch.uint8)
    y = (x.float() / 255 + 0.1 * torch.randn(x.shape, generator=rng)).clamp(0, 1)
    expected = r2_score(x.flatten(1).numpy() / 255, y.flatten(1).numpy(), multioutput="variance_weighted")
    assert 1 - float(ratio(tiles.squared_deviations(x, y))) == pytest.approx(expected, rel=1e-6)


def test_the_aggregate_s_divergence_is_torch_s_between_gaussians() -> None:
    rng = torch.Generator().manual_seed(0)
    mu = torch.randn(500, 4, generator=rng) @ torch.randn(4, 4, generator=rng) * 0.3 + 0.2
    sigma = torch.rand(500, 4, generator=rng)
    draws = (mu[:, None] + sigma[:, None] * torch.randn(500, 2000, 4, generator=rng)).flatten(0, 1).double()
    fitted = MultivariateNormal(draws.mean(0), torch.cov(draws.T, correction=0))
    expected = kl_divergence(fitted, MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double()))
    found = aggregate_posterior.aggregate_measures(mu, sigma)
    assert found["aggregate_divergence"]["value"] == pytest.approx(float(expected), rel=0.02)
    assert found["active_latents"] == {"value": 4, "error": 0, "bound": 4}


def test_an_aggregate_that_is_the_prior_diverges_by_nothing() -> None:
    mu, sigma = torch.zeros(10, 3), torch.ones(10, 3)
    found = aggregate_posterior.aggregate_measures(mu, sigma)
    assert found["aggregate_divergence"]["value"] == pytest.approx(0)
    assert found["active_latents"]["value"] == 0


def test_lengths_of_draws_of_the_prior_lie_on_its_line() -> None:
    n, d = 200_000, 5
    noise = torch.randn(n, d, generator=torch.Generator().manual_seed(1))
    lines = aggregate_posterior.norms(torch.zeros(n, d), torch.ones(n, d), noise)
    middle, density = lines["aggregate posterior"]
    np.testing.assert_allclose(density, chi.pdf(middle, d), atol=0.02)
    np.testing.assert_allclose(lines["prior"][1], chi.pdf(middle, d))


def test_chi_square_is_scipy_s_and_few_expected_are_put_together() -> None:
    observed, expected = np.array([30, 50, 20, 1, 2]), np.array([33.0, 45.0, 19.0, 2.0, 4.0])
    together = chisquare([30, 50, 20, 3], [33, 45, 19, 6]).pvalue
    assert coverage.chi_square(observed, expected) == pytest.approx(together)
    assert coverage.chi_square(np.array([5, 5, 1]), np.array([5.5, 5.5, 0.0])) == 0.0  # what cannot be was drawn


@pytest.mark.parametrize("side", [5, 64, 65, 300])
def test_zones_tell_the_edges_apart(side: int) -> None:
    zones = coverage.zone(np.arange(side), side, 64)
    assert zones[0] == 0
    assert zones[-1] == 1
    assert (zones == 0).sum() == 1
    np.testing.assert_array_equal(zones[: side // 2], zones[::-1][: side // 2] - 1)


def test_a_profile_is_what_counting_rows_gives() -> None:
    class Fixed:
        def __call__(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return np.zeros(3, int), np.array([-2, 1, 5]), np.zeros(3, int)

    seen = np.zeros(8)
    for start in (-2, 1, 5):
        for place in range(start, start + 4):
            seen[place if 0 <= place < 8 else -1 - place if place < 0 else 15 - place] += 1
    np.testing.assert_allclose(coverage.profile(Fixed(), 8, 4), seen / seen.mean())


def test_a_thumbnail_shows_the_whole_section() -> None:
    x = np.zeros((300, 100), np.uint8)
    x[150:] = 200
    thumbnail = tiles.thumbnail(x)[0].numpy()
    assert thumbnail.shape == (tiles.THUMBNAIL, tiles.THUMBNAIL)
    middle = thumbnail[:, tiles.THUMBNAIL // 2]
    assert middle[5] == 0
    assert middle[-5] == 200
    assert thumbnail[0, 0] == 246  # beside it, the paper


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three brains of smooth noise; evaluation takes few tiles."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"FITTED": 150, "TESTED": 120, "SHOWN": 30}.items():
        monkeypatch.setattr(tiles, name, value)
    monkeypatch.setattr(coverage, "DRAWS", 20_000)
    rng = np.random.default_rng(0)
    with h5py.File("sections.h5", "w") as file:
        for brain, count in {"a": 3, "b": 2, "c": 2}.items():
            for number in range(count):
                coarse = rng.integers(0, 256, (8, 9)).astype(np.uint8)
                file[f"{brain}/{number}"] = np.kron(coarse, np.ones((7, 7), np.uint8))
    config = brains.Config(kind="brains", source="file", path="sections.h5", tile=16)
    with folders.replacing(Path("raw/toy")) as part:
        brains.download(config, part)
    made, description = brains.prepare(config, Path("raw/toy"), 0)
    arrays.write(
        Path("prepared/toy"), made, description | {"dataset": "toy", "kind": "brains", "source": "file", "loader": "tiles"}
    )
    return Path("prepared/toy")


COMMON = {"sections", "examples", "reconstructions", "samples", "samples_few", "latents_by_brain", "coverage"}
PATHS = {"interpolation_section", "interpolation_sections"}


@pytest.mark.parametrize(
    ("family", "more"), [("vae", {"aggregate_variances", "aggregate_norms"}), ("autoencoder", {"samples_prior"})]
)
def test_all_pictures_and_figures_are_made_the_same_each_time(
    family: str, more: set[str], prepared: Path, tmp_path: Path
) -> None:
    block = {
        "dataset": "toy", "family": family, "latent_dim": 4, "channels": [2, 4], "standardise": True, "batch_norm": False,
        "epochs": 1, "batch_size": 8, "learning_rate": 1e-3,
    }  # fmt: skip
    model = families.build(families.config(block, "toy"), DataSpec.of("toy", arrays.statistics(prepared))).eval()
    results = []
    for name in ("one", "two"):
        subject = Subject(model, None, 0, data=prepared, history=tmp_path / "none", folder=tmp_path / name)
        results.append(evaluate(subject))
    assert results[0] == results[1]
    assert set(results[0]) <= set(MEASURES)
    assert ("rate" in results[0]) == (family == "vae")
    assert all(np.isfinite(value) for entry in results[0].values() for value in entry.values())
    for name, entry in results[0].items():
        assert "error" in entry
        assert all(MEASURES[name].against(which) for which in set(entry) - {"value", "error"})
    pictures = {path.stem for path in (tmp_path / "one").glob("*.png")}
    assert pictures == COMMON | PATHS | more
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        with Image.open(path) as picture:
            assert min(picture.size) > 60
