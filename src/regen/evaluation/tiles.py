"""What is measured and drawn of a model of tiles of sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regen.data.tiles import sections
from regen.data.tiles.samplers import SAMPLERS, Tiles
from regen.data.tiles.survey import survey
from regen.drawing import collage, plots
from regen.estimators.spectrum import spectrum
from regen.evaluation.images import latents
from regen.evaluation.pca import PCA
from regen.evaluation.subject import Subject
from regen.metrics import aggregate_posterior, coverage
from regen.metrics.bootstrap import ratio, standard_error
from regen.metrics.values import Measured, mean, measured
from regen.metrics.values import pixels as as_floats
from regen.models.variational import kl
from regen.seeding import generator, numpy_generator

FITTED = 12_000  # training tiles that PCA is fitted to
TESTED = 4_000  # tiles of a split that figures are taken of
SHOWN = 3_000  # latents in the plane
SHEET, THUMBNAIL = 6, 170  # sections of a brain on the contact sheet, pixels a side
STEPS = 10  # of an interpolation


@dataclass(frozen=True)
class TilesSubject(Subject):
    """A subject whose examples are tiles of sections, drawn when they are wanted."""

    def pair(self, function: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both results of function(x) on the CPU, computed in parts on the model's device."""
        parts = [function(as_floats(part).to(self.model.device)) for part in torch.split(x, 500)]
        return torch.cat([first.cpu() for first, _ in parts]), torch.cat([second.cpu() for _, second in parts])

    def draw(self, split: str, n: int, sampler: str = "by_pixel", purpose: str = "evaluation") -> Tensor:
        """Return n tiles of a split, uint8 (n, 1, T, T)."""
        return torch.from_numpy(Tiles(self.data, split, n, self.seed, purpose=purpose, sampler=sampler).batch(0))[:, None]


def evaluate(given: Subject) -> Measured:
    """Measure and draw a model of tiles; returns what belongs in metrics/<model>.json."""
    subject = TilesSubject(**{name: getattr(given, name) for name in given.__dataclass_fields__})
    train, test = subject.draw("train", FITTED, purpose="fit"), subject.draw("test", TESTED)
    subject.picture("sections", contact_sheet(subject))
    subject.picture("examples", collage.grid(test[:100]))
    mu, sigma = posterior(subject, train[:TESTED])
    measures = reconstructed(subject, train, test) | losses(subject, train[:TESTED], test)
    measures |= made(subject, mu, test, train[:TESTED])
    interpolations(subject)
    measures |= plane(subject)
    if sigma is not None:
        measures |= aggregate_posterior.aggregate_measures(mu, sigma)
        lines = aggregate_posterior.variances(mu, sigma)
        plots.curves(lines, subject.folder / "aggregate_variances.png", "latent, by variance of its mean", "variance")
        noise = torch.randn(mu.shape, generator=generator(subject.seed, "aggregate"))
        lines = aggregate_posterior.norms(mu, sigma, noise)
        plots.curves(lines, subject.folder / "aggregate_norms.png", "length of z", "density")
    return measures | coverage_of_pixels(subject)


def reconstructed(subject: TilesSubject, train: Tensor, test: Tensor) -> Measured:
    """How much of the test brain's variance survives, beside PCA of as many numbers a tile."""
    dim = subject.model.config.latent_dim
    linear = PCA(train, dim)
    got, best = subject.apply(subject.model.reconstruct, test), linear.reconstruct(test)
    rows = {"original": as_floats(test[:16]), "model": got[:16], f"PCA, {dim}": best[:16]}
    subject.picture("reconstructions", collage.rows(rows))
    squares = squared_deviations(test, got)
    explained, by_pca = (1 - float(ratio(found)) for found in (squares, squared_deviations(test, best)))
    return {"test_brain_variance_explained": measured(explained, standard_error(ratio, squares), baseline=by_pca)}


def squared_deviations(x: Tensor, y: Tensor) -> Tensor:
    """Return ||x - y||^2 and ||x - mean x||^2 of each tile, (N, 2), the mean taken pixel by pixel over tiles."""
    x, y = as_floats(x).double(), y.double()
    return torch.stack([(x - y).square().flatten(1).sum(1), (x - x.mean(0)).square().flatten(1).sum(1)], 1)


