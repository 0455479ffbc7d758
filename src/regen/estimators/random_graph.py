"""Random graphs whose edges depend on the nodes' features: P(e_ij = 1) = sigmoid(a s_ij + b), s_ij = x_i^T x_j, i < j.

A logistic regression on s over all pairs of all graphs. Log-likelihood: sum e (a s + b) - log(1 + exp(a s + b)); gradient:
d/da = sum (e - p) s, d/db = sum (e - p); Hessian: -sum p (1 - p) (s, 1)(s, 1)^T, so it is concave.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from regen.blocks import ModelConfig
from regen.errors import UserError
from regen.estimators.base import Estimator, data_matrix, float64
from regen.models.base import DataSpec
from regen.seeding import generator

TASK = "graphs"


class Config(ModelConfig):
    """Random graphs by feature similarity: gradient ascent first, then Newton's method to the optimum."""

    iterations: PositiveInt = 1000  # of the ascent, at most
    tolerance: float = Field(1e-10, gt=0)  # Newton stops where the gradient, a pair, is below this
    newton_iterations: PositiveInt = 50  # at most


class Model(Estimator):
    """`coefficients` (a, b) with their `standard_errors`; `ascent` and `newton` hold the iterations that led there."""

    config: Config
    data_sized = ("ascent", "newton")
    coefficients: Tensor  # (2,): a, b
    standard_errors: Tensor  # (2,)
    ascent: Tensor  # (iterations + 1, 3): a, b, log-likelihood in nats a graph
    newton: Tensor  # (iterations + 1, 4): a, b, log-likelihood, norm of the gradient a pair

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.register_buffer("coefficients", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("standard_errors", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("ascent", torch.zeros(1, 3, dtype=torch.float64))
        self.register_buffer("newton", torch.zeros(1, 4, dtype=torch.float64))

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Fit to node features `x` (N, n, F) and adjacency matrices `edges` (N, n, n).

        Returns:
            The ascent, a row an iteration.

        Raises:
            UserError: self-loops, asymmetric or non-binary edges, shapes that do not fit, NaN or infinite features, or edges
                that a threshold on s separates wholly (the likelihood then has no maximum).
        """
        X, edges = checked(arrays["x"], arrays["edges"])
        S, e = pairs(X.to(self.device), edges.to(self.device))
        if bool((e == e[0]).all()):
            raise UserError(
                f"random_graph: {'every' if e[0] else 'no'} pair has an edge, so b has no finite estimate; get other data"
            )
        low, high = S[e == 1, 0].min(), S[e == 0, 0].max()
        if low >= high or S[e == 1, 0].max() <= S[e == 0, 0].min():
            raise UserError(
                "random_graph: a threshold on x_i^T x_j separates the edges, so a has no finite estimate; get more data"
            )
        self.ascent = self._ascend(S, e, len(X))
        self.newton = self._newton(S, e, len(X))
        self.coefficients = self.newton[-1, :2].clone()
        information = _information(S, self.coefficients)
        self.standard_errors = torch.linalg.inv(information).diagonal().sqrt()  # Cramer-Rao, asymptotically
        return [{"iteration": i, "a": a, "b": b, "log_likelihood": value} for i, (a, b, value) in enumerate(self.ascent.tolist())]

    def edge_probability(self, x: Tensor) -> Tensor:
        """Return P(e_ij = 1) (N, n, n) of node features x (N, n, F); 0 on the diagonal."""
        x = float64(x).to(self.coefficients)
        a, b = self.coefficients
        p = torch.sigmoid(a * x @ x.mT + b)
        return p.masked_fill(torch.eye(x.shape[1], dtype=torch.bool, device=x.device), 0.0)

    def log_likelihood(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return log p(edges | x) (N,), in nats a graph."""
        X, e = checked(x, edges)
        X = X.to(self.coefficients)
        S, flat = pairs(X, e.to(X.device))
        return _terms(S, flat, self.coefficients).view(len(X), -1).sum(1)

    def sample_edges(self, x: Tensor, seed: int = 0) -> Tensor:
        """Return one adjacency matrix, uint8 (N, n, n), for each set of node features x (N, n, F)."""
        p = self.edge_probability(x)
        uniform = torch.rand(p.shape, generator=generator(seed, "edges"), dtype=torch.float64).to(p)
        upper = torch.triu(uniform < p, diagonal=1)
        return (upper | upper.mT).to(torch.uint8)

    def sample_graphs(self, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return n new graphs: features uniform in [-1, 1], float64 (n, nodes, F), and adjacency matrices (n, nodes, nodes)."""
        x = torch.rand(n, *self.data.shape, generator=generator(seed, "features"), dtype=torch.float64).mul(2).sub(1)
        x = x.to(self.device)
        return x, self.sample_edges(x, seed)

    def _ascend(self, S: Tensor, e: Tensor, graphs: int) -> Tensor:
        """Full-batch gradient ascent from 0 with the step 1 / L, L = eigenvalue of sum (s, 1)(s, 1)^T / 4, the largest.

        L bounds the curvature since p (1 - p) <= 1/4, so no step can lower the likelihood (Nesterov 2004, section 1.2.3).
        """
        step = 4 / torch.linalg.eigvalsh(S.T @ S)[-1]
        theta = torch.zeros(2).to(S)
        rows: list[Tensor] = []
        for _ in range(self.config.iterations + 1):
            row = torch.cat([theta, _terms(S, e, theta).sum(0, keepdim=True) / graphs])
            if rows and row[2] < rows[-1][2]:  # by rounding: this is the optimum
                break
            rows.append(row)
            theta = theta + step * _gradient(S, e, theta)
        return torch.stack(rows)

    def _newton(self, S: Tensor, e: Tensor, graphs: int) -> Tensor:
        """Newton's method from 0; a step that would lower the likelihood is halved."""
        theta = torch.zeros(2).to(S)
        value = _terms(S, e, theta).sum()
        rows = []
        for _ in range(self.config.newton_iterations + 1):
            gradient = _gradient(S, e, theta)
            norm = gradient.norm() / len(e)
            rows.append(torch.stack([*theta, value / graphs, norm]))
            if norm < self.config.tolerance:
                return torch.stack(rows)
            direction = torch.linalg.solve(_information(S, theta), gradient)
            for _ in range(30):
                trial = _terms(S, e, theta + direction).sum()
                if trial >= value - 1e-12 * value.abs():
                    break
                direction = direction / 2
            theta, value = theta + direction, trial
        raise UserError(
            f"random_graph: no optimum after {self.config.newton_iterations} Newton steps; raise newton_iterations or tolerance"
        )


def checked(x: object, edges: object) -> tuple[Tensor, Tensor]:
    """Return features (N, n, F) and adjacency matrices (N, n, n), both float64, after checking them.

    Raises:
        UserError: names what is wrong, and the first graph where it is.
    """
    X, E = float64(x), float64(edges)
    if X.ndim != 3 or E.shape != (*X.shape[:2], X.shape[1]) or X.shape[1] < 2:
        raise UserError(
            f"random_graph: features of shape {tuple(X.shape)} and edges of shape {tuple(E.shape)}, expected "
            "(graphs, nodes, features) and (graphs, nodes, nodes), 2 nodes at least"
        )
    data_matrix(X.flatten(1), "random_graph: x")
    for what, wrong in (
        ("edges that are neither 0 nor 1", (E != 0) & (E != 1)),
        ("self-loops", torch.diag_embed(E.diagonal(dim1=1, dim2=2)) != 0),
        ("asymmetric edges", E.mT != E),
    ):
        if bool(wrong.any()):
            graph, i, j = (int(index) for index in wrong.nonzero()[0])
            raise UserError(
                f"random_graph: graph {graph} has {what} (at [{i}, {j}]: {float(E[graph, i, j]):g}), expected undirected edges "
                "between different nodes; correct the data"
            )
    return X, E


def pairs(X: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return (s_ij, 1) (M, 2) and e_ij (M,) of all pairs i < j of all graphs, graph after graph."""
    i, j = torch.triu_indices(X.shape[1], X.shape[1], offset=1, device=X.device)
    s = (X @ X.mT)[:, i, j].flatten()
    return torch.stack([s, torch.ones_like(s)], 1), edges[:, i, j].flatten()


def _terms(S: Tensor, e: Tensor, theta: Tensor) -> Tensor:
    """Log-likelihood of each pair (M,)."""
    logit = S @ theta
    return e * logit - F.softplus(logit)


def _gradient(S: Tensor, e: Tensor, theta: Tensor) -> Tensor:
    return torch.mv(S.T, e - torch.sigmoid(S @ theta))


def _information(S: Tensor, theta: Tensor) -> Tensor:
    """Fisher information sum p (1 - p) (s, 1)(s, 1)^T, (2, 2): minus the Hessian."""
    p = torch.sigmoid(S @ theta)
    return torch.mm(S.T, S * (p * (1 - p))[:, None])
