"""How well images come back: MSE, PSNR and SSIM, beside those of PCA with as many components."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from regen.metrics.equal_pixels import equal_pixels
from regen.metrics.values import Measured, images, mean, pixels, same_dimensions
from regen.seeding import derive_seed

MAX_PSNR = 100.0  # dB, given to an image that comes back exactly
EXACT_UP_TO = 4096  # above this side of the smaller Gram matrix PCA takes a randomised decomposition: minutes become seconds


def reconstruction_measures(x: Tensor, reconstructed: Tensor, limit: Tensor | None = None) -> Measured:
    """Return MSE, PSNR (dB) and SSIM of (N, C, H, W) images in [0, 1], means over images with standard errors.

    `limit` holds the reconstructions of the best linear model, `PCA.reconstruct(x)`.

    Raises:
        UserError: different shapes or values that are not finite.
    """
    got = _per_image(x, reconstructed, "reconstructions")
    best = {} if limit is None else _per_image(x, limit, "limit")
    return {name: mean(value, best.get(name)) for name, value in got.items()}


def denoising_measures(clean: Tensor, noisy: Tensor, denoised: Tensor, limit: Tensor | None = None) -> Measured:
    """Return the PSNR (dB) of the noisy and of the denoised images; `limit` holds a linear model's `PCA.reconstruct(noisy)`.

    Raises:
        UserError: different shapes or values that are not finite.
    """
    psnr = {
        name: _per_image(clean, x, name, ssim=False)["psnr"]
        for name, x in (("noisy", noisy), ("denoised", denoised), ("limit", limit))
        if x is not None
    }
    return {"noisy_psnr": mean(psnr["noisy"]), "denoised_psnr": mean(psnr["denoised"], psnr.get("limit"))}


def _per_image(x: Tensor, y: Tensor, name: str, ssim: bool = True) -> dict[str, Tensor]:
    """Return MSE, PSNR and SSIM of each image, (N,)."""
    images(x, "originals"), images(y, name)
    same_dimensions(originals=x, **{name: y})
    result: dict[str, list[Tensor]] = {"mse": [], "psnr": [], **({"ssim": []} if ssim else {})}
    for target, got in zip(torch.split(x, 100), torch.split(y.to(x.device), 100), strict=True):
        target, got = pixels(target), pixels(got)
        mse = (target.double() - got).square().flatten(1).mean(1)
        result["mse"].append(mse)
        result["psnr"].append((-10 * mse.log10()).clamp(max=MAX_PSNR))
        if ssim:
            result["ssim"].append(
                torch.tensor([_ssim(*pair) for pair in zip(target.cpu().numpy(), got.cpu().numpy(), strict=True)])
            )
    return {measure: torch.cat(parts).cpu() for measure, parts in result.items()}


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Return the structural similarity of two (C, H, W) images in [0, 1] (Wang et al. 2004: Gaussian window of sigma 1.5)."""
    similarity = structural_similarity(
        x, y, data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(similarity)


class PCA:
    """Principal components of images: the linear autoencoder of least squared error (Bourlard & Kamp 1988).

    Equal pixels are merged first (a 24x24 picture enlarged to 64x64 has 24x24 different ones) and weighted by their number,
    which changes no component and makes the decomposition small. It is exact, in float64, while pixels or images are at most
    4,096; beyond that randomised (Halko et al. 2011) with a fixed seed.

    Attributes:
        mean: (d,) mean of the training images.
        components: (k, d) orthonormal rows, by falling variance; k = min(latent size, number of images - 1, d).
    """

    def __init__(self, train: Tensor, latent_dim: int, seed: int = 0) -> None:
        """Fit `latent_dim` components to (N, ...) training images, uint8 or floats in [0, 1]."""
        flat = train.flatten(1).cpu()  # eigenvectors of float64: the same, and as fast, on the CPU
        group, first, size = equal_pixels(flat)
        merged = pixels(flat[:, first])  # (N, g): one column for each group
        centre = merged.double().mean(0)
        scale = size.sqrt()
        k = min(latent_dim, len(flat) - 1, len(size))
        directions = _directions(merged.sub_(centre.float()).mul_(scale.float()), k, seed)  # (g, k)
        self.mean = centre[group].float()
        self.components = (directions / scale[:, None])[group].float().T.contiguous()

    def encode(self, x: Tensor) -> Tensor:
        """Return the (N, k) scores of images."""
        return torch.cat([(pixels(part).flatten(1) - self.mean) @ self.components.T for part in torch.split(x.cpu(), 1000)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images projected onto the components, cut to [0, 1], in the shape they came in."""
        return (self.encode(x) @ self.components + self.mean).clamp_(0, 1).view(x.shape)


def _directions(x: Tensor, k: int, seed: int) -> Tensor:
    """Return the k leading right singular vectors, (d, k) in float64, of the centred x (N, d)."""
    n, d = x.shape
    V: Tensor
    if min(n, d) > EXACT_UP_TO:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "pca"))
            V = torch.svd_lowrank(x, q=min(k + 32, n, d), niter=4)[2][:, :k].double()
    elif d <= n:
        V = _leading(torch.split(x, 1000), d, k)
    else:
        V = torch.linalg.qr(x.double().T @ _leading([part.T for part in torch.split(x, 1000, dim=1)], n, k)).Q
    return V


def _leading(parts: Iterable[Tensor], size: int, k: int) -> Tensor:
    """Return the k leading eigenvectors, (size, k), of the sum of part' part, in float64."""
    gram = torch.zeros(size, size, dtype=torch.float64)
    for part in parts:
        gram.addmm_(part.double().T, part.double())
    vectors: Tensor = torch.linalg.eigh(gram).eigenvectors
    return vectors.flip(1)[:, :k]
