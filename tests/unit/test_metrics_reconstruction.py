"""MSE, PSNR, SSIM and PCA against numpy, torchmetrics and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.decomposition
import torch

from regen.errors import UserError
from regen.estimators import spectrum
from regen.evaluation.pca import PCA
from regen.metrics.equal_pixels import equal_pixels
from regen.metrics.reconstruction import over_denoised, over_images, per_image, psnr_of
from regen.metrics.values import Measured


def images(n: int, seed: int, size: int = 16) -> torch.Tensor:
    """Smooth images: few components hold most of them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (x + 0.02 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def measured(x: torch.Tensor, y: torch.Tensor) -> Measured:
    return over_images(per_image(x, y), {})


def error_of_oracle(train: torch.Tensor, test: torch.Tensor, k: int) -> float:
    oracle = sklearn.decomposition.PCA(k, svd_solver="full").fit(train.double().flatten(1).numpy())
    x = test.double().flatten(1).numpy()
    return float(((np.clip(oracle.inverse_transform(oracle.transform(x)), 0, 1) - x) ** 2).mean())


def test_mse_is_the_mean_over_pixels_with_the_standard_error_over_images() -> None:
    x, y = images(25, 1), images(25, 2)
    errors = ((x - y).double().numpy() ** 2).mean((1, 2, 3))
    entry = measured(x, y)["mse"]
    assert entry["value"] == pytest.approx(errors.mean(), rel=1e-6)
    assert entry["error"] == pytest.approx(errors.std(ddof=1) / 5, rel=1e-6)


def test_psnr_agrees_with_torchmetrics_on_the_whole_batch() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    x, y = images(25, 3), images(25, 4)
    psnr = peak_signal_noise_ratio(y, x, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean")
    assert measured(x, y)["psnr"]["value"] == pytest.approx(psnr.item(), rel=1e-5)


def test_ssim_is_the_mean_of_its_formula_over_the_windows_inside_the_image() -> None:
    x = images(2, 3)
    y = (x + images(2, 4)) / 2
    axis = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(axis, axis) / axis.sum() ** 2
    similarities = []
    for a, b in zip(x.double().numpy().reshape(-1, *x.shape[2:]), y.double().numpy().reshape(-1, *x.shape[2:]), strict=True):
        for row, column in np.ndindex(a.shape[0] - 10, a.shape[1] - 10):
            p, q = (image[row : row + 11, column : column + 11] for image in (a, b))
            mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
            var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
            covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
            luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
            similarities.append(luminance * (2 * covariance + 9e-4) / (var_p + var_q + 9e-4))
    assert measured(x, y)["ssim"]["value"] == pytest.approx(np.mean(similarities), abs=1e-5)


def test_a_perfect_reconstruction_has_no_error_and_a_finite_psnr() -> None:
    x = images(5, 5)
    got = measured(x, x)
    assert got["mse"]["value"] == 0
    assert got["psnr"]["value"] == 100
    assert got["ssim"]["value"] == pytest.approx(1, abs=1e-6)


def test_bytes_and_floats_give_the_same_figures() -> None:
    x = (images(5, 6) * 255).round().to(torch.uint8)
    y = images(5, 7)
    assert measured(x, y)["mse"] == pytest.approx(measured(x.float() / 255, y)["mse"])


def test_the_baseline_is_the_figure_of_the_images_given_for_it() -> None:
    x, y, best = images(5, 8), images(5, 9), images(5, 10)
    got, other = over_images(per_image(x, y), per_image(x, best)), measured(x, best)
    assert {name: entry["baseline"] for name, entry in got.items()} == {name: entry["value"] for name, entry in other.items()}


def test_denoising_is_measured_against_the_clean_images() -> None:
    clean = images(40, 11)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    got = over_denoised(psnr_of(clean, noisy=noisy, denoised=clean + 0.01, baseline=noisy))
    assert got["noisy_psnr"]["value"] == pytest.approx(20, abs=0.2)  # -10 log10(0.1^2)
    assert got["denoised_psnr"]["value"] == pytest.approx(40, abs=0.01)
    assert got["denoised_psnr"]["baseline"] == got["noisy_psnr"]["value"]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(3, 3, 8, 8), "differ in shape"),
        (torch.full((3, 3, 16, 16), float("nan")), "NaN or infinite pixels"),
        (torch.rand(3, 16, 16), "expected images of shape"),
    ],
)
def test_reconstructions_that_cannot_be_measured_are_refused(x, message) -> None:
    with pytest.raises(UserError, match=message):
        measured(images(3, 1), x)


