"""What is measured and drawn of a model of images: whatever its capabilities allow."""

from __future__ import annotations

import sys
from dataclasses import fields

import torch
from torch import Tensor

from regen.drawing import collage, plots
from regen.estimators import naming
from regen.evaluation import clusters
from regen.evaluation.images import latents, planes
from regen.evaluation.images.draws import FITTED, Draws
from regen.evaluation.images.subject import Images
from regen.evaluation.pca import PCA
from regen.evaluation.subject import Subject
from regen.metrics import classification, distances, likelihood, neighbours, pixel_art, reconstruction
from regen.metrics.values import Measured, confusion
from regen.metrics.values import pixels as as_floats
from regen.seeding import generator

SAMPLES = 2000  # a set, and at most as many as there are test images: distances depend on the number
IMPORTANCE_SAMPLES = 20  # draws of z an image
BOUNDED = 500  # images whose likelihood is bounded: each takes as many decodings as there are draws
PART = 2000  # test images whose reconstructions are held at a time
PLACED = 100  # samples that are shown, ten in a row
ROW = 10  # images in a row of a grid
SHOWN = 8  # rows or columns of a collage of examples
LETTER = 7  # pixels of a letter of a caption, about
CONTINUOUS = 128  # test images between whose latents paths are walked
LABELLED = 5  # training examples a class that name the components of a prior


def evaluate(subject: Subject) -> Measured:
    """Measure and draw all that the model's capabilities allow; returns what belongs in metrics/<model>.json."""
    if not isinstance(subject, Images):
        subject = Images(**{field.name: getattr(subject, field.name) for field in fields(subject)})
    measures: Measured = {}
    if hasattr(subject.model, "features"):
        subject.picture("examples", collage.grid(subject.test_x[:100]))
    if hasattr(subject.model, "logits"):
        measures |= classified(subject)
    if hasattr(subject.model, "reconstruct"):
        measures |= reconstructed(subject)
    if hasattr(subject.model, "elbo"):
        test, train = (x[:BOUNDED].to(subject.model.device) for x in (subject.test_x, subject.train_x))
        measures |= likelihood.likelihood_measures(subject.model, test, train, IMPORTANCE_SAMPLES, subject.seed)
        measures |= likelihood.per_image(measures, test[0].numel())
    if hasattr(subject.model, "decode") or hasattr(subject.model, "sample"):
        measures |= generated(subject)
    if hasattr(subject.model, "responsibilities") and subject.labels is not None and subject.labels.ndim == 1:
        measures |= clustered(subject, subject.labels)
    return measures


def classified(subject: Images) -> Measured:
    """How well a classifier reads the test images, and where it errs."""
    names = list(subject.model.labels)
    if subject.model.config.target == "rotation":
        turned = [subject.test_x.rot90(k, (2, 3)) for k in range(len(names))]
        logits = torch.stack([subject.apply(subject.model.logits, x) for x in turned])  # (4, N, 4)
        read = logits.argmax(2)
        confused(subject, read, torch.arange(len(names))[:, None].expand_as(read), turned)
        return classification.rotation_measures(logits)
    assert subject.labels is not None
    logits = subject.apply(subject.model.logits, subject.test_x)
    if subject.labels.ndim == 1:
        confused(subject, logits.argmax(1)[None], subject.labels[None], [subject.test_x])
        return classification.class_measures(logits, subject.labels)
    worst = classification.worst_attributes(logits, subject.labels, names)
    plots.bars(
        {str(row["attribute"]): float(row["f1"]) for row in worst},
        subject.folder / "attributes.png",
        "F1",
        level=1.0,
        level_label="bound",
    )
    return classification.attribute_measures(logits, subject.labels)


