"""Probabilistic PCA where values are missing: posterior, likelihood and EM over the observed ones (Tipping and Bishop 1999)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regen.errors import UserError
from regen.estimators.spectrum import spectrum


def fit(X: Tensor, d: int, tol: float, max_iter: int) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Fit mu, W and sigma^2 to X (N, D), NaN where nothing was observed, by EM (appendix B, with each example's own M).

    Stops when an iteration gains less than `tol` nats an example.

    Returns:
        mu (D,), W (D, d), sigma^2 (), and the log-likelihood of the observed values before each iteration, in nats an example.

    Raises:
        UserError: a row or a column without an observed value, no variance, or sigma = 0.
    """
    N, D = X.shape
    observed = ~X.isnan()
    for axis, what in ((0, "column"), (1, "row")):
        if bool((~observed.any(axis)).any()):
            raise UserError(f"PPCA: {what} {int((~observed.any(axis)).nonzero()[0])} has no observed value; drop it")
    mask = observed.double()
    mu = torch.nansum(X, 0) / mask.sum(0)
    centred = torch.where(observed, X - mu, 0.0)
    if float(centred.square().sum()) <= 1e-13 * float(mu.square().sum()):
        raise UserError(f"PPCA: all {N} examples are equal, so there is no variance to model; check the data")
    # Start from the decomposition with the means filled in.
    _, total, values, vectors = spectrum(centred, d)
    noise = (total - values[:d].sum()).clamp_min(1e-6 * total) / (D - d)
    W = vectors[:d].T * (values[:d] - noise).clamp_min(1e-3 * noise).sqrt()
    bounds: list[float] = []
    for _ in range(max_iter):
        centred = torch.where(observed, X - mu, 0.0)
        z, inverses, log_likelihood = posterior(centred, mask, W, noise)
        bounds.append(float(log_likelihood.mean()))
        if len(bounds) > 1 and bounds[-1] - bounds[-2] < tol:
            break
        # M step: regress each dimension on (z, 1) over the examples that show it.
        basis = torch.cat([z, torch.ones(N, 1).to(z)], 1)  # (N, d + 1)
        second = basis[:, :, None] * basis[:, None, :]
        second[:, :d, :d] += noise * inverses  # E[z z^T|x] = E[z] E[z]^T + sigma^2 M^-1
        A = (mask.T @ second.flatten(1)).view(D, d + 1, d + 1)
        b = centred.T @ basis  # (D, d + 1)
        solution = torch.linalg.solve(A, b[:, :, None])[:, :, 0]
        noise = (centred.square().sum() - (solution * b).sum()) / mask.sum()  # the regressions' residual
        if noise <= 1e-13 * total / D:
            raise UserError(f"PPCA: {d} dimensions explain all of the observed values, so sigma = 0; lower n_components")
        W, mu = solution[:, :d], mu + solution[:, d]
    return mu, W, noise, bounds


def posterior(centred: Tensor, mask: Tensor, W: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E[z|x_o] (N, d), M_o^-1 (N, d, d) and log p(x_o) (N,); `centred` is 0 where `mask` is 0 (not observed).

    M_o = sum over observed i of w_i w_i^T + sigma^2 I: for all examples one product of the mask with the rows' outer squares.
    """
    d = W.shape[1]
    squares = (W[:, :, None] * W[:, None, :]).flatten(1)  # (D, d^2)
    M = (mask @ squares).view(-1, d, d) + noise * torch.eye(d).to(W)
    roots = torch.linalg.cholesky(M)
    projected = centred @ W  # (N, d)
    inverses = torch.cholesky_inverse(roots)
    z = (inverses @ projected[:, :, None])[:, :, 0]
    square = (centred.square().sum(1) - (projected * z).sum(1)) / noise  # Woodbury
    number = mask.sum(1)
    log_determinant = 2 * roots.diagonal(dim1=1, dim2=2).log().sum(1) + (number - d) * noise.log()
    return z, inverses, -(number * math.log(2 * math.pi) + log_determinant + square) / 2
