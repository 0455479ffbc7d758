"""Latent spaces: paths through them, draws from them, and whether every place in them is an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regen.metrics.frechet import frechet_distance
from regen.metrics.neighbours import manifold_measures
from regen.metrics.values import Measured, features, mean, measured, same_dimensions
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
            UserError: fewer than two latents, or values that are not finite.
        """
        z = features(latents, "latents")
        centre = z.mean(0)
        eigenvalues, vectors = torch.linalg.eigh((z - centre).T @ (z - centre) / len(z))
        largest = vectors.abs().argmax(0)
        vectors = vectors * vectors[largest, torch.arange(len(largest))].sign()  # else the sign is the library's whim
        axes = (vectors * eigenvalues.clamp_min(0).sqrt()).flip(1)
        return cls(centre.float(), axes.float())

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

    1 where pictures change evenly, as in a cross-fade of pixels (the limit); 1 / (steps - 1) where all changes in one jump. The
    change is the RMS pixel difference. A ratio, since latent spaces have scales of their own.
    """
    same_dimensions(start=start, end=end)
    ratios = []
    for a, b in zip(torch.split(start, 16), torch.split(end, 16), strict=True):
        x = decode(interpolations(a, b, steps).flatten(0, 1)).reshape(len(a), steps, -1)
        change = (x[:, 1:] - x[:, :-1]).double().square().mean(2).sqrt()  # (paths, steps - 1)
        largest = change.amax(1)
        ratios.append(torch.where(largest > 0, change.mean(1) / largest.clamp_min(1e-300), 1.0).cpu())
    return mean(torch.cat(ratios), limit=1.0)


def latent_measures(
    decode: Decode,
    classifier: Decode,
    train_latents: Tensor,
    test_latents: Tensor,
    test_features: Tensor,
    train_features: Tensor,
    seed: int = 0,
) -> Measured:
    """Is the latent space one to draw from? As many latents are drawn as there are test examples, decoded and classified.

    * continuity: of 128 paths between test latents.
    * completeness_<where>: share of drawn latents whose decodings lie on the real manifold, the precision of
      `neighbours.manifold_measures`; drawn from N(0, I) (`prior`), from the Gaussian fitted to the training latents (`fitted`),
      or half-way between two test latents (`midpoints`). The limit is the precision of as many training images.
    * frechet_distance_<where>: their Frechet distance to the test examples; the limit is that of as many training images.

    Raises:
        UserError: fewer than 6 test examples or fewer training than test examples; latents or features that are not finite.
    """
    start, end = test_latents, test_latents.roll(1, 0)
    fitted, prior = Gaussian.fitted(train_latents), Gaussian.standard(train_latents.shape[1])
    n = len(test_features)
    places = {
        "prior": prior.sample(n, seed).to(test_latents.device),
        "fitted": fitted.sample(n, seed).to(test_latents.device),
        "midpoints": (start + end) / 2,
    }
    chosen = torch.randperm(len(train_features), generator=generator(seed, "limit"))[:n].to(train_features.device)
    limit = _completeness_and_distance(train_features[chosen], test_features)
    result = {"continuity": continuity(decode, start[:128], end[:128])}
    for where, z in places.items():
        got = _completeness_and_distance(classifier(decode(z)), test_features)
        for name, value in got.items():
            result[f"{name}_{where}"] = measured(value, limit=limit[name])
    return result


def _completeness_and_distance(x: Tensor, test: Tensor) -> dict[str, float]:
    return {"completeness": manifold_measures(x, test)["precision"], "frechet_distance": frechet_distance(x, test)}
