"""Closed forms against scikit-learn, in one process: `closed_form.py mixture N D K iterations` or `closed_form.py pca N D d`.

Prints seconds of both sides, and what shows that both did the same work: the log-likelihoods that they reached.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from setting import THREADS

REPEATS = 2  # the faster of so many runs counts, for either side


def mixture(N: int, D: int, K: int, iterations: int) -> dict[str, float]:
    """EM of a Gaussian mixture with full covariances: so many iterations, no tolerance."""
    from sklearn.mixture import GaussianMixture as Theirs

    from regen.estimators.gaussian_mixture import GaussianMixture as Ours

    draw = np.random.default_rng(0)
    centres = 3 * draw.normal(size=(K, D)) / np.sqrt(D)
    X = centres[draw.integers(K, size=N)] + draw.normal(size=(N, D))
    start: dict[str, Any] = {"weights_init": np.full(K, 1 / K), "means_init": X[:K], "max_iter": iterations, "tol": 0}
    eyes = np.stack([np.eye(D)] * K)
    mine, ours = best(lambda: Ours(K, covariances_init=eyes, **start).fit(X))
    theirs_, theirs = best(lambda: Theirs(K, precisions_init=eyes, init_params="random_from_data", **start).fit(X))
    return {"ours": ours, "theirs": theirs, "log_likelihood": mine.score(X), "their_log_likelihood": float(theirs_.score(X))}


def pca(N: int, D: int, d: int) -> dict[str, float]:
    """PPCA, float64, against PCA with the solver that scikit-learn chooses by itself."""
    from sklearn.decomposition import PCA

    from regen.estimators.ppca import PPCA

    draw = np.random.default_rng(0)
    X = draw.normal(size=(N, d)) @ draw.normal(size=(d, D)) * np.sqrt(0.3) + draw.normal(size=(N, D))
    mine, ours = best(lambda: PPCA(d, noise="observed").fit(X))
    theirs_, theirs = best(lambda: PCA(d, random_state=0).fit(X))
    few = X[:400]
    return {"ours": ours, "theirs": theirs, "log_likelihood": mine.score(few), "their_log_likelihood": float(theirs_.score(few))}


def memory(N: int, D: int, K: int) -> dict[str, float]:
    """Bytes that EM holds at once beyond the data, and those of an N x K and of an N x K x D array."""
    from regen.estimators.gaussian_mixture import GaussianMixture

    X = torch.from_numpy(np.random.default_rng(0).normal(size=(N, D)))
    before = peak()
    GaussianMixture(K, max_iter=2, tol=0, means_init=X[:K]).fit(X)
    return {"held": peak() - before, "data": X.nbytes, "n_k": 8.0 * N * K, "n_k_d": 8.0 * N * K * D}


def peak() -> float:
    """The largest resident size of this process so far, in bytes."""
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def best(fit: Callable[[], Any]) -> tuple[Any, float]:
    """Return the fit and the seconds of the fastest run."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        fitted = fit()
        times.append(time.perf_counter() - start)
    return fitted, min(times)


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    warnings.simplefilter("ignore")  # scikit-learn says that iterations without a tolerance did not converge
    kind, *sizes = sys.argv[1:]
    print(json.dumps({"mixture": mixture, "pca": pca, "memory": memory}[kind](*map(int, sizes))))
