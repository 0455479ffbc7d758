"""Distances between two sets of features: Frechet's, of two fitted Gaussians, and the kernel distance, of three moments.

Name the features with every figure: "Frechet distance (punks_classifier features)". Only Inception features make it FID or KID.
torchmetrics has both formulas inside modules that want an Inception network; its Frechet distance takes eigenvalues of a
product that is not symmetric, which loses half of the digits where a covariance is singular.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regen.metrics.values import features, same_dimensions


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Return ||mean_x - mean_y||^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) for the covariances A, B (unbiased) of (n, d) and (m, d).

    Heusel et al. 2017 (arXiv 1706.08500), eq. 6. Its expectation falls with n and m: compare figures of equal counts only.

    Raises:
        UserError: fewer than two examples, values that are not finite, or different dimensions.
    """
    x, y = features(x, "samples"), features(y, "reference")
    same_dimensions(samples=x, reference=y)
    # With A = R'R and B = S'S from QR decompositions, the trace of the root is the sum of the singular values of R S':
    # no covariance is formed and no root of a rounding error taken, so singular covariances cost no digits.
    R, S = _root(x), _root(y)
    overlap = torch.linalg.svdvals(R @ S.T).sum()
    distance: Tensor = (x.mean(0) - y.mean(0)).square().sum() + R.square().sum() + S.square().sum() - 2 * overlap
    return max(float(distance), 0.0)


def _root(x: Tensor) -> Tensor:
    """Return R with R'R = the covariance of x."""
    centred = x - x.mean(0)
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root / math.sqrt(len(x) - 1)


def kernel_distance(x: Tensor, y: Tensor, chunk: int = 1000) -> float:
    """Return the unbiased squared maximum mean discrepancy of (n, d) and (m, d) under k(x, y) = (x.y / d + 1)^3.

    Binkowski et al. 2018 (arXiv 1801.01401), eq. 4. All pairs are used in place of the customary random subsets: the same
    expectation, the least variance, and no seed. Its mean is 0 for sets
    of one distribution, so it may be slightly negative.

    Raises:
        UserError: fewer than two examples, values that are not finite, or different dimensions.
    """
    x, y = features(x, "samples"), features(y, "reference")
    same_dimensions(samples=x, reference=y)
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x, chunk) - _kernel(x.square().sum(1), x.shape[1]).sum()) / (n * (n - 1))
    within_y = (_kernel_sum(y, y, chunk) - _kernel(y.square().sum(1), y.shape[1]).sum()) / (m * (m - 1))
    return (within_x + within_y - 2 * _kernel_sum(x, y, chunk) / (n * m)).item()


def _kernel(products: Tensor, dimensions: int) -> Tensor:
    return (products / dimensions + 1) ** 3


def _kernel_sum(x: Tensor, y: Tensor, chunk: int) -> Tensor:
    return torch.stack([_kernel(part @ y.T, y.shape[1]).sum() for part in torch.split(x, chunk)]).sum()
