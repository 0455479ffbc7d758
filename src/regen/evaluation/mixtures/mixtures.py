"""Gaussian mixtures on latents: do the components find the classes, and do they draw better latents than the prior?"""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen import families
from regen.data.loaders.arrays import as_images
from regen.drawing import collage
from regen.estimators.gaussian_mixture import GaussianMixture
from regen.evaluation import clusters
from regen.evaluation.mixtures.plots import criterion as draw_criterion
from regen.evaluation.subject import Subject
from regen.metrics.distances import SETS, training_sets
from regen.metrics.frechet import frechet_distance
from regen.metrics.values import EXACT, ROUNDING, Measured, mean, measured, over_sets
from regen.seeding import derive_seed, generator

LARGEST = 8  # components up to which the information criterion is followed
ITERATIONS = 30  # of the comparison with scikit-learn


def evaluate(subject: Subject) -> Measured:
    """Measure clusters and density; where the data are another model's latents, decode what the mixture draws."""
    model, folder = subject.model.cpu(), subject.folder
    train, test = (torch.from_numpy(np.array(split["x"], dtype=np.float64)) for split in (subject.train, subject.test))
    measures: Measured = {
        "log_likelihood": mean(model.log_likelihood(test)),
        "log_likelihood_train": mean(model.log_likelihood(train)),
        "scikit_learn_difference": measured(scikit_learn_difference(model.mixture, train), ROUNDING, bound=0.0),
        **criterion(subject, train),
    }
    if "labels" in subject.test:
        labels = torch.from_numpy(np.array(subject.test["labels"]))
        measures |= clusters.measured_clusters(subject, model.classify(test), labels)
        if train.shape[1] == 2:
            clusters.plane(
                model.means, model.covariances, model.component_classes, model.data.labels, model.responsibilities, test.numpy(),
                labels.numpy(), folder,
            )  # fmt: skip
    if (subject.data / "decoder").is_dir():
        measures |= decoded(subject, families.load(subject.data / "decoder"))
    return measures


def scikit_learn_difference(fitted: GaussianMixture, X: Tensor) -> float:
    """Return the relative difference of the log-likelihoods that scikit-learn's EM and ours reach from the same start.

    The start is the fit with its means moved, so that there is a way to go.
    """
    import warnings

    from sklearn.mixture import GaussianMixture as Peer  # takes a second to import

    weights, covariances = fitted.weights_.cpu(), fitted.covariances_.cpu()
    means = fitted.means_.cpu() + 0.5 * torch.linalg.cholesky(covariances).sum(2)
    K = len(weights)
    ours = GaussianMixture(K, tol=0, reg_covar=0, max_iter=ITERATIONS, weights_init=weights, means_init=means,
                           covariances_init=covariances).fit(X)  # fmt: skip
    peer = Peer(K, tol=0, reg_covar=0, max_iter=ITERATIONS, weights_init=weights.numpy(), means_init=means.numpy(),
                precisions_init=torch.linalg.inv(covariances).numpy(), init_params="random_from_data")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it has not converged: no tolerance was given
        peer.fit(X.numpy())
    theirs = float(peer.score(X.numpy()))
    return abs(ours.score(X) / theirs - 1)


def criterion(subject: Subject, train: Tensor) -> Measured:
    """The Bayesian information criterion over the number of components, from the same seeds of k-means++."""
    rows = []
    for K in range(1, min(LARGEST, len(torch.unique(train, dim=0))) + 1):
        fit = GaussianMixture(K, tol=1e-5, max_iter=300, n_init=3, random_state=subject.seed).fit(train)
        rows.append({"components": K, "bic": fit.bic(train) / len(train), "log_likelihood": fit.score(train)})
    with (subject.folder / "bic.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    best = min(rows, key=lambda row: row["bic"])
    draw_criterion(rows, subject.model.config.components, subject.folder / "bic.png")
    return {"components_by_bic": measured(best["components"], EXACT)}


def decoded(subject: Subject, decoder: Any) -> Measured:
    """What the components stand for, and the Frechet distances to test images of draws from the mixture and from the prior."""
    model, names, decode = subject.model, subject.model.data.labels, decoder.decode
    n = min(len(subject.test["x"]), len(subject.train["x"]))
    seeds = [derive_seed(subject.seed, "samples", k) for k in range(SETS)]
    places: dict[str, Callable[[int], Tensor]] = {
        "mixture": lambda seed: model.sample(n, seed=seed),
        "prior": lambda seed: decoder.sample_prior(n, seed) if hasattr(decoder, "sample_prior") else standard(n, model, seed),
    }
    for name, place in (("samples", "mixture"), ("samples_prior", "prior")):
        subject.picture(name, collage.grid(decode(places[place](seeds[0])[:100]), 10))
    rows = {}
    for k, (mean_, root) in enumerate(zip(model.means, torch.linalg.cholesky(model.covariances), strict=True)):
        noise = torch.randn(9, len(mean_), generator=generator(subject.seed, "component", k), dtype=torch.float64).to(mean_)
        z = torch.cat([mean_[None], mean_ + noise @ root.T]).float()
        rows[f"{k + 1}: {names[int(model.component_classes[k])]}" if names else f"{k + 1}"] = decode(z)
    subject.picture("components", collage.rows(rows, ["mean", *["draw"] * 9]))
    if subject.classifier is None or "images" not in subject.test:
        return {}
    features = subject.classifier.cpu().features
    of_test, of_train = (subject.apply(features, as_images(np.array(split["images"]))) for split in (subject.test, subject.train))
    real = [frechet_distance(x, of_test) for x in training_sets(of_train, n, SETS, subject.seed)]
    return {
        f"frechet_distance_{name}": over_sets(
            [frechet_distance(subject.apply(lambda z: features(decode(z)), draw(seed)), of_test) for seed in seeds], real=real
        )
        for name, draw in places.items()
    }


def standard(n: int, model: Any, seed: int) -> Tensor:
    """Return n draws of N(0, I), of as many dimensions as the mixture's data, (n, D)."""
    return torch.randn(n, model.means.shape[1], generator=generator(seed, "prior"))
