"""`regen add NAME SOURCE` and `regen remove NAME`: a person's own images and models of them, in params.yaml and out of it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regen import blocks, checks, documents, params, paths
from regen.commands.adding import settings, survey, text
from regen.commands.adding.survey import Found
from regen.commands.adding.text import MARK, Values
from regen.errors import UserError
from regen.params import GROUPS, Params

FETCHED = ("rijksmuseum", "wesnoth")
SIZES = (16, 512)


def add(name: str, source: str, sha256: str = "", size: int = 0, path: Path = paths.PARAMS) -> Iterator[str]:
    """Write the blocks of a data set and its models into params.yaml; yield what there is to say, a line each.

    Args:
        name: of the data set; its models are called `<name>_vae` and so on.
        source: a folder, a .zip or .tar, an https address of one, `torchvision:<name>`, `rijksmuseum` or `wesnoth`.
        sha256: of the archive at an address.
        size: pixels a side; 0 = as fits.
        path: of params.yaml.

    Raises:
        UserError: a name that is taken or none, a source that cannot be read, or a params.yaml that is wrong already.
    """
    given = checks.check(path)
    _free(name, given)
    if size and (size % 4 or not SIZES[0] <= size <= SIZES[1]):
        raise UserError(f"--size {size}: expected a multiple of 4 from {SIZES[0]} to {SIZES[1]}")
    place = described(source, sha256)
    found = _found(name, place, source)
    size = size or found.size
    data, models = settings.dataset(found, place, size), settings.models(name, found, size)
    title = f"Models of {name}, {MARK}: settings for about {settings.training(found):,} training images of {size} px."
    old = documents.text(path)
    new = text.put(text.put(old, "datasets", "", {name: data}), "models", title, models)
    _right(new, path)
    if documents.text(path) != old:
        raise UserError(f"{path}: changed meanwhile; run again")
    text.replace(path, new)
    yield f"{name}: {_seen(found)}"
    yield f"{path}: wrote datasets.{name} and models.{', '.join(models)}; change what you like there"
    yield from _time(params.read(path), name, found, size, models)
    yield f"next: `regen repro {name}` and `regen report {name}` for these models and their page, or `make repro` for all"
    yield f"to take it back: regen remove {name}"


def remove(name: str, path: Path = paths.PARAMS) -> Iterator[str]:
    """Take the blocks that `add` wrote out of params.yaml, whatever was changed inside of them; yield what there is to say.

    Raises:
        UserError: there is no such data set, `add` did not write it, or other blocks need it.
    """
    old = documents.text(path)
    given = params.read(path)
    blocks.known(name, list(given.datasets), f"{path}: datasets", GROUPS["datasets"])
    if name not in text.marked(old, "datasets"):
        raise UserError(
            f"{path}: datasets.{name}: not written by `regen add` (it writes `# {MARK}` behind the name); edit it by hand"
        )
    models = [key for key in text.marked(old, "models") if given.models[key].get("dataset") == name]
    if needed := list(_needing(given, name, models)):
        raise UserError(f"{path}: datasets.{name}: {', '.join(needed)} would be left without it; remove that first")
    new = text.take(text.take(old, "models", models), "datasets", [name])
    text.replace(path, new)
    yield f"{path}: removed datasets.{name}{' and models.' + ', '.join(models) if models else ''}"
    if any(place.exists() for place in (paths.raw(name), paths.prepared(name), *map(paths.model, models))):
        yield f"what was made of them is still there: data/*/{name}, and models/, exports/, figures/ and metrics/{name}_*"
        yield "delete that if you like; then `make report` takes it off the page, and `dvc gc --workspace` frees DVC's cache"


def described(source: str, sha256: str = "") -> dict[str, Any]:
    """Return how params.yaml calls a source: `source`, `path`, `sha256`.

    Raises:
        UserError: there is no such file or folder, or an address without its SHA-256.
    """
    address = source.startswith(("https://", "http://"))
    if sha256 and not address:
        raise UserError(f"--sha256: belongs to an https address, got {source}")
    if source in FETCHED:
        return {"source": source}
    if source.startswith("torchvision:"):
        return {"source": "torchvision", "path": source.partition(":")[2]}
    if address:
        if "@" in source.split("/")[2]:
            raise UserError("an address with user and password: params.yaml is committed, and anyone would read them; download "
                            "the archive and give its file")  # fmt: skip
        if not source.startswith("https://"):
            raise UserError(f"{source}: expected an address that begins with https://")
        if not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
            raise UserError(f"--sha256 {sha256 or '(none)'}: expected the 64 hexadecimal digits of the archive at {source}; "
                            "download it once, then `sha256sum FILE` says them")  # fmt: skip
        return {"source": "url", "path": source, "sha256": sha256.lower()}
    try:
        source.encode()
    except UnicodeEncodeError:
        raise UserError(f"{source!r}: its name is not UTF-8, so params.yaml cannot hold it; rename it") from None
    place = paths.located(source)
    if place.is_dir():
        return {"source": "folder", "path": source}
    if place.is_file():
        return {"source": "archive", "path": source}
    raise UserError(
        f"{source}: no such folder or file; expected a folder, a .zip or .tar, an https address with --sha256, "
        f"torchvision:NAME, {' or '.join(FETCHED)}"
    )


def _found(name: str, place: Mapping[str, Any], shown: str) -> Found:
    from regen.data.images import rijksmuseum
    from regen.data.sets import images

    count = rijksmuseum.count() if place["source"] == "rijksmuseum" else 0
    config = blocks.parse(images.Config, {"kind": "images", **place, "examples": survey.FEWEST if count else 0}, shown)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / name
        raw.mkdir()
        images.fetch(config, raw)
        found = survey.survey(images.opened(config, raw), shown)
    return replace(found, count=count) if count else found


def _free(name: str, given: Params) -> None:
    """Refuse a name that is none, or that something else has."""
    blocks.named(name, "name")
    if max(map(len, settings.keys(name))) > 64:
        raise UserError(f"name: {name}: its models' names would be longer than 64 characters; choose a shorter one")
    if not text.plain(name):
        raise UserError(f"name: {name}: is no text in YAML; choose another one")
    taken = [f"{group}.{key}" for group in ("datasets", "queries", "encodings") for key in getattr(given, group) if key == name]
    taken += [f"models.{key}" for key in given.models if key in settings.keys(name)]
    if taken:
        raise UserError(f"{name}: there is {', '.join(taken)} already; choose another name, or first: regen remove {name}")


def _needing(given: Params, name: str, models: list[str]) -> Iterator[str]:
    """Yield the blocks that refer to a data set or to some models and do not go with them."""
    for key, block in given.models.items():
        if key not in models and (block.get("dataset") == name or block.get("classifier") in models):
            yield f"models.{key}"
    for key, block in given.queries.items():
        if block.get("digits") == name:
            yield f"queries.{key}"
    for key, block in given.encodings.items():
        if block.get("dataset") == name or block.get("model") in models:
            yield f"encodings.{key}"
    for key, block in given.studies.items():
        if block.get("model") in models:
            yield f"studies.{key}"


def _right(new: str, path: Path) -> None:
    """Check a params.yaml that is not yet written."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / path.name
        place.write_text(new, encoding="utf-8", newline="")
        checks.check(place)


