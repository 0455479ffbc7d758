"""Probabilistic principal component analysis: x = W z + mu + noise, z ~ N(0, I), noise ~ N(0, sigma^2 I).

Tipping and Bishop 1999. `PPCA` is usable alone and has scikit-learn's names; `Model` is the pipeline's member around it.
As sigma tends to 0, it tends to PCA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from regen.blocks import ModelConfig
from regen.errors import UserError
from regen.estimators import missing
from regen.estimators.base import Estimator, data_matrix, flat_images, float64
from regen.estimators.spectrum import signed, spectrum
from regen.models.base import DataSpec
from regen.seeding import generator

TASK = "components"


class PPCA:
    """Probabilistic PCA in closed form, in float64, on the device of the data; by EM where values are missing (NaN).

    With the eigenvalues lambda_1 >= ... >= lambda_D and the eigenvectors U of the sample covariance (divisor N - 1, as in
    scikit-learn): sigma^2 = mean of the discarded eigenvalues, W = U (Lambda - sigma^2 I)^(1/2) (equations 7 and 8).

    Parameters:
        n_components: d, latent dimensions; less than D.
        noise: which eigenvalues sigma^2 averages where N <= D. `all`: the D - d discarded ones, zeros among them: the maximum
            likelihood. `observed`: min(N, D) - d of them, as scikit-learn's PCA does. The same where N > D.
        tol, max_iter: of EM: stop when an iteration gains less than `tol` nats an example.

    Attributes:
        mean_ (D,), components_ (d, D): orthonormal rows in order of variance, each with its largest entry positive.
        explained_variance_ (d,), noise_variance_ (): lambda_1..d and sigma^2.
        noise_dimensions_: how many eigenvalues sigma^2 is the mean of.
        spectrum_: all eigenvalues where the whole decomposition was made (min(N, D) <= 1536), else lambda_1..d.
        log_likelihoods_: of the observed values before each iteration of EM, in nats an example; empty without EM.
    """

    mean_: Tensor
    components_: Tensor
    explained_variance_: Tensor
    noise_variance_: Tensor
    spectrum_: Tensor
    log_likelihoods_: list[float]

    def __init__(
        self, n_components: int, *, noise: Literal["all", "observed"] = "all", tol: float = 1e-6, max_iter: int = 1000
    ) -> None:
        if int(n_components) != n_components or n_components < 1:
            raise UserError(f"PPCA: n_components is {n_components!r}, expected a whole number from 1 up")
        if noise not in ("all", "observed"):
            raise UserError(f"PPCA: noise is {noise!r}, expected 'all' or 'observed'")
        self.n_components, self.noise, self.tol, self.max_iter = n_components, noise, tol, max_iter

    @classmethod
    def from_parameters(
        cls, mean: Tensor, components: Tensor, explained_variance: Tensor, noise_variance: Tensor, noise_dimensions: int
    ) -> PPCA:
        """Return the model with these parameters (see Attributes), as if it had been fitted."""
        model = cls(len(components))
        model.mean_, model.components_, model.explained_variance_ = mean, components, explained_variance
        model.noise_variance_, model.noise_dimensions_ = noise_variance, noise_dimensions
        model.spectrum_, model.log_likelihoods_ = explained_variance, []
        return model

    def fit(self, X: Any, y: None = None) -> PPCA:
        """Fit to X (N, D). NaN marks a value that was not observed.

        Raises:
            UserError: infinite data, one example only, all examples equal, d >= D or d >= N, a row or a column without an
                observed value, or data that d dimensions explain wholly (sigma = 0: there is no density).
        """
        X = data_matrix(X, "PPCA", missing=True)
        (N, D), d = X.shape, self.n_components
        if N < 2:
            raise UserError("PPCA: one example only, expected at least two: one has no covariance")
        if d >= min(N, D):
            raise UserError(
                f"PPCA: {d} latent dimensions for {N} examples of {D} dimensions, expected {min(N, D) - 1} at most; "
                "lower n_components"
            )
        if bool(X.sum().isnan()):
            self.mean_, W, self.noise_variance_, self.log_likelihoods_ = missing.fit(X.double(), d, self.tol, self.max_iter)
            vectors, scales, _ = torch.linalg.svd(W, full_matrices=False)
            self.components_, self.noise_dimensions_ = signed(vectors.T), D - d
            self.explained_variance_ = self.spectrum_ = scales.square() + self.noise_variance_
            return self
        self.log_likelihoods_ = []
        self.mean_, total, self.spectrum_, vectors = spectrum(X, d)
        if total <= 1e-15 * self.mean_.square().sum():
            raise UserError(f"PPCA: all {N} examples are equal, so there is no variance to model; check the data")
        self.components_, self.explained_variance_ = vectors[:d], self.spectrum_[:d]
        left = total - self.explained_variance_.sum()
        if left <= 1e-13 * total:
            raise UserError(f"PPCA: {d} dimensions explain all of the variance, so sigma = 0: no density; lower n_components")
        self.noise_dimensions_ = (D if self.noise == "all" else min(N, D)) - d
        self.noise_variance_ = left / self.noise_dimensions_
        return self

    def truncated(self, n_components: int) -> PPCA:
        """Return the fit with fewer components: the decomposition is nested, so it is the fit for that dimension."""
        if not 1 <= n_components <= self.n_components:
            raise UserError(
                f"PPCA: {n_components} components of a fit with {self.n_components}; ask for 1 to {self.n_components}"
            )
        kept, discarded = self.explained_variance_[:n_components], self.explained_variance_[n_components:]
        count = self.noise_dimensions_ + len(discarded)
        noise = (self.noise_variance_ * self.noise_dimensions_ + discarded.sum()) / count
        return PPCA.from_parameters(self.mean_, self.components_[:n_components], kept, noise, count)

    @property
    def W(self) -> Tensor:  # noqa: N802 (the paper's name)
        """W = U (Lambda - sigma^2 I)^(1/2), (D, d), with R = I."""
        scale = (self.explained_variance_ - self.noise_variance_).clamp_min(0).sqrt()
        return self.components_.T.mul(scale)

    def score_samples(self, X: Any) -> Tensor:
        """Return log p(x) of the observed values of each example, (N,), in nats."""
        X = self._data(X)
        if bool(X.sum().isnan()):
            return self._posterior(X)[1]
        d, D = self.components_.shape
        centred = X - self.mean_
        # x^T C^-1 x = |x|^2 / sigma^2 - sum_i (1 / sigma^2 - 1 / lambda_i) (u_i^T x)^2
        shrink = 1 / self.noise_variance_ - 1 / self.explained_variance_
        square = centred.square().sum(1) / self.noise_variance_ - (centred @ self.components_.T).square() @ shrink
        log_determinant = self.explained_variance_.log().sum() + (D - d) * self.noise_variance_.log()
        return torch.mul(square + log_determinant + D * math.log(2 * math.pi), -0.5)

    def score(self, X: Any, y: None = None) -> float:
        """Return the mean log-likelihood, in nats an example."""
        return float(self.score_samples(X).mean())

    def transform(self, X: Any) -> Tensor:
        """Return E[z|x] = M^-1 W^T (x - mu), M = W^T W + sigma^2 I, (N, d); given the observed values where some are missing."""
        X = self._data(X)
        if bool(X.sum().isnan()):
            return self._posterior(X)[0]
        return torch.mm(X - self.mean_, self.W / self.explained_variance_)  # M = Lambda, since R = I

    def posterior_covariance(self) -> Tensor:
        """Return Cov[z|x] = sigma^2 M^-1, (d, d): the same for every x."""
        return (self.noise_variance_ / self.explained_variance_).diag()

    def inverse_transform(self, z: Any) -> Tensor:
        """Return E[x|z] = W z + mu, (N, D), without noise."""
        return torch.addmm(self.mean_, float64(z).to(self.mean_), self.W.T)

    def project(self, X: Any) -> Tensor:
        """Return PCA's scores P (x - mu), (N, d): `transform` as sigma -> 0. Uncorrelated over the training data."""
        return torch.mm(self._data(X) - self.mean_, self.components_.T)

    def complete(self, X: Any) -> Tensor:
        """Return X with each NaN replaced by its expectation given the example's observed values."""
        X = self._data(X)
        return torch.where(X.isnan(), self.inverse_transform(self._posterior(X)[0]), X)

    def sample(self, n_samples: int = 1, seed: int = 0, noise: bool = True) -> Tensor:
        """Return draws (n, D): E[x|z] for z ~ N(0, I), plus N(0, sigma^2) on each dimension where `noise`."""
        draw = generator(seed, "ppca")
        d, D = self.components_.shape
        x = self.inverse_transform(torch.randn(n_samples, d, generator=draw, dtype=torch.float64))
        if noise:
            x += self.noise_variance_.sqrt() * torch.randn(n_samples, D, generator=draw, dtype=torch.float64).to(x)
        return x

    def get_covariance(self) -> Tensor:
        """Return the model's covariance W W^T + sigma^2 I, (D, D)."""
        covariance = self.W @ self.W.T
        covariance.diagonal().add_(self.noise_variance_)
        return covariance

    def _data(self, X: Any) -> Tensor:
        X = data_matrix(X, "PPCA", missing=True)
        if X.shape[1] != len(self.mean_):
            raise UserError(f"PPCA: data of {X.shape[1]} dimensions, expected {len(self.mean_)} as in the fit")
        return torch.Tensor.to(X, self.mean_)

    def _posterior(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """E[z|x_o] (N, d) and log p(x_o) (N,), given each example's observed values x_o."""
        observed = ~X.isnan()
        centred = torch.where(observed, X - self.mean_, 0.0)
        z, _, log_likelihood = missing.posterior(centred, observed.to(X), self.W, self.noise_variance_)
        return z, log_likelihood


class Config(ModelConfig):
    """Probabilistic PCA: one decomposition holds the models of all sizes up to `latent_dim`."""

    latent_dim: PositiveInt = 64  # d
    sizes: tuple[PositiveInt, ...] = Field((), strict=False)  # smaller latent dimensions to show beside it
    noise: Literal["all", "observed"] = "all"  # what sigma^2 averages where N <= D: see PPCA

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if any(size > self.latent_dim for size in self.sizes):
            raise ValueError(f"sizes of at most latent_dim ({self.latent_dim})")
        return self


class Model(Estimator):
    """Probabilistic PCA of images, or of rows of numbers. `latent_dim` may be any up to the fitted one, by default that."""

    config: Config
    data_sized = ("spectrum",)
    mean: Tensor
    components: Tensor
    spectrum: Tensor
    noise_variance: Tensor
    noise_dimensions: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        D, d = math.prod(data.shape), config.latent_dim
        self._buffer("mean", D)
        self._buffer("components", d, D).fill_diagonal_(1)
        self._buffer("spectrum", d, value=1.0)
        self._buffer("noise_variance", value=1.0)
        self.register_buffer("noise_dimensions", torch.tensor(max(D - d, 0)))

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Fit to `x`: uint8 images (N, H, W, C), or rows (N, D)."""
        fitted = PPCA(self.config.latent_dim, noise=self.config.noise).fit(flat_images(arrays["x"]).to(self.device))
        self.mean, self.components, self.spectrum = fitted.mean_, fitted.components_, fitted.spectrum_
        self.noise_variance, self.noise_dimensions = fitted.noise_variance_, torch.tensor(fitted.noise_dimensions_)
        return []

    def check(self) -> None:
        """Check that there is such a distribution. Raises ValueError where there is none."""
        if len(self.spectrum) < self.config.latent_dim or not bool((self.spectrum >= 0).all()):
            raise ValueError(
                f"spectrum has {len(self.spectrum)} values, expected {self.config.latent_dim} or more, none negative"
            )
        if not bool(self.noise_variance > 0) or not 0 <= int(self.noise_dimensions) <= len(self.mean):
            raise ValueError("noise_variance or noise_dimensions is out of range")

    def at(self, latent_dim: int | None = None) -> PPCA:
        """Return the fitted distribution with so many latent dimensions."""
        d = self.config.latent_dim
        fit = PPCA.from_parameters(self.mean, self.components, self.spectrum[:d], self.noise_variance, int(self.noise_dimensions))
        return fit if latent_dim is None else fit.truncated(latent_dim)

    def encode(self, x: Tensor, latent_dim: int | None = None) -> Tensor:
        """Return E[z|x] (N, d) of images (N, C, H, W) in [0, 1]."""
        return self.at(latent_dim).transform(x.flatten(1)).float()

    def decode(self, z: Tensor) -> Tensor:
        """Return E[x|z] (N, C, H, W), without noise, by the model with as many latent dimensions as z (N, d) has."""
        return self._shaped(self.at(z.shape[1]).inverse_transform(z))

    def reconstruct(self, x: Tensor, latent_dim: int | None = None) -> Tensor:
        """Return E[x|z] at z = E[z|x]."""
        return self.decode(self.encode(x, latent_dim))

    def sample(self, n: int, seed: int = 0, latent_dim: int | None = None) -> Tensor:
        """Return n new examples E[x|z], z ~ N(0, I), without noise; images clipped to [0, 1]."""
        x = self._shaped(self.at(latent_dim).sample(n, seed, noise=False))
        return x.clamp(0, 1) if x.ndim == 4 else x

    def log_likelihood(self, x: Tensor, latent_dim: int | None = None) -> Tensor:
        """Return log p(x) (N,), in nats an example with values in [0, 1]; of the observed values where some are NaN."""
        return self.at(latent_dim).score_samples(x.flatten(1))

    def complete(self, x: Tensor, latent_dim: int | None = None) -> Tensor:
        """Return the images with each NaN pixel replaced by its expectation given the others."""
        return self._shaped(self.at(latent_dim).complete(x.flatten(1)))

    def _shaped(self, rows: Tensor) -> Tensor:
        return rows.float().view(-1, *self.data.shape)
