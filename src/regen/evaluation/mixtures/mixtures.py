"""Gaussian mixtures on latents: do the components find the classes, and are their draws better latents than those of N(0, I)?"""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen import families
from regen.data.loaders.arrays import as_images
from regen.drawing import collage, plots
from regen.estimators.gaussian_mixture import GaussianMixture
from regen.evaluation.mixtures.plots import criterion as draw_criterion
from regen.evaluation.mixtures.plots import plane
from regen.evaluation.subject import Subject
from regen.metrics.frechet import frechet_distance
from regen.metrics.values import Measured, confusion, mean, measured
from regen.seeding import generator

LARGEST = 8  # components up to which the information criterion is followed
ITERATIONS = 30  # of the comparison with scikit-learn


def evaluate(subject: Subject) -> Measured:
    """Measure clusters and density; where the data are another model's latents, decode what the mixture draws."""
    model, folder = subject.model.cpu(), subject.folder
    train, test = (torch.from_numpy(np.array(split["x"], dtype=np.float64)) for split in (subject.train, subject.test))
    measures: Measured = {
        "log_likelihood": mean(model.log_likelihood(test), limit=model.log_likelihood(train)),
        "scikit_learn_difference": measured(scikit_learn_difference(model.mixture, train), limit=0.0),
        **criterion(subject, train),
    }
    if "labels" in subject.test:
        labels = torch.from_numpy(np.array(subject.test["labels"]))
        measures |= clusters(subject, model.classify(test), labels)
        if train.shape[1] == 2:
            plane(model, test.numpy(), labels.numpy(), folder)
    if (subject.data / "decoder").is_dir():
        measures |= decoded(subject, families.load(subject.data / "decoder"))
    return measures


def clusters(subject: Subject, found: Tensor, labels: Tensor) -> Measured:
    """How well the components, named by a few labels, are the classes: F1 of each class, their mean, and the accuracy."""
    names = subject.model.data.labels
    table = confusion(found, labels, len(names))
    plots.confusion(table.numpy(), names, subject.folder / "confusion.png", xlabel="found")
    return {
        "cluster_macro_f1": measured(macro_f1(table), limit=1.0),
        "cluster_accuracy": mean((found == labels).double(), limit=1.0),
    }


def macro_f1(table: Tensor) -> float:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN), from the confusion of true (rows) and found (columns)."""
    hits = table.diagonal().double()
    return float((2 * hits / (table.sum(0) + table.sum(1)).clamp_min(1)).mean())


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
    for K in range(1, LARGEST + 1):
        fit = GaussianMixture(K, tol=1e-5, max_iter=300, n_init=3, random_state=subject.seed).fit(train)
        rows.append({"components": K, "bic": fit.bic(train) / len(train), "log_likelihood": fit.score(train)})
    with (subject.folder / "bic.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    best = min(rows, key=lambda row: row["bic"])
    draw_criterion(rows, subject.model.config.components, subject.folder / "bic.png")
    return {"components_by_bic": measured(best["components"])}


def decoded(subject: Subject, decoder: Any) -> Measured:
    """What the components stand for, and the Frechet distances to test images of draws from the mixture and from N(0, I)."""
    model, names = subject.model, subject.model.data.labels
    draws = model.sample(len(subject.test["x"]), seed=subject.seed)
    plain = torch.randn(draws.shape, generator=generator(subject.seed, "prior")).to(draws)
    decode = decoder.decode
    subject.picture("samples", collage.grid(decode(draws[:100]), 10))
    subject.picture("samples_prior", collage.grid(decode(plain[:100]), 10))
    rows = {}
    for k, (mean_, root) in enumerate(zip(model.means, torch.linalg.cholesky(model.covariances), strict=True)):
        noise = torch.randn(9, len(mean_), generator=generator(subject.seed, "component", k), dtype=torch.float64).to(mean_)
        z = torch.cat([mean_[None], mean_ + noise @ root.T]).float()
        rows[f"{k + 1}: {names[int(model.component_classes[k])]}" if names else f"{k + 1}"] = decode(z)
    subject.picture("components", collage.rows(rows, ["mean", *["draw"] * 9]))
    if subject.classifier is None or "images" not in subject.test:
        return {}
    n = len(draws)
    features = {
        name: subject.apply(subject.classifier.cpu().features, x)
        for name, x in (
            ("test", as_images(np.array(subject.test["images"]))),
            ("train", as_images(np.array(subject.train["images"][:n]))),
            ("mixture", decode(draws).cpu()),
            ("prior", decode(plain).cpu()),
        )
    }
    limit = frechet_distance(features["train"], features["test"])
    return {
        "frechet_distance_mixture": measured(frechet_distance(features["mixture"], features["test"]), limit=limit),
        "frechet_distance_prior": measured(frechet_distance(features["prior"], features["test"]), limit=limit),
    }