def confused(subject: Images, read: Tensor, true: Tensor, images: list[Tensor]) -> None:
    """Draw which label was read as which, and the first mistakes: `read` and `true` are (sets, N), one row a set of images."""
    names = list(subject.model.labels)
    plots.confusion(confusion(read.flatten(), true.flatten(), len(names)).numpy(), names, subject.folder / "confusion.png")
    wrong = (read != true).T.nonzero()[: SHOWN * SHOWN].tolist()  # (image, set)
    if wrong:
        captions = [f"{names[int(true[k, i])]}, read {names[int(read[k, i])]}" for i, k in wrong]
        shown = torch.stack([images[k][i] for i, k in wrong])
        room = max(map(len, captions)) * LETTER  # what a long class's name needs, at most three times the usual
        enlarge = -(-min(max(room, collage.SMALLEST), 3 * collage.SMALLEST) // min(shown.shape[2:]))
        subject.picture("mistakes", collage.grid(shown, SHOWN, captions, enlarge))


def reconstructed(subject: Images) -> Measured:
    """How well test images survive encoding and decoding, beside PCA with as many numbers an image."""
    model, dim = subject.model, subject.model.config.latent_dim
    pca = PCA(subject.train_x, dim)
    of_model, of_pca = list[dict[str, Tensor]](), list[dict[str, Tensor]]()
    for x in torch.split(subject.test_x, PART):
        got, linear = subject.apply(model.reconstruct, x), pca.reconstruct(x)
        if not of_model:
            rows = {"original": as_floats(x), "model": got, f"PCA, {dim}": linear}
            subject.picture("reconstructions", collage.rows({name: images[: 2 * SHOWN] for name, images in rows.items()}))
        of_model.append(reconstruction.per_image(x, got, "reconstructions"))
        of_pca.append(reconstruction.per_image(x, linear))
    measures = reconstruction.over_images(reconstruction.joined(of_model), reconstruction.joined(of_pca))
    return measures | (denoised(subject, pca) if getattr(model.config, "noise", 0) else {})


def denoised(subject: Images, pca: PCA) -> Measured:
    """How much of the noise that it learnt to remove a model removes, beside PCA."""
    model, draws = subject.model, generator(subject.seed, "noise")
    psnr: list[dict[str, Tensor]] = []
    for x in torch.split(subject.test_x, PART):
        clean = as_floats(x)
        noisy = model.corrupt(clean, draws)
        got = subject.apply(model.reconstruct, noisy)
        if not psnr:
            rows = {"clean": clean, "noisy": noisy.clamp(0, 1), "denoised": got}
            subject.picture("denoising", collage.rows({name: images[: 2 * SHOWN] for name, images in rows.items()}))
        psnr.append(reconstruction.psnr_of(clean, noisy=noisy, denoised=got, baseline=pca.reconstruct(noisy)))
    return reconstruction.over_denoised(reconstruction.joined(psnr))


def generated(subject: Images) -> Measured:
    """What the model makes: new images and their distances to real ones, nearest neighbours; of latents, paths between them."""
    model, seed = subject.model, subject.seed
    n = min(SAMPLES, len(subject.test_x), len(subject.train_x))
    test = subject.test_x[:n]
    drawn = Draws(subject, n)
    samples = drawn.samples(0)
    subject.picture("samples", collage.grid(samples[:PLACED]))
    if drawn.encoded is not None and not hasattr(model, "sample"):
        subject.picture("samples_prior", collage.grid(subject.decode(drawn.prior(seed)[:100])))
    if hasattr(model, "decode"):
        draw_paths(subject, drawn.space)

    shown = samples[:SHOWN]
    few = min(5, len(subject.train_x))
    nearest = neighbours.nearest(samples[:PLACED], subject.train_x, few)[1]
    subject.picture("neighbours_pixels", beside(shown, subject.train_x, nearest[:SHOWN]))
    if len(nearest) >= ROW:  # the page finds a sample's place in its rows
        subject.picture("samples_nearest", collage.grid(subject.train_x[nearest[:, 0]]))
    measures: Measured = {}
    compared, references, real = samples, subject.train_x, test
    if grid := subject.statistics.get("grid"):  # pixel art: held against its own grid and palette
        art = pixel_art.Grid(subject.train_x, grid)
        measures |= pixel_art.pixel_measures(samples, test, art)
        compared, references, real = art.snap(samples), art.shrink(subject.train_x), art.shrink(test)
    measures |= neighbours.copying_measures(compared, real, references, mirrored=getattr(model.config, "flip", False))
    if drawn.encoded is not None:
        ends = subject.apply(model.encode, test[:CONTINUOUS]).to(model.device)
        measures["continuity"] = latents.continuity(model.decode, ends, ends.roll(1, 0))
    if subject.classifier is None:
        return measures
    if n < neighbours.LEAST:
        print(f"{model.data.dataset}: {n} test images (or training images) are too few to compare sets of images, which takes "
              f"{neighbours.LEAST}: distances are left out", file=sys.stderr)  # fmt: skip
        return measures
    of_test, of_train = subject.features(test), subject.features(subject.train_x)
    of_samples = drawn.features(samples)
    index = neighbours.nearest(of_samples[0][:SHOWN], of_train, few)[1]
    subject.picture("neighbours_features", beside(shown, subject.train_x, index))
    places = {} if drawn.encoded is None else drawn.places(of_samples)
    return measures | distances.compare(of_samples, of_test, of_train, seed, places)


def clustered(subject: Images, labels: Tensor) -> Measured:
    """How well the components of the prior, which no label has shaped, are the classes, and where they lie."""
    model, train = subject.model, subject.train["labels"]
    examples = naming.labelled(train, LABELLED, subject.seed)
    assert examples is not None

    def shares(x: Tensor) -> Tensor:
        return subject.apply(lambda part: model.responsibilities(model.encode(part)), x)

    classes = naming.named(lambda rows: shares(subject.train_x[torch.from_numpy(rows)]), examples)
    if model.config.latent_dim == 2:
        components = (model.prior_means.detach().cpu(), model.prior_log_variances.detach().cpu().exp().diag_embed())
        clusters.plane(
            *components, classes, model.data.labels, lambda z: subject.apply(model.responsibilities, z.float()),
            subject.apply(model.encode, subject.test_x).numpy(), labels.numpy(), subject.folder,
        )  # fmt: skip
    return clusters.measured_clusters(subject, classes[shares(subject.test_x).argmax(1)], labels)


def draw_paths(subject: Images, space: latents.Gaussian) -> None:
    """Draw interpolations, traversals and the plane of the first two dimensions; of pixels' noise, the first alone."""
    model, steps = subject.model, 10
    if hasattr(model, "encode"):
        ends = subject.apply(model.encode, subject.test_x[: 2 * SHOWN])
    else:
        ends = space.sample(2 * SHOWN, subject.seed)
    half = (len(ends) + 1) // 2  # of one image, the path to itself
    for name, spherical in (("interpolation_linear", False), ("interpolation_spherical", True)):
        paths = latents.interpolations(ends[:half], ends[-half:], steps, spherical)
        subject.picture(name, collage.grid(subject.decode(paths.flatten(0, 1)), steps))
    if model.config.latent_dim > FITTED:
        return
    dimensions = min(SHOWN, model.config.latent_dim)
    z = latents.traversals(space, dimensions)
    subject.picture("traversal", collage.grid(subject.decode(z.flatten(0, 1)), z.shape[1]))
    if model.config.latent_dim > 1:
        subject.picture("latent_grid", collage.grid(subject.decode(latents.latent_grid(space))))
    if model.config.latent_dim == 2 and hasattr(model, "encode"):
        subject.picture("manifold", planes.manifold(subject.decode))
        if subject.labels is not None and subject.labels.ndim == 1:
            plots.scatter(subject.apply(model.encode, subject.test_x), subject.folder / "latents.png", subject.labels.numpy(),
                          model.data.labels, "z1", "z2")  # fmt: skip


def beside(shown: Tensor, references: Tensor, index: Tensor) -> collage.Picture:
    """Return one row a sample: the sample, then its nearest references."""
    rows = [torch.cat([image[None], as_floats(references[near])]) for image, near in zip(shown, index, strict=True)]
    headers = ["sample", *(f"{place}." for place in range(1, index.shape[1] + 1))]
    return collage.rows({f"{number}": row for number, row in enumerate(rows, 1)}, headers)
