"""PPCA and PCA: likelihood and reconstruction over the number of dimensions, decorrelation, and what was not seen filled in."""

from __future__ import annotations

import csv

import numpy as np
import torch
from torch import Tensor

from regen.data.loaders.arrays import as_images
from regen.drawing import collage
from regen.drawing.collage import Picture
from regen.estimators.ppca import PPCA, Model
from regen.evaluation.components import completion, plots
from regen.evaluation.subject import Subject
from regen.metrics.bootstrap import ratio, standard_error
from regen.metrics.values import EXACT, ROUNDING, Measured, mean, measured
from regen.seeding import numpy_generator

SIDE = 5  # examples beside their reconstructions: 5 x 5
DIMENSIONS, STEPS = 5, 10  # rows and columns of a traversal
REACHES = {"traversal_small": 0.05, "traversal": 3.0}  # in standard deviations: the published one, and one that can be seen
FEW = 1000  # examples up to which an EM fit with missing pixels, or another fit for every size, is quick


def evaluate(subject: Subject) -> Measured:
    """Measure and draw a fit of PPCA, and PCA, to which it tends as sigma -> 0."""
    model, folder = subject.model.cpu(), subject.folder  # not every accelerator computes in float64
    train, test = (as_images(np.array(split["x"])) for split in (subject.train, subject.test))
    sizes = sorted({*model.config.sizes, model.config.latent_dim})
    subject.picture("samples", collage.grid(model.sample(100, seed=subject.seed), 10))
    subject.picture("components", components(model, 19))
    shown = test[numpy_generator(subject.seed, "shown").permutation(len(test))[: SIDE**2]]
    rebuilt = {f"d = {d}": model.reconstruct(shown, d) for d in sizes[-3:]}
    subject.picture("reconstructions", mosaics({"original": shown, **rebuilt}))
    face = train[numpy_generator(subject.seed, "face").integers(len(train))][None]
    for name, reach in REACHES.items():
        subject.picture(name, traversal(model, face, reach))
    classes = [np.asarray(split["labels"]) for split in (subject.train, subject.test)] if "labels" in subject.train else None
    for d in (2, 3):
        if d <= sizes[-1]:
            latents = [model.encode(x, d).numpy() for x in (train, test)]
            plots.latents(latents, classes, model.data.labels, folder / f"latents_{d}d.png")
    plots.scree(model.spectrum.numpy(), model.config.latent_dim, float(model.noise_variance), folder / "scree.png")
    table = over_sizes(model, train, test, sizes)
    with (folder / "sizes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in table)
    plots.sizes(table, folder / "sizes.png")
    result = {**likelihood(model, train, test), **decorrelated(subject, train), **completion.completed(subject, train, test)}
    result["scikit_learn_difference"] = measured(
        scikit_learn_difference(train, test, sizes if len(train) <= FEW else sizes[-1:]), ROUNDING, bound=0.0
    )
    if len(train) <= FEW:
        result |= completion.fitted(subject, train, test)
    return result


def likelihood(model: Model, train: Tensor, test: Tensor) -> Measured:
    """Log-likelihood a pixel and reconstruction error of what the model has not seen."""
    fit, pixels = model.at(), test[0].numel()
    flat = test.flatten(1).double()
    projected = torch.addmm(fit.mean_, fit.project(flat), fit.components_)
    error = (model.reconstruct(test).flatten(1).double() - flat).square().mean(1)
    seen = train.flatten(1).double()
    left = (seen - fit.mean_).square().sum(1) - fit.project(seen).square().sum(1)  # of each example, beyond the components
    unit = float(fit.noise_variance_.sqrt() / left.mean().sqrt())
    return {
        "log_likelihood_per_pixel": mean(model.log_likelihood(test) / pixels),
        "log_likelihood_per_pixel_train": mean(model.log_likelihood(train) / pixels),
        "mse": mean(error, baseline=(projected - flat).square().mean(1)),
        "noise_std": measured(
            float(fit.noise_variance_.sqrt()), standard_error(lambda squares: unit * squares.mean().sqrt(), left)
        ),
    }


def over_sizes(model: Model, train: Tensor, test: Tensor, sizes: list[int]) -> list[dict[str, float]]:
    """Log-likelihood a pixel and reconstruction error of both splits for each number of dimensions."""
    rows = []
    for d in sizes:
        row: dict[str, float] = {"dimensions": d, "noise_std": float(model.at(d).noise_variance_.sqrt())}
        for split, x in (("train", train), ("test", test)):
            row[f"{split}_log_likelihood_per_pixel"] = float(model.log_likelihood(x, d).mean()) / x[0].numel()
            row[f"{split}_mse"] = float((model.reconstruct(x, d) - x).square().mean())
        rows.append(row)
    return rows


def decorrelated(subject: Subject, train: Tensor) -> Measured:
    """PCA's two promises, over the training data: scores Y = P (X - mu) are uncorrelated, and ordered by variance."""
    flat = train.flatten(1).double()
    scores = subject.model.at().project(flat)
    before, after = (torch.cov(rows.T).reshape(2 * (rows.shape[1],)) for rows in (flat, scores))
    plots.covariances(before.numpy(), after.numpy(), subject.folder / "decorrelation.png")
    variances = after.diagonal()
    off_diagonal = (after - variances.diag()).abs().max() / variances.max()
    squares = torch.stack([scores.square().sum(1), (flat - flat.mean(0)).square().sum(1)], 1)
    return {
        "off_diagonal": measured(float(off_diagonal), ROUNDING, bound=0.0),
        "order_violations": measured(float((variances.diff() > 0).sum()), EXACT, bound=0.0),
        "variance_explained": measured(float(ratio(squares)), standard_error(ratio, squares), bound=1.0),
    }


def scikit_learn_difference(train: Tensor, test: Tensor, sizes: list[int]) -> float:
    """Return the largest relative difference between the log-likelihood of `test` by PPCA and by scikit-learn's PCA.

    Both are fitted to `train`, with the noise variance that scikit-learn takes: the mean over min(N, D) - d eigenvalues.
    """
    from sklearn.decomposition import PCA  # takes a second to import

    X, Y = (x.flatten(1).double().numpy() for x in (train, test))
    solver = "full" if len(X) <= X.shape[1] else "covariance_eigh"
    fit, differences = PPCA(sizes[-1], noise="observed").fit(X), []
    for d in sizes:
        peer = float(PCA(d, svd_solver=solver).fit(X).score(Y))
        differences.append(abs(fit.truncated(d).score(Y) / peer - 1))
    return max(differences)


def components(model: Model, count: int) -> Picture:
    """Return the mean and the first components, each stretched to the full range about mid-grey."""
    vectors = model.components[:count]
    stretched = 0.5 + 0.5 * vectors / vectors.abs().amax(1, keepdim=True)
    images = torch.cat([model.mean[None], stretched]).view(-1, *model.data.shape)
    return collage.grid(images.float(), 10, ["mean", *(str(i) for i in range(1, len(vectors) + 1))])


def mosaics(named: dict[str, Tensor]) -> Picture:
    """Return sets of square numbers of images, (s^2, C, H, W) each, as mosaics side by side under their names."""
    tiles = []
    for images in named.values():
        side = int(len(images) ** 0.5)
        lines = [torch.cat(list(images[row * side : (row + 1) * side]), 2) for row in range(side)]
        tiles.append(torch.cat(lines, 1))
    return collage.rows({"": torch.stack(tiles)}, list(named), enlarge=max(2, 240 // tiles[0].shape[1]))


def traversal(model: Model, x: Tensor, reach: float) -> Picture:
    """Return E[x|z + t e_i] for the first dimensions i (rows) and t from -reach to reach (columns), z = E[z|x] of one image."""
    z, steps = model.encode(x), torch.linspace(-reach, reach, STEPS)
    rows = {}
    for i in range(min(DIMENSIONS, z.shape[1])):
        moved = z.repeat(STEPS, 1)
        moved[:, i] += steps
        rows[f"z{i + 1}"] = model.decode(moved)
    return collage.rows(rows, [f"{t:+.2g}" for t in steps.tolist()])
