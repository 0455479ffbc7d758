"""Linear-Gaussian regression, y ~ N(x^T w + b, sigma^2), by maximum likelihood (Bishop 2006, section 3.1.1).

w = (X^T X)^-1 X^T y and sigma^2 = mean squared residual; with `ridge` lambda > 0, w = (X^T X + lambda I)^-1 X^T y.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from regen.blocks import ModelConfig
from regen.errors import UserError
from regen.estimators.base import Estimator, data_matrix, float64
from regen.models.base import DataSpec
from regen.seeding import generator

TASK = "regression"


class Config(ModelConfig):
    """Linear-Gaussian regression."""

    intercept: bool = True
    ridge: float = Field(0.0, ge=0)  # lambda; the intercept is not shrunk


class Model(Estimator):
    """p(y|x) with `weights` (D,), `intercept` and `variance` sigma^2, and their standard errors."""

    config: Config
    weights: Tensor
    intercept: Tensor
    variance: Tensor
    weight_errors: Tensor
    intercept_error: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        D = math.prod(data.shape)
        for name in ("weights", "weight_errors"):
            self._buffer(name, D)
        for name in ("intercept", "intercept_error", "variance"):
            self._buffer(name)

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Fit to `x` (N, D) and `targets` (N,).

        The standard errors are sqrt(s^2 [(X^T X)^-1]_jj) with the unbiased s^2 = |residual|^2 / (N - number of weights); with
        a ridge, those of the shrunk estimate, sqrt(s^2 [(X^T X + lambda I)^-1 X^T X (X^T X + lambda I)^-1]_jj).

        Raises:
            UserError: NaN or infinite data, no more examples than weights, or X without full column rank (unless `ridge`).
        """
        X = data_matrix(arrays["x"], "linear_regression: x").double().to(self.device)
        y = data_matrix(np.asarray(arrays["targets"]).reshape(-1, 1), "linear_regression: targets").double().to(self.device)[:, 0]
        N, D = X.shape
        if len(y) != N:
            raise UserError(f"linear_regression: {N} examples but {len(y)} targets, expected as many")
        ones = X.new_full((N, 1), float(self.config.intercept))
        design = torch.cat([X, ones], 1) if self.config.intercept else X  # (N, P)
        P, ridge = design.shape[1], self.config.ridge
        if N <= P:
            raise UserError(f"linear_regression: {N} examples for {P} weights, expected more examples than weights")
        scale = design.norm(dim=0)  # columns in one scale: the rank is then no matter of units
        U, S, Vt = torch.linalg.svd(design / torch.where(scale > 0, scale, 1.0), full_matrices=False)
        rank = int((S[0] * N * torch.finfo(S.dtype).eps < S).sum())
        if ridge:
            penalty = ridge * torch.ones(P).to(X)
            if self.config.intercept:
                penalty[-1] = 0
            gram = design.T @ design
            inverse = torch.linalg.inv(gram + penalty.diag())
            estimate = inverse @ (design.T @ y)
            spread = inverse @ gram @ inverse
        elif rank < P:
            raise UserError(
                f"linear_regression: X has rank {rank}, expected {P} (some columns are combinations of others or constant); "
                "drop columns or set ridge"
            )
        else:
            estimate = (Vt.T @ ((U.T @ y) / S)) / scale
            root = Vt.T / S / scale[:, None]
            spread = root @ root.T
        residual = y - design @ estimate
        errors = (residual.square().sum() / (N - P) * spread.diagonal()).sqrt()
        self.weights, self.weight_errors = estimate[:D], errors[:D]
        if self.config.intercept:
            self.intercept, self.intercept_error = estimate[D], errors[D]
        self.variance = residual.square().mean()
        return []

    def predict(self, x: Tensor) -> Tensor:
        """Return E[y|x] (N,) of x (N, D)."""
        return torch.mv(float64(x).to(self.weights), self.weights) + self.intercept

    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log p(y|x) (N,), in nats an example."""
        square = (float64(y).to(self.weights) - self.predict(x)).square() / self.variance
        return (square + self.variance.log() + math.log(2 * math.pi)).mul(-0.5)

    def draw(self, x: Tensor, seed: int = 0) -> Tensor:
        """Return one draw of y (N,) for each x (N, D)."""
        mean = self.predict(x)
        noise = torch.randn(len(mean), generator=generator(seed, "sample"), dtype=torch.float64)
        return mean + self.variance.sqrt() * noise.to(mean)
