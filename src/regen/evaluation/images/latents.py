"""Latent spaces: paths through them, Gaussians in them, and whether pictures change evenly along a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regen.estimators.spectrum import spectrum
from regen.metrics.values import features, mean, same_dimensions
from regen.seeding import generator

Decode = Callable[[Tensor], Tensor]  # (n, d) latents -> (n, C, H, W) images, or images -> (n, features)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, axes axes'): the prior, or what was fitted to a model's latents; `axes` are (d, d), by falling variance."""

    mean: Tensor
    axes: Tensor

    @classmethod
    def standard(cls, dim: int) -> Gaussian:
        """Return N(0, I): its axes are the latent dimensions in their order."""
        return cls(torch.zeros(dim), torch.eye(dim))

    @classmethod
    def fitted(cls, latents: Tensor) -> Gaussian:
        """Return the maximum-likelihood Gaussian of (n, d) latents: its axes are their principal components.

        Raises:
            UserError: no latents, or values that are not finite.
        """
        z = features(latents, "latents", at_least=1)
        n, d = z.shape
        if n == 1:  # has no spread
            return cls(z[0].float(), torch.zeros(d, d))
        centre, _, variances, vectors = spectrum(z, d)  # of min(n, d) axes: the others have no variance
        axes = vectors[:d].T * (variances[:d] * (n - 1) / n).sqrt()
        return cls(centre.float(), torch.nn.functional.pad(axes, (0, d - axes.shape[1])).float())

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n draws, (n, d)."""
        return self.mean + torch.randn(n, len(self.mean), generator=generator(seed, "latents")) @ self.axes.T


def interpolations(start: Tensor, end: Tensor, steps: int, spherical: bool = False) -> Tensor:
    """Return (n, steps, d): paths from `start` (n, d) to `end` (n, d), both included.

    Linear, z(t) = (1 - t) a + t b; or spherical, z(t) = (sin((1 - t) w) a + sin(t w) b) / sin w with w the angle between a and b
    (White 2016, arXiv 1609.04468), which keeps to the shell where draws of N(0, I) lie.
    """
    t = torch.linspace(0, 1, steps, device=start.device)[None, :, None]
    a, b = start[:, None], end[:, None]
    linear = (1 - t) * a + t * b
    if not spherical:
        return linear
    w = torch.nn.functional.cosine_similarity(a, b, dim=2).clamp(-1, 1).acos()[..., None]  # (n, 1, 1)
    path = (((1 - t) * w).sin() * a + (t * w).sin() * b) / w.sin()
    return torch.where(w.sin() < 1e-4, linear, path)  # parallel latents have no arc between them


def traversals(gaussian: Gaussian, dimensions: int = 8, steps: int = 9, span: float = 2.5) -> Tensor:
    """Return (dimensions, steps, d): from -span to +span standard deviations along each of the first axes, through the mean."""
    t = torch.linspace(-span, span, steps)
    return gaussian.mean + t[None, :, None] * gaussian.axes.T[:dimensions, None]


def latent_grid(gaussian: Gaussian, side: int = 10, span: float = 2.0) -> Tensor:
    """Return (side * side, d): the plane of the first two axes, the first to the right and the second upwards, row by row."""
    t = torch.linspace(-span, span, side)
    right, up = torch.meshgrid(t, t.flip(0), indexing="xy")
    return gaussian.mean + right.reshape(-1, 1) * gaussian.axes[:, 0] + up.reshape(-1, 1) * gaussian.axes[:, 1]


def continuity(decode: Decode, start: Tensor, end: Tensor, steps: int = 16) -> dict[str, float]:
    """Return the mean over linear paths of (mean change of the image a step) / (largest change of a step), with its error.

    1 where pictures change evenly, as in a cross-fade of pixels (the bound); 1 / (steps - 1) where all changes in one jump. The
    change is the RMS pixel difference. A ratio, since latent spaces have scales of their own.
    """
    same_dimensions(start=start, end=end)
    ratios = []
    for a, b in zip(torch.split(start, 16), torch.split(end, 16), strict=True):
        x = decode(interpolations(a, b, steps).flatten(0, 1)).reshape(len(a), steps, -1)
        change = (x[:, 1:] - x[:, :-1]).double().square().mean(2).sqrt()  # (paths, steps - 1)
        largest = change.amax(1)
        ratios.append(torch.where(largest > 0, change.mean(1) / largest.clamp_min(1e-300), 1.0).cpu())
    return mean(torch.cat(ratios), bound=1.0)
