"""Which latents a decoder takes: how they are distributed, and in which directions its images change most.

Latents are a mixture of Gaussians, z = m_c + e S_c with e ~ N(0, I): of most generators N(0, I) itself; of a learned prior its
components; of an autoencoder, which has no prior, the Gaussian of its training images' latents, along its longest axes. S_c is
given by its rows, or by its diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regen import families
from regen.seeding import generator

AXES = 64  # of the latents of training images
DRAWS = 512  # pairs of latents that directions are found with
LARGEST = 1024  # latents; of more, as of a flow of images, no directions are looked for


@dataclass(frozen=True)
class Component:
    """One Gaussian.

    Attributes:
        weight: all of them sum to 1.
        mean: (d,).
        spread: S, its diagonal (d,) or its rows (k, d).
    """

    weight: float
    mean: Tensor
    spread: Tensor


def distribution(model: Any, training: Callable[[], Tensor]) -> list[Component]:
    """Return the components from which a model's latents are drawn.

    Args:
        model: with `decode`.
        training: returns training images (N, C, H, W); asked for where the model has no prior.
    """
    if hasattr(model, "prior_means"):
        low, high = families.family(model.config.family).BOUNDS
        deviations = (model.prior_log_variances.clamp(low, high) / 2).exp()
        parts = zip(model.prior_logits.softmax(0).tolist(), model.prior_means, deviations, strict=True)
        return [Component(weight, mean.detach(), deviation.detach()) for weight, mean, deviation in parts]
    if not hasattr(model, "sample"):
        latents = model.encode(training()).double()
        return [Component(1.0, latents.mean(0), _root(latents.T.cov(correction=0))[:AXES])]
    d = dimensions(model)
    return [Component(1.0, torch.zeros(d), torch.ones(d))]


def dimensions(model: Any) -> int:
    """Return the number of a model's latents; of a flow, that of its noise."""
    return int(model.config.latent_dim if hasattr(model.config, "latent_dim") else model.dim)


def moments(components: list[Component]) -> tuple[Tensor, Tensor]:
    """Return the mean (d,) of all components together, and S (d, d) of the Gaussian that has their covariance."""
    mean = torch.stack([part.weight * part.mean.double() for part in components]).sum(0)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in components:
        full = part.spread.double() if part.spread.ndim == 2 else part.spread.double().diag()
        away = part.mean.double() - mean
        covariance += part.weight * (full.T @ full + torch.outer(away, away))
    return mean, _root(covariance)


def directions(decode: Callable[[Tensor], Tensor], mean: Tensor, spread: Tensor, count: int) -> Tensor:
    """Return the `count` directions (k, d), one standard deviation long, in which images change most, the largest first.

    They are u S, with the left singular vectors u of the linear map e -> image that is nearest to z -> decode(z), z = mean + e S:
    the mean over e ~ N(0, I) of e (decode(mean + e S) - decode(mean - e S))^T / 2, in which all even terms cancel.
    """
    e = torch.randn(DRAWS, len(mean), generator=generator(0, "directions"), dtype=torch.float64)
    changes = [decode((mean + sign * e @ spread).float()).double().flatten(1) for sign in (1, -1)]
    u, _, _ = torch.linalg.svd(e.T @ (changes[0] - changes[1]) / (2 * DRAWS), full_matrices=False)
    found = u[:, :count].T
    signs = found.gather(1, found.abs().argmax(1, keepdim=True)).sign()  # else the library's choice
    one_deviation: Tensor = (found * signs) @ spread
    return one_deviation


def _root(covariance: Tensor) -> Tensor:
    """Return S (d, d) with S^T S = covariance, its rows from the longest to the shortest."""
    variances, vectors = torch.linalg.eigh(covariance)
    rows: Tensor = (variances.clamp(min=0).sqrt() * vectors).T
    return rows.flip(0)