def posterior(subject: TilesSubject, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the posterior's means and deviations, each (N, d), of a variational model, or an autoencoder's latents and None."""
    if hasattr(subject.model, "posterior"):
        return subject.pair(subject.model.posterior, x)
    return subject.apply(subject.model.encode, x), None


def losses(subject: TilesSubject, train: Tensor, test: Tensor) -> Measured:
    """Return the loss a tile of training tiles and of the test brain, and the rate.

    The loss is ||x - d(z)||^2, in squared deviations of the training pixels, at one draw of z, plus beta times the rate.
    """
    beta = getattr(subject.model.config, "beta", 0.0)
    result: Measured = {}
    for name, x in (("train_loss", train), ("test_loss", test)):
        mu, sigma = posterior(subject, x)
        if sigma is None:
            z, rate = mu, torch.zeros(len(mu))
        else:
            z = mu + sigma * torch.randn(mu.shape, generator=generator(subject.seed, "losses", name))
            rate = kl(mu, 2 * sigma.log())
        result[name] = mean((squared_error(subject, x, z) + beta * rate).double())
        if sigma is not None and name == "test_loss":
            result["rate"] = mean(rate.double())
    return result


def squared_error(subject: TilesSubject, x: Tensor, z: Tensor) -> Tensor:
    """Return ||x - d(z)||^2 of each tile, (N,), in squared deviations of the training pixels."""
    model = subject.model
    unit = 1.0 if model.config.standardise else model.data.std
    errors = []
    with torch.no_grad():
        for tiles, latents_of in zip(torch.split(x, 500), torch.split(z, 500), strict=True):
            wanted = model.scaled(as_floats(tiles).to(model.device))
            got = model.predicted(model.decoder(latents_of.to(model.device)))
            errors.append(((got - wanted) / unit).square().flatten(1).sum(1).cpu())
    return torch.cat(errors)


def made(subject: TilesSubject, mu: Tensor, test: Tensor, train: Tensor) -> Measured:
    """Draw new tiles and measure their detail."""
    model, prior = subject.model, latents.Gaussian.standard(mu.shape[1])
    decoded = subject.apply(model.decode, prior.sample(TESTED, subject.seed))
    if not hasattr(model, "sample"):  # an autoencoder has no prior: so new tiles come from the Gaussian of its latents
        subject.picture("samples_prior", collage.grid(decoded[:100]))
        decoded = subject.apply(model.decode, latents.Gaussian.fitted(mu).sample(TESTED, subject.seed))
    subject.picture("samples", collage.grid(decoded[:100]))
    subject.picture("samples_few", collage.grid(decoded[100:110], enlarge=2))
    of_new, of_test, of_train = (detail(x) for x in (decoded, test, train))
    error = standard_error(lambda new, real: new.mean() / real.mean(), of_new, of_test)
    return {"detail": measured(float(of_new.mean() / of_test.mean()), error, real=float(of_train.mean() / of_test.mean()))}


def detail(tiles: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring pixels of a row, of each tile with pixels from 0 to 1, (N,)."""
    x = as_floats(tiles)
    return (x[..., 1:] - x[..., :-1]).square().flatten(1).mean(1).double()


def interpolations(subject: TilesSubject) -> None:
    """Draw paths between latents of two tiles of one section, and of two sections, of the test brain."""
    source = Tiles(subject.data, "test", 1, subject.seed, sampler="equal")
    rng = numpy_generator(subject.seed, "interpolations")
    one, other = (rng.integers(len(source.sizes), size=8) for _ in range(2))
    other = np.where(one == other, (other + 1) % len(source.sizes), other)
    for name, sections_of in {"interpolation_section": (one, one), "interpolation_sections": (one, other)}.items():
        ends = []
        for section in sections_of:
            room = np.maximum(source.sizes[section] - source.tile, 0)
            top, left = rng.integers(room + 1).T
            ends.append(torch.from_numpy(source.read(section, top, left))[:, None])
        z = [subject.apply(subject.model.encode, tiles) for tiles in ends]
        between = subject.apply(subject.model.decode, latents.interpolations(z[0], z[1], STEPS).flatten(0, 1))
        first, last = (as_floats(tiles)[:, None] for tiles in ends)
        shown = torch.cat([first, between.view(-1, STEPS, *between.shape[1:]), last], 1)
        headers = ["tile", *(f"{k / (STEPS - 1):.2f}" for k in range(STEPS)), "tile"]
        subject.picture(name, collage.rows({f"{number}": row for number, row in enumerate(shown, 1)}, headers))


def plane(subject: TilesSubject) -> Measured:
    """Draw the first two principal components of the latents of tiles of all brains, as many of each."""
    brains, splits = subject.statistics["labels"], subject.statistics["splits"]
    z, labels = [], []
    for split in sorted(splits):
        source = Tiles(subject.data, split, 1, subject.seed, sampler="equal")
        n = SHOWN * len(np.unique(source.brains)) // len(brains)
        section, top, left = source.sampler(n, numpy_generator(subject.seed, "plane", split))
        z.append(subject.apply(subject.model.encode, torch.from_numpy(source.read(section, top, left))[:, None]))
        labels.append(source.brains[section])
    latent = torch.cat(z).double()
    if latent.shape[1] < 2:  # is no plane
        return {}
    mean_, _, _, vectors = spectrum(latent, 2)
    centred = latent - mean_
    scores = centred @ vectors[:2].T
    split_of = {brain: entry["split"] for brain, entry in subject.statistics["brains"].items()}
    names = [brain if split_of[brain] == "train" else f"{brain} ({split_of[brain]})" for brain in brains]
    share = scores.square().sum(0) / centred.square().sum()
    xlabel, ylabel = (f"component {k + 1}: {float(share[k]):.0%} of the variance" for k in (0, 1))
    panels(scores.numpy(), np.concatenate(labels), names, (xlabel, ylabel), subject.folder / "latents_by_brain.png")
    squares = torch.stack([scores.square().sum(1), centred.square().sum(1)], 1)
    return {"plane_variance": measured(float(ratio(squares)), standard_error(ratio, squares))}


def panels(points: np.ndarray, labels: np.ndarray, names: list[str], axes: tuple[str, str], out: Path) -> None:
    """Draw (N, 2) points, a panel for each label: its own in colour, the others in grey behind."""
    wide = min(3, len(names))
    high = -(-len(names) // wide)
    with plots.figure(out, (3.1 * wide, 2.9 * high), high, wide, sharex=True, sharey=True) as found:
        for k, (axis, name) in enumerate(zip(found, names, strict=False)):
            own = labels == k
            axis.scatter(*points[~own].T, s=3, color="#D4D4D0", linewidths=0)
            axis.scatter(*points[own].T, s=5, color=plots.COLOURS[k % len(plots.COLOURS)], alpha=0.7, linewidths=0)
            axis.set_title(plots.plain(name))
            axis.tick_params(labelbottom=True)
            axis.set_xlabel(axes[0] if k >= len(names) - wide else "")
            axis.set_ylabel(axes[1] if k % wide == 0 else "")


def coverage_of_pixels(subject: TilesSubject) -> Measured:
    """Test and draw how evenly the by_pixel sampler covers the training sections."""
    sizes, tile = np.array(subject.train["x"]), int(subject.statistics["shape"][-1])
    side, none, brain = np.array([[4 * tile, 4 * tile]]), np.zeros(16 * tile * tile, np.uint8), np.zeros(1, np.int64)
    samplers: dict[str, Any] = {
        "by_pixel": SAMPLERS["by_pixel"](side, brain, tile, none),
        "equal": SAMPLERS["equal"](side, brain, tile, none),
        "published": coverage.InsideWithoutLast(side, tile),
    }
    rows = np.arange(4 * tile)
    lines = {name: (rows, coverage.profile(sampler, 4 * tile, tile, subject.seed)) for name, sampler in samplers.items()}
    plots.curves(lines, subject.folder / "coverage.png", "row of a section", "times seen, relative to the mean")
    sampler = SAMPLERS["by_pixel"](sizes, np.array(subject.train["labels"]), tile, none)
    return coverage.coverage_measures(sampler, sizes, tile, subject.seed, coverage.DRAWS)


def contact_sheet(subject: TilesSubject) -> collage.Picture:
    """Return the first sections of each brain, a row each, reduced to one size; the word synthetic above those that are."""
    statistics, rows = subject.statistics, {}
    path = sections.unchanged(statistics["file"], subject.data.name)
    with sections.opened(path) as file:
        found = survey(file)
        for brain in statistics["labels"]:
            members = [section for section in found if section.brain == brain][:SHEET]
            split = statistics["brains"][brain]["split"]
            rows[f"{brain} ({split})"] = torch.stack([thumbnail(file[section.name]) for section in members])
    word = "synthetic" if statistics["source"] == "synthetic" else ""
    return collage.rows(rows, [word] * SHEET, enlarge=1)


def thumbnail(image: Any) -> Tensor:
    """Return a section reduced into a square, uint8 (1, S, S); of a large one only every n-th row and column is read."""
    step = max(1, max(image.shape) // 2048)
    small = Image.fromarray(image[::step, ::step])
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    square = Image.new("L", (THUMBNAIL, THUMBNAIL), collage.BACKGROUND[0])
    square.paste(small, ((THUMBNAIL - small.width) // 2, (THUMBNAIL - small.height) // 2))
    return torch.from_numpy(np.array(square))[None]
