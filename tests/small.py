"""A small report: two models of one data set and a study, as the stages leave them, without a training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regen import paths
from regen.catalogue.published import Published
from regen.data import folders
from regen.evaluation import figures
from regen.export import run
from regen.params import Params

METRICS = {
    "frechet_distance": {"value": 79.26, "error": 2.5, "real": 25.82},
    "character_accuracy": {"value": 0.9917, "error": 0.0, "bound": 1.0},
}
CELL = {"value": 73.5, "error": 2.0, "spread": 7.4, "real": 26.7}
HISTORY = """epoch,step,examples,character_accuracy,learning_rate
1,10,1500,0.5,0.1
2,20,3000,nan,0.2
3,30,4500,0.99,0.1
"""
ABOUT = {"family": "gan", "kind": "toy"}
PUBLISHED = [
    Published({"character_accuracy": 0.5606}, "a paper", ABOUT),
    Published({"frechet_distance": 12.0}, "another paper", ABOUT, {"epochs": 2}),
]


def furnish(
    folder: Path, given: Params, size: tuple[int, int] = (20, 10), keys: Sequence[str] = ("one_gan", "two_gan")
) -> Params:
    """Write figures, pictures of a `size`, statistics and a study into a folder; returns the params that they are of.

    The models are `keys`, and the study is of the first one.
    """
    block = {"dataset": "toy", "family": "gan", "classifier": "toy_classifier", "note": "<b>"}
    draw = np.random.default_rng(0)
    for key in keys:
        figures.write(METRICS, folder / "metrics" / f"{key}.json")
        (folder / "figures" / key).mkdir(parents=True)
        (folder / "figures" / key / "training.csv").write_text(HISTORY, encoding="utf-8")
        for name in ("samples", "samples_nearest", "epoch_0001", "epoch_0003", "training"):
            colours = draw.integers(0, 256, (8, 3), dtype=np.uint8)[draw.integers(0, 8, (10, 10))]
            Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).save(folder / "figures" / key / f"{name}.png")
        write(folder / "exports" / key / "decoder.json", {"kind": "none"})
    statistics = {"splits": {"train": {"count": 9, "mean": 0.5, "std": 0.1, "min": 0, "max": 1}}}
    write(folder / "data/prepared/toy/statistics.json", statistics)
    rows = [{"values": {"epochs": n}, "seeds": 3, "measures": {"frechet_distance": CELL}} for n in (1, 2)]
    write(folder / "studies/lengths/table.json", {"rows": rows})
    study = {"model": keys[0], "vary": {"epochs": [1, 2]}, "show": ["frechet_distance"]}
    changes: dict[str, Any] = {
        "datasets": {"toy": {"kind": "toy", "source": "generated"}}, "queries": {}, "encodings": {},
        "models": dict.fromkeys(keys, block), "studies": {"lengths": study},
    }  # fmt: skip
    return given.model_copy(update=changes)


def export(key: str, model: Any, data: Path) -> None:
    """Write what runs of a model in a page, as its stage does; `data` is the prepared data set of its examples."""
    files, description = run.exported(model, run.Images(data, 0, key))
    with folders.replacing(paths.exported(key)) as part:
        for name, content in files.items():
            folders.write(part / name, content)
        folders.write_json(part / "decoder.json", description)


def write(path: Path | str, content: Any) -> None:
    """Write JSON."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
