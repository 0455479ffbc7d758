"""What a Gaussian mixture's EM needs of all the data: its two sums, in chunks that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from regen.errors import UserError

NARROW = 1e7  # precision times variance of the data beyond which expanded squares would lose digits that matter


class GaussianSums:
    """Joint log-densities of fixed data X (N, D) under K Gaussians, and their responsibilities' sums, in one pass.

    log w_k N(x; mu_k, Sigma_k) is linear in the features f(x) = [x_i x_j (i <= j), x_i, 1]: with coefficients C (K, P) the
    E step is C f and the M step's sums are R f^T: two matrix products a chunk, half the operations of whitening x by each
    component. x is centred on the data's mean first. Components much narrower than the data would lose digits in the expanded
    square; for those, and where few components make the features not worth their building, each x - mu_k is formed instead.
    """

    def __init__(self, X: Tensor) -> None:
        self.X, self.center = X, X.mean(0)
        self.N, self.D = X.shape
        self.rows = (X - self.center).T.contiguous()  # (D, N)
        self.deviation = self.rows.square().mean(1).sqrt()
        D, self.block = self.D, max(1, self.D // 8)
        pairs = [(i, j) for a in range(0, D, self.block) for i in range(a, min(a + self.block, D)) for j in range(a, D)]
        self.i, self.j = torch.tensor(pairs, device=X.device).T
        # a pair inside a diagonal block occurs twice, as (i, j) and (j, i); any other stands for both
        self.twice = torch.where(self.i // self.block == self.j // self.block, 1.0, 2.0).double()
        self.P = len(pairs) + D + 1
        self.cached = 2**20 if X.device.type == "cpu" else 2**27  # numbers a chunk: 8 MB of features, in the cache of a core

    def __call__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> tuple[float, Tensor, Tensor, Tensor, Tensor]:
        """Return log p(X), then sums over the data of r_k, and of r_k d and r_k d d^T with d = x - `about`_k.

        Returns:
            (log-likelihood in nats, counts (K,), about (K, D), sums (K, D), scatters (K, D, D)).
        """
        total = torch.zeros((), dtype=torch.float64, device=self.X.device)
        if self._expanded(means, covariances):
            C = self._coefficients(weights, means, covariances)
            S = torch.zeros_like(C)
            for _, f in self._features():
                R = C @ f  # (K, B)
                total += _normalise(R)
                S.addmm_(R, f.T)
            Q = len(self.i)
            scatters = means.new_empty(len(means), self.D, self.D)
            scatters[:, self.i, self.j] = scatters[:, self.j, self.i] = S[:, :Q]
            return float(total), S[:, -1], self.center.expand_as(means), S[:, Q:-1], scatters
        whiteners, constants = _whiteners(weights, covariances)
        counts, sums, scatters = torch.zeros_like(weights), torch.zeros_like(means), torch.zeros_like(covariances)
        for x in torch.split(self.X, max(256, self.cached // (8 * self.D))):
            R = _whitened(x, means, whiteners, constants)
            total += _normalise(R)
            counts += R.sum(1)
            for k, r in enumerate(R):
                d = x - means[k]
                rd = r[:, None] * d
                sums[k] += rd.sum(0)
                scatters[k].addmm_(rd.T, d)
        return float(total), counts, means, sums, scatters

    def joint(self, weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
        """Return log w_k N(x; mu_k, Sigma_k), (N, K)."""
        joint = self.X.new_empty(len(means), self.N)
        if self._expanded(means, covariances):
            C = self._coefficients(weights, means, covariances)
            for rows, f in self._features():
                joint[:, rows] = C @ f
        else:
            whiteners, constants = _whiteners(weights, covariances)
            size = max(256, self.cached // (8 * self.D))
            for start in range(0, self.N, size):
                joint[:, start : start + size] = _whitened(self.X[start : start + size], means, whiteners, constants)
        return joint.T

    def _expanded(self, means: Tensor, covariances: Tensor) -> bool:
        """Whether the expanded square is worth it and keeps about nine digits."""
        if self.D > 128 or (self.D > 8 and 16 * len(means) < max(self.D, 48)):
            return False
        spread = torch.maximum(self.deviation, (means - self.center).abs())  # (K, D): a mean may lie outside the data
        terms = _precisions(covariances)[0].abs() * spread[:, :, None] * spread[:, None, :]
        return bool(terms.sum((1, 2)).max() < NARROW)

    def _coefficients(self, weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
        """(K, P): log w N(x; mu, Sigma) = c - (x^T Sigma^-1 x) / 2 + mu^T Sigma^-1 x."""
        precisions, log_determinants = _precisions(covariances)
        mu = means - self.center
        linear = (precisions @ mu[:, :, None])[:, :, 0]
        constant = weights.log() - (log_determinants + self.D * math.log(2 * math.pi) + (mu * linear).sum(1)) / 2
        return torch.cat([-0.5 * self.twice * precisions[:, self.i, self.j], linear, constant[:, None]], 1)

    def _features(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows, their features (P, B)); the buffer is used again, and starts with the products by blocks of rows."""
        size = min(self.N, max(256, min(16384 if self.X.device.type == "cpu" else self.N, self.cached // self.P)))
        buffer = self.X.new_ones(self.P, size)
        for start in range(0, self.N, size):
            x = self.rows[:, start : start + size]  # (D, B)
            B = x.shape[1]
            f = buffer[:, :B]
            at = 0
            for a in range(0, self.D, self.block):
                wide, tail = min(self.block, self.D - a), self.D - a
                torch.mul(x[a : a + wide, None], x[None, a:], out=f[at : at + wide * tail].view(wide, tail, B))
                at += wide * tail
            f[at:-1] = x
            yield slice(start, start + B), f


def _normalise(joint: Tensor) -> Tensor:
    """Turn joint log-densities (K, B) into responsibilities, in place, and return sum_b log sum_k exp(joint), by log-sum-exp."""
    top = joint.amax(0)
    total = joint.sub_(top).exp_().sum(0)
    joint.div_(total)
    return torch.add(top.sum(), total.log().sum())


def _roots(covariances: Tensor) -> Tensor:
    roots: Tensor
    roots, info = torch.linalg.cholesky_ex(covariances)
    if bool((info > 0).any()):
        k = int((info > 0).nonzero()[0])
        raise UserError(
            f"GaussianMixture: the covariance of component {k} is not positive definite (too few or too similar examples); "
            "raise reg_covar or ask for fewer components"
        )
    return roots


def _precisions(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses (K, D, D) and log-determinants (K,) of the covariances."""
    roots = _roots(covariances)
    return torch.cholesky_inverse(roots), 2 * roots.diagonal(dim1=1, dim2=2).log().sum(1)


def _whiteners(weights: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse Cholesky roots, transposed (K, D, D), and the constants of the log-densities (K,)."""
    roots = _roots(covariances)
    eye = torch.eye(roots.shape[1], dtype=roots.dtype, device=roots.device).expand_as(roots)
    constants = weights.log() - roots.diagonal(dim1=1, dim2=2).log().sum(1) - roots.shape[1] * math.log(2 * math.pi) / 2
    return torch.linalg.solve_triangular(roots, eye, upper=False).mT.contiguous(), constants


def _whitened(x: Tensor, means: Tensor, whiteners: Tensor, constants: Tensor) -> Tensor:
    """Joint log-densities (K, B) from white coordinates (x - mu_k) L_k^-T."""
    squares = [((x - mean) @ whitener).square().sum(1) for mean, whitener in zip(means, whiteners, strict=True)]
    return constants[:, None] - torch.stack(squares) / 2
