"""How well images come back: MSE, PSNR and SSIM, beside those of a method of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from regen.metrics.values import Measured, images, mean, pixels, same_dimensions

MAX_PSNR = 100.0  # dB, given to an image that comes back exactly


def over_images(got: Mapping[str, Tensor], baseline: Mapping[str, Tensor]) -> Measured:
    """Return the mean of each figure of `per_image` with its standard error, beside another method's."""
    return {name: mean(value, baseline=baseline.get(name)) for name, value in got.items()}


def over_denoised(psnr: Mapping[str, Tensor]) -> Measured:
    """Return the mean of what `psnr_of` gave with its standard error, beside another method's."""
    return {"noisy_psnr": mean(psnr["noisy"]), "denoised_psnr": mean(psnr["denoised"], baseline=psnr.get("baseline"))}


def psnr_of(clean: Tensor, **images: Tensor) -> dict[str, Tensor]:
    """Return the PSNR (dB) of each image of some sets, (N,), by their names.

    Raises:
        UserError: different shapes or values that are not finite.
    """
    return {name: per_image(clean, x, name, ssim=False)["psnr"] for name, x in images.items()}


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the figures of all images from those of some at a time."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def per_image(x: Tensor, y: Tensor, name: str = "baseline", ssim: bool = True) -> dict[str, Tensor]:
    """Return MSE, PSNR and SSIM of each image, (N,), between originals x and what came back, y; `name` is y's, for messages.

    Raises:
        UserError: different shapes or values that are not finite.
    """
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
