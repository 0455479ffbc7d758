"""Leading eigenvalues and eigenvectors of a sample covariance, by the cheapest way that is exact enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from regen.seeding import generator

DIRECT = 1536  # the smaller of N and D up to which the whole covariance or Gram matrix is decomposed
CHUNK = 2**18  # values that are centred at once
BLOCK = 2**23  # values of X that are made float64 at once: 64 MiB
Values = Callable[[Tensor], Tensor]  # rows of what is kept -> rows of numbers, (n, D)
TOLERANCE = 3e-4  # residual of an eigenpair, as a share of its eigenvalue


def spectrum(X: Tensor, d: int, values: Values = Tensor.double) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Decompose the covariance of X (N, D), with divisor N - 1, in float64.

    Args:
        X: the data, or what they are made from: images as bytes, say.
        d: eigenvectors that are wanted.
        values: makes rows of the data from rows of X, some at a time.

    Returns:
        mean (D,), total variance (), eigenvalues in falling order (all of them, or the d largest where N and D are large) and
        as many eigenvectors as rows, d at least, each with its largest entry positive.
    """
    N, D = len(X), values(X[:1]).shape[1]
    if N * D <= BLOCK:
        X, values = values(X).double(), Tensor.double
    mean = torch.zeros(D, dtype=torch.float64, device=X.device)
    for part in _parts(X, values, BLOCK // D):
        mean += part.sum(0)
    mean /= N
    if min(N, D) > max(DIRECT, 4 * d):
        leading = _krylov(X, values, mean, d)
        if leading is not None:
            return mean, *leading
    if D <= N:
        scatter = torch.zeros(D, D, dtype=torch.float64, device=X.device)
        for part in _parts(X, values, CHUNK // D):
            centred = part - mean
            scatter.addmm_(centred.T, centred)
        eigenvalues, vectors = torch.linalg.eigh(scatter / (N - 1))
        eigenvalues = eigenvalues.flip(0).clamp_min(0)
        return mean, eigenvalues.sum(), eigenvalues, signed(vectors[:, -d:].flip(1).T)
    centred = values(X) - mean
    eigenvalues, vectors = torch.linalg.eigh(centred @ centred.T / (N - 1))  # Gram matrix: the same ones that are not 0
    eigenvalues = eigenvalues.flip(0).clamp_min(0)
    basis = centred.T @ vectors[:, -d:].flip(1)  # (D, d)
    return mean, eigenvalues.sum(), eigenvalues, signed(torch.linalg.qr(basis)[0].T)  # orthonormal, tiny eigenvalues or not


def _parts(X: Tensor, values: Values, rows: int) -> Iterator[Tensor]:
    """Yield the data in float64, so many rows at a time: no copy of all is made."""
    for part in torch.split(X, max(1, rows)):
        yield values(part).double()


def signed(vectors: Tensor) -> Tensor:
    """Return the rows, each with its largest entry positive: a sign that does not depend on the algorithm."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)


def _krylov(X: Tensor, values: Values, mean: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Block Lanczos (Golub and Underwood 1977) with full orthogonalisation, until d pairs have converged; else None.

    An eigenvalue's error is quadratic in its residual |C v - lambda v|: of the size of its square over the gap to the next.
    X stays as it is: products with X - mean are corrected by the mean's part.
    """
    N, D = len(X), len(mean)
    rows = BLOCK // D

    def down(V: Tensor) -> Tensor:  # (X - mean) V, (N, .)
        product = mean.new_empty(N, V.shape[1])  # whole: small results between the large parts would fragment the heap
        for some, part in zip(torch.split(product, max(1, rows)), _parts(X, values, rows), strict=True):
            torch.mm(part, V, out=some)
        return product.sub_(mean @ V)

    def up(U: Tensor) -> Tensor:  # (X - mean)^T U, (D, .)
        product = mean.new_zeros(U.shape[1], D)
        for some, part in zip(torch.split(U, max(1, rows)), _parts(X, values, rows), strict=True):
            product += torch.mm(some.T, part)
        return product.T - torch.outer(mean, U.sum(0))

    tall = D <= N  # the smaller side carries the basis
    m, width = min(N, D), d + 16
    block = torch.randn(m, width, generator=generator(0, "krylov"), dtype=torch.float64).to(mean)
    block = torch.linalg.qr(block)[0]
    basis = images = mean.new_empty(m, 0)
    T = mean.new_empty(0, 0)  # basis^T C basis
    while True:
        old = basis.shape[1]
        basis = torch.cat([basis, block], 1)
        image = (up(down(block)) if tall else down(up(block))) / (N - 1)  # the only passes over the data, two of them
        images = torch.cat([images, image], 1)
        column = basis.T @ image
        T = torch.cat([torch.cat([T, column[:old].T]), column], 1)
        eigenvalues, rotation = torch.linalg.eigh((T + T.T) / 2)
        eigenvalues, rotation = eigenvalues[-d:].flip(0), rotation[:, -d:].flip(1)
        vectors = basis @ rotation
        residuals = (images @ rotation - vectors * eigenvalues).square().sum(0).sqrt()
        if bool((residuals <= TOLERANCE * eigenvalues).all()):
            break
        if basis.shape[1] + width > m // 2:  # the whole decomposition is no dearer than what is left
            return None
        block = image - basis @ column
        block = torch.linalg.qr(block - basis @ (basis.T @ block))[0]  # twice is enough
    if not tall:
        vectors = torch.linalg.qr(up(vectors))[0]
    total = mean.new_zeros(())
    for part in _parts(X, values, CHUNK // D):
        centred = (part - mean).flatten()
        total += torch.dot(centred, centred)
    return total / (N - 1), eigenvalues, signed(vectors.T)