def _seen(found: Found) -> str:
    shares = [f"{100 * found.transparent:.0f} % with transparent pixels"] if found.transparent else []
    shares += [f"{found.unread} of {found.unread + len(found.looks)} that were looked at cannot be read"] if found.unread else []
    kind = "pixel art (a guess)" if found.pixel_art else "photographs or paintings (a guess)" if found.photographs else ""
    labels = f"{len(found.labels)} {'classes' if found.target == 'class' else 'attributes'}" if found.labels else "no classes"
    parts = [f"{found.count:,} pictures", found.sides(), "grey" if found.grey else "colour", kind, labels, *shares]
    few = "; so few teach a generator little (docs/tutorials/your_own_images.md)" if found.count < 1000 else ""
    return ", ".join(part for part in parts if part) + few


def _time(given: Params, name: str, found: Found, size: int, models: Mapping[str, Values]) -> Iterator[str]:
    """Yield about how long the run takes: a few steps of each model, and the parts of its evaluation, are measured."""
    import torch

    from regen.commands.adding import evaluating, timing
    from regen.commands.text import minutes
    from regen.host import cores
    from regen.models.base import DataSpec

    shape = (1 if found.grey else 3, size, size)
    data = DataSpec(dataset=name, kind="images", shape=shape, labels=found.labels, mean=0.5, std=0.25)
    blocks, train = {key: given.models[key] for key in models}, settings.training(found)
    trained = timing.seconds(given, blocks, data, train)
    evaluated = evaluating.seconds(given, blocks, data, train, settings.tests(found))
    together = 1 if torch.cuda.is_available() else max(1, min(len(models), cores() // given.threads))
    preparing = max(2.0, found.count * found.seconds / cores())
    training, evaluation = (max(sum(took.values()) / together, max(took.values())) for took in (trained, evaluated))
    yield (
        f"the whole run takes about {minutes(preparing + training + evaluation)} here: preparing {minutes(preparing)}, "
        f"training {minutes(training)}, evaluating {minutes(evaluation)}; exporting the models comes on top"
    )
    parts = (f"{key.removeprefix(name + '_')} {minutes(trained[key])} + {minutes(evaluated[key])}" for key in models)
    yield f"measured by some steps, training + evaluating, {together} at a time: {', '.join(parts)}"
