"""Brains: sections of several brains, grey, of very different sizes, in one HDF5 file that is never read whole.

A model sees tiles that are read from the file when they are wanted (`regen.data.tiles`), so what is prepared is an index: the
sections of each split, the structure of their parts, and exact statistics. A whole brain is the test split: tiles of
a brain that was trained on would be no test.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from pydantic import Field, PositiveInt, model_validator

from regen import paths
from regen.blocks import DatasetConfig, suggestion
from regen.data import folders
from regen.data.tiles import pictures, sections, synthetic
from regen.data.tiles.survey import Section, survey
from regen.errors import UserError

FILE, SOURCE = "sections.h5", "source.json"
FEWEST = "fewest_images"
LOADER = "tiles"
EXAMPLES = "tiles"
SEED = 0  # the synthetic sections are one fixed data set, as real ones would be: `seed` in params.yaml is about models


class Config(DatasetConfig):
    """The brains' block of params.yaml."""

    examples: Literal[0] = 0  # a split is of whole brains; `sections` makes the synthetic ones fewer

    source: Literal["synthetic", "file", "folder"]
    path: str = ""  # file: an HDF5 file, groups of 2-D uint8 images; folder: of <brain>/<image>.png, jpg or tif
    sections: float = Field(1.0, gt=0, le=10)  # synthetic: number of sections, relative to the reference's 1,348
    scale: float = Field(1.0, ge=0.05, le=10)  # synthetic: their width and height, relative to the reference's
    tile: PositiveInt = 64  # pixels a side of what a model sees
    sampler: Literal["equal", "by_pixel", "by_density"] = "by_pixel"  # where training tiles are taken (regen.data.tiles.samplers)
    small: Literal["error", "pad"] = "error"  # sections smaller than a tile: refused, or unfolded by mirroring
    test_brain: str = FEWEST  # a brain's name, or the brain with the fewest images
    validation_brain: str = "none"  # for early stopping: a name, the one with the fewest images left, or none

    @model_validator(mode="after")
    def _sources(self) -> Config:
        if (self.source == "synthetic") == bool(self.path):
            raise ValueError(f"a path for source file or folder and none for synthetic, got path {self.path!r}")
        return self


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the sections, or for a file in place where it is and its SHA-256.

    Raises:
        UserError: there is no such file or folder, or it holds no sections.
    """
    place = folder / FILE
    if config.source == "file":
        place = paths.located(config.path)
        with sections.opened(place) as file:
            survey(file)
    else:
        with h5py.File(place, "w") as file:
            if config.source == "synthetic":
                for brain, images in synthetic.IMAGES.items():
                    for number in range(max(1, round(config.sections * images))):
                        file[f"{brain}/{number:04d}"] = synthetic.section(brain, number, config.scale, SEED)
            else:
                pictures.pack(paths.located(config.path), file)
    source = sections.digest(place)
    folders.write_json(folder / SOURCE, source)
    return {FILE: {**source, "mirrors": []}}


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the index of each split and the statistics.

    For each split: `<split>` int64 (N, 2), height and width of each section; `<split>_labels` int64 (N,), its brain;
    `<split>_names` (N,), its path in the file; and `cells_<split>` uint8, the structure of all its cells, section after
    section, row by row (`regen.data.tiles.samplers.sections.measure`).

    Raises:
        UserError: a wrong test or validation brain, a section smaller than a tile, or anything wrong with the file.
    """
    source = {"path": config.path if config.source == "file" else str(raw / FILE), **read_source(raw)}
    path = sections.unchanged(source, raw.name)
    arrays: dict[str, np.ndarray] = {}
    levels: dict[str, np.ndarray] = {}
    with sections.opened(path) as file:
        found = survey(file)
        brains = sorted({section.brain for section in found})
        chosen = split(found, config, raw.name)
        refuse_small(found, config, path)
        splits, alike = {}, dict[Section, bytes]()
        for name in ("train", "validation", "test"):
            members = [section for section in found if chosen[section.brain] == name]
            if not members:
                continue
            measured = [sections.measure(file[section.name]) for section in members]
            for section, (counts, _) in zip(members, measured, strict=True):
                levels[section.brain] = levels.get(section.brain, 0) + counts
            arrays[name] = np.array([[section.height, section.width] for section in members])
            arrays[f"{name}_labels"] = np.array([brains.index(section.brain) for section in members])
            arrays[f"{name}_names"] = np.array([section.name for section in members])
            arrays[f"cells_{name}"] = np.concatenate([structure.ravel() for _, structure in measured])
            splits[name] = {"count": len(members), **sections.moments(np.sum([counts for counts, _ in measured], axis=0))}
            for section, parts in zip(members, measured, strict=True):
                if np.count_nonzero(parts[0]) > 1:
                    alike[section] = hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest()
        refuse_twins(alike, chosen, file)
    arrays["source"] = np.frombuffer(bytes.fromhex(source["sha256"]), np.uint8)  # other pixels, other digest of the data set
    description: dict[str, Any] = {
        "shape": [1, config.tile, config.tile],
        "sampler": config.sampler,
        "labels": brains,
        "splits": splits,
        "file": source,
        "brains": {brain: _brain(found, brain, chosen[brain], levels) for brain in brains},
    }
    if config.source == "synthetic":
        description["credit"] = "The sections are synthetic, drawn by this project: no measurements of any brain."
    return arrays, description