@pytest.mark.parametrize("n", [40, 900])  # fewer images than pixels, and more
def test_pca_reconstructs_like_scikit_learns(n) -> None:
    train, test = images(n, 12), images(30, 13)
    got = PCA(train, 8).reconstruct(test)
    assert (got - test).double().square().mean().item() == pytest.approx(error_of_oracle(train, test, 8), rel=1e-4)


def test_pca_of_enlarged_pictures_is_that_of_all_their_pixels() -> None:
    train, test = images(200, 14, size=6), images(30, 15)  # the test images are not enlarged: nothing is assumed of them
    index = torch.arange(16) * 6 // 16  # uneven cells, of 2 and 3 pixels
    enlarged = train[:, :, index][:, :, :, index]
    assert len(equal_pixels(enlarged.flatten(1)).size) == 3 * 6 * 6
    got = PCA(enlarged, 8).reconstruct(test)
    assert (got - test).double().square().mean().item() == pytest.approx(error_of_oracle(enlarged, test, 8), rel=1e-4)


def test_iterated_pca_is_that_of_the_whole_decomposition(monkeypatch) -> None:
    train, test = images(300, 16), images(30, 17)
    monkeypatch.setattr(spectrum, "DIRECT", 10)
    got = PCA(train, 8).reconstruct(test)
    assert (got - test).double().square().mean().item() == pytest.approx(error_of_oracle(train, test, 8), rel=1e-4)


def test_iterated_pca_is_the_same_every_time_and_leaves_torchs_generator_alone(monkeypatch) -> None:
    monkeypatch.setattr(spectrum, "DIRECT", 10)
    train = images(50, 18)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = PCA(train, 4).components
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(PCA(train, 4).components, first)


def test_pca_components_are_orthonormal() -> None:
    components = PCA(images(60, 19), 10).components
    torch.testing.assert_close(components @ components.T, torch.eye(10), atol=1e-5, rtol=0)


def test_pca_with_as_many_components_as_the_data_have_is_exact() -> None:
    train = images(5, 20)
    pca = PCA(train, 100)
    assert pca.components.shape == (4, 768)
    torch.testing.assert_close(pca.reconstruct(train), train, atol=1e-5, rtol=0)


def test_pca_takes_bytes_as_they_are_stored() -> None:
    x = (images(50, 21) * 255).round().to(torch.uint8)
    got, expected = PCA(x, 6).reconstruct(x[:5]), PCA(x.float() / 255, 6).reconstruct(x[:5].float() / 255)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_pca_leaves_the_training_images_alone() -> None:
    x = images(20, 22)
    before = x.clone()
    PCA(x, 3)
    assert torch.equal(x, before)


@pytest.mark.parametrize("direct", [10, 10_000])
@pytest.mark.parametrize("n", [300, 60])
def test_pca_of_images_taken_some_at_a_time_is_that_of_all_at_once(n: int, direct: int, monkeypatch) -> None:
    train, test = (images(n, 19) * 255).round().to(torch.uint8), images(30, 20)
    monkeypatch.setattr(spectrum, "DIRECT", direct)
    whole = PCA(train, 8)
    monkeypatch.setattr(spectrum, "BLOCK", 7 * 3 * 16 * 16)  # 7 images at a time
    parts = PCA(train, 8)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.components, whole.components, rtol=1e-4, atol=1e-5)
    got = parts.reconstruct(test)
    assert (got - test).double().square().mean().item() == pytest.approx(error_of_oracle(train / 255, test, 8), rel=1e-4)
