"""How long evaluations take on this machine: how often each part is done is counted, and how long it takes is measured.

The parts are those of `regen.evaluation.images`, measured by the functions that it calls, on a few made images and with untrained
networks. tests/unit/test_add.py holds the counts against evaluations that are run.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regen import families
from regen.commands.adding.timing import clock
from regen.drawing import collage
from regen.estimators.spectrum import DIRECT
from regen.evaluation.images import subject
from regen.evaluation.images.images import BOUNDED, CONTINUOUS, IMPORTANCE_SAMPLES, PLACED, ROW, SAMPLES, SHOWN
from regen.evaluation.pca import PCA
from regen.metrics import neighbours, reconstruction
from regen.metrics.distances import SETS, compare
from regen.metrics.values import pixels
from regen.models.base import DataSpec
from regen.params import Params
from regen.training.distributed import Devices

PLACES = 3  # of a latent space, beside the one that samples come from
STEPS = 16  # of each path along which pictures should change evenly
PATH, TRAVERSAL, PLANE = 10, 9, 100  # images of a path, along one latent, and in a plane of two
IMPORTS = "import regen.process, matplotlib.pyplot, regen.evaluation.images.images"

SECONDS = 0.2  # that a part is measured for, at least
NETWORK = 3 << 19  # numbers of the images that a network is measured with: 128 images of 64 px
SEARCHED, AMONG = 3 << 23, 400  # numbers of the images whose nearest ones are looked for, 2,048 of 64 px; among how many images
SET = 250  # features of a set
SIDE = 64  # pixels a side of the images whose components are computed: of larger ones it takes longer in proportion to pixels

Clock = Callable[[], float]


def seconds(given: Params, blocks: Mapping[str, Mapping[str, Any]], data: DataSpec, train: int, test: int) -> dict[str, float]:
    """Return the seconds that the evaluation of each model takes, in a process of its own.

    Args:
        given: all of params.yaml.
        blocks: of the models, and of the classifier that measures them.
        data: what the models are told of the data.
        train, test: number of training and test images.
    """
    devices = Devices("fp32", given.threads)  # as an evaluation has it
    try:
        train, test = evaluated(train, test, data.shape)
        now, n = clock(devices), min(SAMPLES, train, test)
        models = {key: built(key, block, data).to(devices.device) for key, block in blocks.items()}
        own = {key: _of_networks(model, now) for key, model in models.items()}
        reader = next(key for key, parts in own.items() if "features" in parts)
        dim = max(model.config.latent_dim for key, model in models.items() if "encoded" in own[key])
        shared = {
            "start": _start(),
            **_of_images(data.shape, train, n, dim, now),
            **_of_features(models[reader].config.features, train, n, now),
            "features": own[reader]["features"],
        }
        return {
            key: sum(often * (shared | own[key])[part] for part, often in work(model, train, test).items())
            for key, model in models.items()
        }
    finally:
        devices.close()


def built(key: str, block: Mapping[str, Any], data: DataSpec) -> Any:
    """Return an untrained model as it would be evaluated."""
    return families.build(families.config(block, f"params.yaml: models.{key}"), data).eval()


def evaluated(train: int, test: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many of so many training and test images an evaluation takes (`regen.evaluation.images.subject.some`)."""
    size = max(math.prod(shape), subject.IMAGE)
    most_train, most_test = (max(1, most * subject.IMAGE // size) for most in (subject.TRAIN, subject.TEST))
    return min(train, most_train), min(test, most_test)


def work(model: Any, train: int, test: int) -> Counter[str]:
    """Return how often the evaluation of a model does each part.

    Args:
        model: as it is built: of one of the families that `regen add` writes.
        train, test: images that are evaluated.

    Returns:
        `start` of the process, `pictures` drawn; images `encoded`, `decoded`, and read by a classifier (`features`); test images
        whose reconstructions are measured (`reconstructed`), principal `components` beside them; images whose `nearest` training
        images are looked for; whether `sets` of features are compared, and from how many further `places` of the latents.
    """
    if hasattr(model, "logits"):
        return Counter(start=1, pictures=4, features=test * (len(model.labels) if model.config.target == "rotation" else 1))
    n = min(SAMPLES, test, train)
    placed, shown = min(PLACED, n), min(SHOWN, model.config.latent_dim)
    compared = n >= neighbours.LEAST
    sets = SETS if compared else 1
    encodes = hasattr(model, "encode")
    done = Counter(start=1, pictures=8 if n >= ROW else 7)
    done += Counter(decoded=sets * n + 2 * SHOWN * PATH + shown * TRAVERSAL + PLANE)
    done += Counter(nearest=placed + 2 * n * (2 if model.config.flip else 1))
    if compared:
        done += Counter(features=sets * n + n + train, sets=1, pictures=1)
    if encodes:
        few = min(CONTINUOUS, n)
        done += Counter(reconstructed=test, components=1, pictures=1, decoded=test + few * STEPS)
        done += Counter(encoded=test + train + min(2 * SHOWN, test) + few)
    if encodes and compared:
        done += Counter(encoded=n, decoded=PLACES * SETS * n, features=PLACES * SETS * n, places=PLACES)
    if not hasattr(model, "sample"):
        done += Counter(decoded=placed, pictures=1)
    if hasattr(model, "elbo"):
        bounded = min(BOUNDED, test) + min(BOUNDED, train)
        done += Counter(encoded=min(BOUNDED, test) + bounded, decoded=min(BOUNDED, test) + IMPORTANCE_SAMPLES * bounded)
    return done


def made(count: int, shape: tuple[int, ...]) -> Tensor:
    """Return uint8 images (count, C, H, W) with details of every size, the larger the stronger, and noise, as pictures have."""
    channels, *sides = shape
    draws = torch.Generator().manual_seed(0)
    x = 128 + 3 * torch.randn(count, *shape, generator=draws)
    side = 1
    while side <= min(sides):
        x += F.interpolate(torch.randn(count, channels, side, side, generator=draws), sides, mode="bilinear") * 60 / side
        side *= 2
    return x.clamp_(0, 255).to(torch.uint8)


def _of_networks(model: Any, now: Clock) -> dict[str, float]:
    """Return the seconds that an image takes in each network that an evaluation asks."""
    x = pixels(made(max(1, min(250, NETWORK // math.prod(model.data.shape))), model.data.shape))
    z = torch.randn(len(x), getattr(model.config, "latent_dim", 1))
    calls = {"encoded": ("encode", x), "decoded": ("decode", z), "features": ("features", x)}
    found = {}
    for part, (name, given) in calls.items():
        if network := getattr(model, name, None):
            network(given.to(model.device))  # the first call takes longer
            found[part] = _took(lambda: network(given.to(model.device)).cpu(), now) / len(given)  # noqa: B023
    return found


def _of_images(shape: tuple[int, ...], train: int, n: int, dim: int, now: Clock) -> dict[str, float]:
    """Return the seconds of what is done with the images themselves."""
    most = max(2, SEARCHED // math.prod(shape))
    asked, some, shown = min(n, most), min(train, AMONG, most), min(PLACED // 2, most)
    x = made(max(asked, some, shown), shape)
    few = pixels(x[:20])
    queries, counts = pixels(x[:asked]), (some // 2, some)  # what a search takes grows by the same with each training image
    half, whole = (_took(lambda: neighbours.nearest(queries, x[:count]), now) for count in counts)  # noqa: B023
    search = whole + (train - some) * max(0.0, whole - half) / (some - some // 2)
    small = made(min(train, DIRECT + 1), (shape[0], *(min(side, SIDE) for side in shape[1:])))
    components = _took(lambda: PCA(small, dim), now) * train / len(small) * math.prod(shape) / small[0].numel()
    with tempfile.TemporaryDirectory() as folder:
        picture = _took(lambda: collage.save(collage.grid(x[:shown]), Path(folder) / "x.png"), now) * PLACED / 2 / shown
    reconstructed = 2 * _took(lambda: reconstruction.per_image(few, few), now) / len(few)  # beside those of components
    return {"nearest": search / asked, "components": components, "pictures": picture, "reconstructed": reconstructed}


def _of_features(size: int, train: int, n: int, now: Clock) -> dict[str, float]:
    """Return the seconds in which sets of samples are compared, and sets from one further place: nearly all of it are pairs."""
    few = min(n, SET)
    if few < neighbours.LEAST:
        return {}
    test, *sets = torch.rand(1 + SETS, few, size)
    of_train = torch.rand(few * min(SETS, train // n), size)
    alone, both = (_took(lambda: compare(sets, test, of_train, 0, more), now) for more in ({}, {"place": [*sets]}))  # noqa: B023
    return {"sets": alone * (n / few) ** 2, "places": max(0.0, both - alone) * (n / few) ** 2}


def _start() -> float:
    """Return the seconds that an evaluation's process takes before it begins."""
    before = os.times()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _took(function: Callable[[], Any], now: Clock) -> float:
    """Return the seconds of one call: the median of as many as `SECONDS` allow."""
    took: list[float] = []
    while not took or sum(took) < SECONDS:
        start = now()
        function()
        took.append(now() - start)
    return median(took)