def read_source(raw: Path) -> dict[str, Any]:
    """Return size and SHA-256 of the sections' file as the download left them.

    Raises:
        UserError: they are missing or damaged.
    """
    try:
        source: dict[str, Any] = json.loads((raw / SOURCE).read_text(encoding="utf-8"))
        return {"bytes": source["bytes"], "sha256": source["sha256"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "damaged"
        raise UserError(f"{raw / SOURCE}: {reason}; run `dvc repro --force download@{raw.name}`") from None


def split(found: list[Section], config: Config, dataset: str) -> dict[str, str]:
    """Return the split of each brain: one is the test's, another perhaps the validation's.

    Raises:
        UserError: an unknown brain, the same one twice, or none left to train on.
    """
    images = {brain: sum(section.brain == brain for section in found) for brain in sorted({section.brain for section in found})}
    left = dict(images)
    chosen = dict.fromkeys(images, "train")
    wanted = {"test_brain": config.test_brain, "validation_brain": config.validation_brain}
    for key, name in wanted.items():
        if key == "validation_brain" and name == "none":
            continue
        if len(left) < 2:
            raise UserError(
                f"params.yaml: datasets.{dataset}.{key}: {name!r} leaves no brain to train on (there is: {', '.join(images)})"
                + ("; set validation_brain: none" if key == "validation_brain" else "; a test needs a brain of its own")
            )
        brain = min(left, key=lambda brain: (left[brain], brain)) if name == FEWEST else name
        if brain not in images:
            raise UserError(f"params.yaml: datasets.{dataset}.{key}: unknown brain {brain!r}{suggestion(brain, list(images))}")
        if brain not in left:
            raise UserError(f"params.yaml: datasets.{dataset}.{key}: {brain} is the test brain already; choose another or none")
        chosen[brain] = key.removesuffix("_brain")
        del left[brain]
    return chosen


def refuse_twins(alike: dict[Section, bytes], chosen: dict[str, str], file: h5py.File) -> None:
    """Refuse a section that stands in two splits, whatever its name: what is tested on would have been trained on.

    Args:
        alike: sections that are not of one grey level, with a digest of their grey levels and structure.
        chosen: the split of each brain.
        file: that they are read from: whether those of one digest are the same, their pixels say.
    """
    found: dict[bytes, list[Section]] = {}
    for section, digest in alike.items():
        for other in found.setdefault(digest, []):
            if chosen[other.brain] != chosen[section.brain] and sections.same(file[other.name], file[section.name]):
                names = " and ".join(f"{one.name} ({chosen[one.brain]})" for one in (other, section))
                raise UserError(f"{file.filename}: {names} have the same pixels, so one is no test; remove one of the two")
        found[digest].append(section)


def refuse_small(found: list[Section], config: Config, path: Path) -> None:
    """Refuse sections smaller than a tile, unless they are to be padded."""
    small = [section for section in found if min(section.height, section.width) < config.tile]
    if small and config.small == "error":
        first = small[0]
        raise UserError(
            f"{path}: {first.name}: {first.height}x{first.width} pixels, smaller than a tile of {config.tile}"
            + (f" (and {len(small) - 1} more)" if len(small) > 1 else "")
            + "; set small: pad, or a smaller tile"
        )


def _brain(found: list[Section], brain: str, split: str, levels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Describe the images of one brain: how many, how large, how bright."""
    members = [section for section in found if section.brain == brain]
    sizes = {
        "height": [section.height for section in members],
        "width": [section.width for section in members],
        "area": [section.height * section.width for section in members],
    }
    quantiles = {name: dict(zip(("min", "q1", "median", "q3", "max"), np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist(),
                                strict=True)) | {"mean": float(np.mean(values))} for name, values in sizes.items()}  # fmt: skip
    by_area = sorted(members, key=lambda section: (section.height * section.width, section.key))
    ends = {name: {"key": s.key, "height": s.height, "width": s.width} for name, s in
            (("smallest", by_area[0]), ("largest", by_area[-1]))}  # fmt: skip
    return {"split": split, "images": len(members), **quantiles, **ends, "pixels": sections.moments(levels[brain])}
