"""Gaussian mixture with full covariances, p(x) = sum_k w_k N(x; mu_k, Sigma_k), fitted by expectation maximisation.

`GaussianMixture` is usable alone and has scikit-learn's names; `Model` is the pipeline's member around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from regen.blocks import ModelConfig
from regen.errors import UserError
from regen.estimators.base import Estimator, data_matrix, float64
from regen.estimators.gaussian_sums import GaussianSums
from regen.estimators.naming import labelled, named
from regen.models.base import DataSpec
from regen.seeding import derive_seed, generator

TINY = 10 * torch.finfo(torch.float64).eps  # keeps the mean of an empty component defined

TASK = "mixtures"


class GaussianMixture:
    """Mixture of Gaussians with full covariances, in float64, on the device of the data.

    EM (Dempster, Laird and Rubin 1977; Bishop 2006, section 9.2.2), log-sum-exp throughout. Memory is O(N K + N D): the
    examples pass in chunks through two matrix products (see `GaussianSums`).

    Parameters:
        n_components: K.
        tol: stop when an iteration gains less than this, in nats an example.
        reg_covar: least eigenvalue of a covariance. The M step is the exact maximum under this condition, so the likelihood
            never falls (scikit-learn adds the number to the diagonal, which may lower it).
        max_iter: iterations at most.
        n_init: restarts; the one with the highest likelihood is kept.
        weights_init, means_init, covariances_init: the start, (K,), (K, D), (K, D, D). What is not given comes from
            k-means++ seeds (Arthur and Vassilvitskii 2007) or from the given means, each example belonging to the nearest.
        random_state: seed of the restarts.

    Attributes:
        weights_ (K,), means_ (K, D), covariances_ (K, D, D): float64 tensors.
        lower_bounds_: mean log-likelihood before each iteration, in nats an example; `lower_bound_` is the last.
        converged_, n_iter_: whether `tol` was reached, and when.
    """

    weights_: Tensor
    means_: Tensor
    covariances_: Tensor

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        weights_init: Any = None,
        means_init: Any = None,
        covariances_init: Any = None,
        random_state: int = 0,
    ) -> None:
        for name, value, least in (("n_components", n_components, 1), ("max_iter", max_iter, 1), ("n_init", n_init, 1)):
            if int(value) != value or value < least:
                raise UserError(f"GaussianMixture: {name} is {value!r}, expected a whole number from {least} up")
        for name, number in (("tol", tol), ("reg_covar", reg_covar)):
            if not 0 <= number < math.inf:
                raise UserError(f"GaussianMixture: {name} is {number!r}, expected a number from 0 up")
        self.n_components, self.tol, self.reg_covar = n_components, tol, reg_covar
        self.max_iter, self.n_init, self.random_state = max_iter, n_init, random_state
        self.weights_init, self.means_init, self.covariances_init = weights_init, means_init, covariances_init

    @classmethod
    def from_parameters(cls, weights: Any, means: Any, covariances: Any) -> GaussianMixture:
        """Return the mixture with these parameters, as if it had been fitted."""
        mixture = cls(len(weights))
        mixture.weights_, mixture.means_ = float64(weights), float64(means)
        mixture.covariances_ = float64(covariances)
        return mixture

    def fit(self, X: Any, y: None = None) -> GaussianMixture:
        """Fit to X (N, D).

        Raises:
            UserError: NaN or infinite data, N < K, fewer than K different points, all points equal, a start of another shape,
                or a covariance that is not positive definite (only where `reg_covar` is 0).
        """
        X = data_matrix(X, "GaussianMixture").double()
        K, (N, D) = self.n_components, X.shape
        if K > N:
            raise UserError(f"GaussianMixture: {K} components for {N} examples; ask for at most {N}")
        if torch.equal(X, X[:1].expand_as(X)):
            raise UserError(f"GaussianMixture: all {N} points are equal, so there is nothing to fit; check the data")
        for name, start, shape in (
            ("weights_init", self.weights_init, (K,)),
            ("means_init", self.means_init, (K, D)),
            ("covariances_init", self.covariances_init, (K, D, D)),
        ):
            if start is not None and tuple(np.shape(start)) != shape:
                raise UserError(f"GaussianMixture: {name} has shape {tuple(np.shape(start))}, expected {shape}")
        best = -math.inf
        sums = GaussianSums(X)
        for restart in range(1 if self.means_init is not None else self.n_init):
            parameters = self._start(X, restart)
            bounds: list[float] = []
            converged = False
            for _ in range(self.max_iter):
                log_likelihood, *statistics = sums(*parameters)
                bounds.append(log_likelihood / N)
                parameters = self._maximise(*statistics)
                converged = len(bounds) > 1 and abs(bounds[-1] - bounds[-2]) < self.tol
                if converged:
                    break
            if bounds[-1] > best:
                best = bounds[-1]
                self.weights_, self.means_, self.covariances_ = parameters
                self.lower_bounds_, self.lower_bound_ = bounds, best
                self.converged_, self.n_iter_ = converged, len(bounds)
        return self

    def score_samples(self, X: Any) -> Tensor:
        """Return log p(x) of each example, (N,), in nats."""
        return torch.logsumexp(self._joint(X), 1)

    def score(self, X: Any, y: None = None) -> float:
        """Return the mean log-likelihood, in nats an example."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: Any) -> Tensor:
        """Return the responsibilities p(k|x), (N, K)."""
        return torch.softmax(self._joint(X), 1)

    def predict(self, X: Any) -> Tensor:
        """Return the most probable component of each example, (N,)."""
        return self._joint(X).argmax(1)

    def sample(self, n_samples: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return `n_samples` draws (n, D) and the components (n,) that they come from."""
        draw = generator(seed, "mixture")
        labels = torch.multinomial(self.weights_.cpu(), n_samples, replacement=True, generator=draw)
        noise = torch.randn(n_samples, self.means_.shape[1], generator=draw, dtype=torch.float64).to(self.means_.device)
        labels = labels.to(self.means_.device)
        samples = torch.empty_like(noise)
        for k, (mean, root) in enumerate(zip(self.means_, torch.linalg.cholesky(self.covariances_), strict=True)):
            chosen = labels == k
            samples[chosen] = mean + noise[chosen] @ root.T
        return samples, labels

    def bic(self, X: Any) -> float:
        """Bayesian information criterion, -2 log p(X) + parameters * log N (Schwarz 1978): lower is better."""
        K, D = self.means_.shape
        return -2 * self.score(X) * len(X) + (K - 1 + K * D + K * D * (D + 1) // 2) * math.log(len(X))

    def _joint(self, X: Any) -> Tensor:
        """log w_k + log N(x; mu_k, Sigma_k), (N, K)."""
        X = data_matrix(X, "GaussianMixture").double()
        if X.shape[1] != self.means_.shape[1]:
            raise UserError(f"GaussianMixture: data of {X.shape[1]} dimensions, expected {self.means_.shape[1]} as in the fit")
        return GaussianSums(X).joint(self.weights_.to(X), self.means_.to(X), self.covariances_.to(X))

    def _start(self, X: Tensor, restart: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, means and covariances to begin with: what was given, and the rest from the nearest mean's examples."""
        K = self.n_components
        start = (self.weights_init, self.means_init, self.covariances_init)
        if all(given is not None for given in start):
            return tuple(float64(given).to(X) for given in start)  # type: ignore[return-value]
        given = None if self.means_init is None else float64(self.means_init).to(X)
        means = _seeds(X, K, derive_seed(self.random_state, "k-means++", restart)) if given is None else given
        centred = X - X.mean(0)  # the expanded square below loses digits far from the origin
        shifted = means - X.mean(0)
        nearest = (shifted.square().sum(1) - 2 * centred @ shifted.T).argmin(1)
        counts = torch.bincount(nearest, minlength=K).double()
        sums = torch.stack([centred[nearest == k].sum(0) for k in range(K)])
        scatters = torch.stack([centred[nearest == k].T @ centred[nearest == k] for k in range(K)])
        zero = torch.zeros_like(means)
        weights, assigned, covariances = self._maximise(counts, zero + X.mean(0), sums, scatters)
        return (
            weights if self.weights_init is None else float64(self.weights_init).to(X),
            assigned if given is None else given,
            covariances if self.covariances_init is None else float64(self.covariances_init).to(X),
        )

    def _maximise(self, counts: Tensor, about: Tensor, sums: Tensor, scatters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The M step, from responsibilities' sums (K,), (K, D) and (K, D, D) about the points `about` (K, D)."""
        n = counts + TINY
        shift = sums / n[:, None]
        covariances = scatters / n[:, None, None] - shift[:, :, None] * shift[:, None, :]
        floor = self.reg_covar * torch.eye(covariances.shape[1], dtype=n.dtype, device=n.device)
        if bool((torch.linalg.cholesky_ex(covariances - floor).info > 0).any()):  # some eigenvalue lies below reg_covar
            values, vectors = torch.linalg.eigh(covariances)
            covariances = vectors * values.clamp_min(self.reg_covar)[:, None, :] @ vectors.mT
        return n / n.sum(), about + shift, covariances


def _seeds(X: Tensor, K: int, seed: int) -> Tensor:
    """Return K examples (K, D), each drawn with a probability that grows with its squared distance to those before.

    Raises:
        UserError: fewer than K different points.
    """
    from sklearn.cluster import kmeans_plusplus  # takes a second to import

    centres: np.ndarray = kmeans_plusplus(X.cpu().numpy(), K, random_state=seed % 2**32)[0]
    if len(np.unique(centres, axis=0)) < K and (points := len(torch.unique(X, dim=0))) < K:
        raise UserError(f"GaussianMixture: {K} components for {points} different points; ask for at most {points}")
    return torch.from_numpy(centres).to(X)


class Config(ModelConfig):
    """A Gaussian mixture on vectors, e.g. on another model's latents."""

    components: int = Field(3, ge=1, le=10_000)  # K
    initial: Literal["k-means++", "labels"] = "k-means++"  # where the means begin: drawn, or the labelled examples' class means
    labels_per_class: PositiveInt = 5  # labelled examples that may be looked at: they name the clusters
    covariance_floor: float = Field(1e-6, ge=0)  # smallest eigenvalue of a covariance
    restarts: PositiveInt = 5
    tolerance: float = Field(1e-7, ge=0)  # nats an example
    max_iterations: PositiveInt = 500


class Model(Estimator):
    """Gaussian mixture as a member of the pipeline; where there are labels, its components are named by a few of them."""

    config: Config
    weights: Tensor
    means: Tensor
    covariances: Tensor
    component_classes: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        K, D = config.components, math.prod(data.shape)
        self._buffer("weights", K, value=1 / K)
        self._buffer("means", K, D)
        self._buffer("covariances", K, D, D).diagonal(dim1=1, dim2=2).fill_(1)
        self.register_buffer("component_classes", torch.arange(K))  # (K,): the class that each component stands for

    def check(self) -> None:
        """Check that there is such a mixture. Raises ValueError where there is none."""
        if not bool((self.weights >= 0).all() and self.weights.sum() > 0):
            raise ValueError("weights of components are negative, or all 0")
        if bool(torch.linalg.cholesky_ex(self.covariances).info.any()):
            raise ValueError("a covariance is not positive definite")
        classes = max(len(self.data.labels), self.config.components)
        if not bool(((self.component_classes >= 0) & (self.component_classes < classes)).all()):
            raise ValueError("component_classes names an unknown class")

    @property
    def mixture(self) -> GaussianMixture:
        """The fitted distribution."""
        return GaussianMixture.from_parameters(self.weights, self.means, self.covariances)

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Fit to `x` (N, D); `labels` (N,), where there are any, are read for `labels_per_class` examples a class only."""
        X = float64(arrays["x"]).flatten(1).to(self.device)
        examples = labelled(arrays.get("labels"), self.config.labels_per_class, seed)
        means = None
        if self.config.initial == "labels":
            if examples is None or len(examples) != self.config.components:
                classes = 0 if examples is None else len(examples)
                raise UserError(
                    f"mixture: initial is 'labels' with {self.config.components} components for {classes} classes; "
                    f"set components to {classes} or initial to k-means++"
                )
            means = torch.stack([X[rows].mean(0) for rows in examples.values()])
        config = self.config
        fitted = GaussianMixture(
            config.components, tol=config.tolerance, reg_covar=config.covariance_floor, max_iter=config.max_iterations,
            n_init=config.restarts, means_init=means, random_state=seed,
        ).fit(X)  # fmt: skip
        self.weights, self.means, self.covariances = fitted.weights_, fitted.means_, fitted.covariances_
        if examples is not None:
            self.component_classes = named(lambda rows: self.mixture.predict_proba(X[rows]), examples).to(self.device)
        return [{"iteration": i, "log_likelihood": bound} for i, bound in enumerate(fitted.lower_bounds_)]

    def log_likelihood(self, x: Any) -> Tensor:
        """Return log p(x) of each example, (N,), in nats."""
        return self.mixture.score_samples(x)

    def responsibilities(self, x: Any) -> Tensor:
        """Return p(k|x), (N, K)."""
        return self.mixture.predict_proba(x)

    def classify(self, x: Any) -> Tensor:
        """Return the class that the most probable component stands for, (N,)."""
        return self.component_classes[self.mixture.predict(x)]

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n draws, float32 (n, D): latents for the decoder that the data come from."""
        return self.mixture.sample(n, seed)[0].float()
