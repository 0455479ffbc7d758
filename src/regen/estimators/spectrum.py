"""Leading eigenvalues and eigenvectors of a sample covariance, by the cheapest way that is exact enough."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from regen.seeding import generator

DIRECT = 1536  # the smaller of N and D up to which the whole covariance or Gram matrix is decomposed
CHUNK = 2**18  # values that are centred at once
TOLERANCE = 3e-4  # residual of an eigenpair, as a share of its eigenvalue


def spectrum(X: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Decompose the covariance of X (N, D), with divisor N - 1, in float64.

    Returns:
        mean (D,), total variance (), eigenvalues in falling order (all of them, or the d largest where N and D are large) and
        as many eigenvectors as rows, d at least, each with its largest entry positive.
    """
    N, D = X.shape
    mean = X.sum(0, dtype=torch.float64) / N
    if min(N, D) > max(DIRECT, 4 * d):
        leading = _krylov(X.double(), mean, d)
        if leading is not None:
            return mean, *leading
    if D <= N:
        scatter = torch.zeros(D, D, dtype=torch.float64, device=X.device)
        for centred in _centred(X, mean):
            scatter.addmm_(centred.T, centred)
        values, vectors = torch.linalg.eigh(scatter / (N - 1))
        values = values.flip(0).clamp_min(0)
        return mean, values.sum(), values, signed(vectors[:, -d:].flip(1).T)
    centred = X.double() - mean
    values, vectors = torch.linalg.eigh(centred @ centred.T / (N - 1))  # Gram matrix: the same eigenvalues that are not 0
    values = values.flip(0).clamp_min(0)
    basis = centred.T @ vectors[:, -d:].flip(1)  # (D, d)
    return mean, values.sum(), values, signed(torch.linalg.qr(basis)[0].T)  # orthonormal, tiny eigenvalues or not


def _centred(X: Tensor, mean: Tensor) -> Iterator[Tensor]:
    """X - mean in float64, in parts of a few megabytes: no copy of the data is made."""
    for part in torch.split(X, max(1, CHUNK // X.shape[1])):
        yield part.double() - mean


def signed(vectors: Tensor) -> Tensor:
    """Return the rows, each with its largest entry positive: a sign that does not depend on the algorithm."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)


def _krylov(X: Tensor, mean: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Block Lanczos (Golub and Underwood 1977) with full orthogonalisation, until d pairs have converged; else None.

    An eigenvalue's error is quadratic in its residual |C v - lambda v|: of the size of its square over the gap to the next.
    X stays as it is: products with X - mean are corrected by the mean's part.
    """
    N, D = X.shape

    def down(V: Tensor) -> Tensor:  # (X - mean) V, (N, .)
        return torch.mm(X, V).sub_(mean @ V)

    def up(U: Tensor) -> Tensor:  # (X - mean)^T U, (D, .)
        return torch.mm(U.T, X).T - torch.outer(mean, U.sum(0))

    tall = D <= N  # the smaller side carries the basis
    m, width = min(N, D), d + 16
    block = torch.randn(m, width, generator=generator(0, "krylov"), dtype=torch.float64).to(X)
    block = torch.linalg.qr(block)[0]
    basis = images = X.new_empty(m, 0)
    T = X.new_empty(0, 0)  # basis^T C basis
    while True:
        old = basis.shape[1]
        basis = torch.cat([basis, block], 1)
        image = (up(down(block)) if tall else down(up(block))) / (N - 1)  # the only passes over the data
        images = torch.cat([images, image], 1)
        column = basis.T @ image
        T = torch.cat([torch.cat([T, column[:old].T]), column], 1)
        values, rotation = torch.linalg.eigh((T + T.T) / 2)
        values, rotation = values[-d:].flip(0), rotation[:, -d:].flip(1)
        vectors = basis @ rotation
        residuals = (images @ rotation - vectors * values).square().sum(0).sqrt()
        if bool((residuals <= TOLERANCE * values).all()):
            break
        if basis.shape[1] + width > m // 2:  # the whole decomposition is no dearer than what is left
            return None
        block = image - basis @ column
        block = torch.linalg.qr(block - basis @ (basis.T @ block))[0]  # twice is enough
    if not tall:
        vectors = torch.linalg.qr(up(vectors))[0]
    total = sum((torch.dot(part.flatten(), part.flatten()) for part in _centred(X, mean)), X.new_zeros(())) / (N - 1)
    return total, values, signed(vectors.T)
