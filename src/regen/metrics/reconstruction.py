"""How well images come back: MSE, PSNR and SSIM, beside those of a method of the same size."""

from __future__ import annotations

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from regen.metrics.values import Measured, images, mean, pixels, same_dimensions

MAX_PSNR = 100.0  # dB, given to an image that comes back exactly


def reconstruction_measures(x: Tensor, reconstructed: Tensor, baseline: Tensor | None = None) -> Measured:
    """Return MSE, PSNR (dB) and SSIM of (N, C, H, W) images in [0, 1], means over images with standard errors.

    `baseline` holds the reconstructions of another method, PCA's.

    Raises:
        UserError: different shapes or values that are not finite.
    """
    got = _per_image(x, reconstructed, "reconstructions")
    other = {} if baseline is None else _per_image(x, baseline, "baseline")
    return {name: mean(value, baseline=other.get(name)) for name, value in got.items()}


def denoising_measures(clean: Tensor, noisy: Tensor, denoised: Tensor, baseline: Tensor | None = None) -> Measured:
    """Return the PSNR (dB) of the noisy and of the denoised images; `baseline` holds another method's denoised ones.

    Raises:
        UserError: different shapes or values that are not finite.
    """
    psnr = {
        name: _per_image(clean, x, name, ssim=False)["psnr"]
        for name, x in (("noisy", noisy), ("denoised", denoised), ("baseline", baseline))
        if x is not None
    }
    return {"noisy_psnr": mean(psnr["noisy"]), "denoised_psnr": mean(psnr["denoised"], baseline=psnr.get("baseline"))}


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
