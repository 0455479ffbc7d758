"""Data that leave nothing to learn or to measure: one line before the training, or a figure that is left out and said so."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regen import families
from regen.data import arrays
from regen.data.sets import diabetes, punks
from regen.drawing import collage, plots
from regen.errors import UserError
from regen.evaluation import figures, tiles
from regen.evaluation.graphs import graphs
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.metrics.values import measured
from regen.models.base import DataSpec
from regen.training.distributed import Devices
from tests.conftest import block, build, compiling


def images(count: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(count)
    x = rng.integers(0, 255, (count, 16, 16, 1)).astype(np.uint8)
    return np.full_like(x, 7) if kind == "constant" else np.repeat(x[:1], count, 0) if kind == "all the same" else x


def dataset(folder: Path, train: int, test: int, kind: str = "noise", labels: int = 3) -> Path:
    made = {"train": images(train, kind), "test": images(test, kind)}
    if labels:
        made |= {f"{split}_labels": np.arange(len(made[split])) % labels for split in ("train", "test")}
    names = ["a", "b", "c"][:labels]
    arrays.write(folder, made, {"dataset": "toy", "kind": "toy", "loader": "arrays", "shape": [1, 16, 16], "labels": names})
    return folder


def written(family: str, data: Path, folder: Path, reader: bool = True, **changes: Any) -> dict[str, float]:
    """Evaluate an untrained model and write its figures: what is in metrics/<model>.json."""
    spec = DataSpec.of("toy", arrays.statistics(data))
    model: Any = families.build(families.config(block(family, **changes), "toy"), spec).eval()
    if hasattr(model, "fit"):
        model.fit(arrays.load(data, "train"), 0)
    target = "class" if spec.labels else "rotation"
    read = families.build(families.config(block("classifier", target=target), "reader"), spec).eval() if reader else None
    figures.write(evaluate(Subject(model, read, 0, data=data, history=folder / "none", folder=folder)), folder / "toy.json")
    found: dict[str, float] = json.loads((folder / "toy.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    return found


@pytest.mark.parametrize("family", ["vae", "autoencoder", "gan"])
@pytest.mark.parametrize(
    "counts",
    [
        {"train": 12, "test": 1},
        {"train": 1, "test": 12},
        {"train": 7, "test": 3},
        {"train": 12, "test": 9, "kind": "constant"},
        {"train": 12, "test": 9, "kind": "all the same", "labels": 1},
        {"train": 12, "test": 9, "labels": 0},
    ],
    ids=str,
)
def test_a_model_of_few_or_equal_images_is_evaluated_as_far_as_it_can_be(family, counts, tmp_path) -> None:
    found = written(family, dataset(tmp_path / "data", **counts), tmp_path / "out", latent_dim=1)
    assert "copies" in found
    assert ("frechet_distance" in found) == (min(counts["train"], counts["test"]) >= 6)


def test_what_is_left_out_is_said(tmp_path, capsys) -> None:
    written("gan", dataset(tmp_path / "data", 12, 3), tmp_path / "out")
    assert "toy: 3 test images (or training images) are too few" in capsys.readouterr().err


def test_principal_components_of_one_dimension_are_evaluated(tmp_path) -> None:
    assert written("ppca", dataset(tmp_path / "data", 9, 3), tmp_path / "out", reader=False, latent_dim=1)["off_diagonal"] == 0


def test_the_plane_of_tiles_with_one_latent_is_left_out(monkeypatch) -> None:
    class One:
        data, seed = Path(), 0
        model = type("Model", (), {"encode": None})

        def __init__(self) -> None:
            self.statistics = {"labels": ["x"], "splits": {"train": {}}, "brains": {"x": {"split": "train"}}}

        def apply(self, function: Any, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x), 1)

    class Source:
        brains = np.zeros(1, np.int64)
        tile = 4

        def __init__(self, *_: Any, **__: Any) -> None:
            self.read = lambda section, top, left: np.zeros((len(section), 4, 4), np.uint8)
            self.sampler = lambda n, _: (np.zeros(n, np.int64),) * 3

    monkeypatch.setattr(tiles, "Tiles", Source)
    assert tiles.plane(One()) == {}  # type: ignore[arg-type]


def test_a_figure_that_is_not_finite_is_left_out_and_said(tmp_path, capsys) -> None:
    given = {"detail": measured(math.nan, 1.0), "mse": measured(1.0, math.inf, baseline=math.nan), "rate": measured(2.0, 0.1)}
    figures.write(given, tmp_path / "m.json")
    assert figures.read(tmp_path / "m.json") == {"mse": {"value": 1.0}, "rate": {"value": 2.0, "error": 0.1}}
    assert capsys.readouterr().err == "m: left out, as these data leave them undefined: detail\n"


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_refused_before_anything_is_trained(split, tmp_path) -> None:
    made = {"train": images(4, ""), "test": images(4, "")} | {split: images(0, "")}
    with pytest.raises(UserError, match=rf"^params\.yaml: datasets\.toy: no examples in its {split} split"):
        arrays.write(tmp_path / "toy", made, {"dataset": "toy", "shape": [1, 16, 16]})
    assert not (tmp_path / "toy").exists()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")  # on the way to refusal
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_table_with_nan_is_refused_before_anything_is_trained(value, tmp_path) -> None:
    table = np.ones((5, 2))
    table[3, 1] = value
    with pytest.raises(
        UserError, match=r"^params\.yaml: datasets\.toy: values of its train split are NaN, infinite or too large"
    ):
        arrays.write(tmp_path / "toy", {"train": table, "test": np.ones((5, 2))}, {"dataset": "toy", "shape": [2]})


@pytest.mark.parametrize("fraction", [1e-5, 0.99999])
def test_a_test_fraction_that_leaves_a_split_empty_is_named(fraction, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(punks, "read_grid", lambda path: np.zeros((100, 24, 24, 4), np.uint8))
    monkeypatch.setattr(punks, "read_attributes", lambda path: (np.zeros((100, 2), np.uint8), ["a", "b"]))
    config = punks.Config(kind="punks", source="mirror", test_fraction=fraction)
    with pytest.raises(
        UserError, match=rf"^params\.yaml: datasets\.punks\.test_fraction: {fraction} of 100 portraits are (0|100)"
    ):
        punks.prepare(config, Path("punks"), 0)


def test_a_table_whose_training_rows_are_alike_is_refused(tmp_path) -> None:
    config = diabetes.Config(kind="diabetes", source="scikit-learn", test_fraction=0.999)
    diabetes.download(config, tmp_path)
    with pytest.raises(UserError, match=r"test_fraction: 0\.999 leaves 1 to train on, who all have the same age"):
        diabetes.prepare(config, tmp_path, 0)


def test_labels_that_are_not_there_are_missed_before_the_training(tmp_path) -> None:
    spec = DataSpec.of("toy", arrays.statistics(dataset(tmp_path / "data", 4, 4, labels=0)))
    with pytest.raises(UserError, match="target: class needs labels, and toy has none; set target: rotation"):
        families.build(families.config(block("classifier", target="class"), "toy"), spec)


def test_batches_of_one_are_refused_where_batch_normalisation_takes_their_mean(tmp_path, monkeypatch) -> None:
    from regen.params import Params
    from regen.training.run import run

    monkeypatch.chdir(tmp_path)
    given = Params(seed=0, precision="fp32", threads=1, checkpoint_seconds=20.0, launcher="python", datasets={},
                   models={"vae": block("vae", batch_size=1, hidden=4)})  # fmt: skip
    with pytest.raises(UserError, match=r"models\.vae\.batch_size: 1 over 1 processes, expected 2 or more each"):
        run("vae", given, dataset(tmp_path / "data", 4, 4), tmp_path / "model")
    given.models["vae"] |= {"batch_size": 4, "microbatch": 3}
    with pytest.raises(
        UserError, match=r"models\.vae\.microbatch: 3 leaves 1 of a process's 4 examples over, expected to leave none"
    ):
        run("vae", given, dataset(tmp_path / "more", 4, 4), tmp_path / "model")


def test_what_cannot_be_compiled_is_one_line(tmp_path) -> None:
    dataset(tmp_path / "data", 40, 10)
    program = """
from pathlib import Path
from regen.errors import reported
from regen.params import Params
from regen.training.run import run
from tests.conftest import block
given = Params(seed=0, precision="fp32", threads=1, checkpoint_seconds=20.0, launcher="python", datasets={},
               models={"vae": block("vae", compile=True, channels=[3, 5])})
with reported():
    run("vae", given, Path("data"), Path("model"))
"""
    done = compiling(program, tmp_path, CXX="/nowhere/g++")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert re.search(r"error: models\.vae\.compile: torch cannot compile it here \(.*C\+\+.*\); set compile: false$", said), (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    with pytest.raises(UserError, match="r1: expected 0 where compile is true"):
        build("gan", compile=True, r1=1.0)


def test_what_a_fit_refuses_names_the_model_and_its_data(tmp_path, monkeypatch) -> None:
    from regen.params import Params
    from regen.training.run import run

    monkeypatch.chdir(tmp_path)
    given = Params(seed=0, precision="fp32", threads=1, checkpoint_seconds=20.0, launcher="python", datasets={},
                   models={"p": {"dataset": "toy", "family": "ppca", "latent_dim": 2}})  # fmt: skip
    with pytest.raises(UserError, match=r"^models\.p: on the data set toy: PPCA: all 9 examples are equal"):
        run("p", given, dataset(tmp_path / "data", 9, 4, kind="all the same"), tmp_path / "model")


def test_edges_that_are_as_sure_as_numbers_can_tell_have_no_calibration(devices: Devices) -> None:
    x, edges = torch.ones(1, 2, 1).double() * 100, torch.ones(1, 2, 2).double()
    (row,) = graphs.calibration(x, edges, torch.tensor([10.0, 0.0]))
    assert math.isnan(row["z"])


NASTY = [
    "mouse $\\frac$ a",
    "$",
    "$$",
    "\\$x\\$",
    "a\nb",
    "\x1b[31mred",
    "nul\0",
    "\ud800",
    "%s {0} \\n",
    "x" * 300,
    "",
    "脑",
    "_^{",
]


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")  # what a font lacks is drawn as a box
def test_any_name_is_drawn_as_it_stands(tmp_path) -> None:
    values = {name: float(number) for number, name in enumerate(NASTY)}
    square, corners = np.eye(len(NASTY)), np.random.default_rng(0).normal(size=(len(NASTY), 2))
    plots.bars(values, tmp_path / "bars.png", "x", level=1.0, level_label="$\\frac$")
    plots.confusion(square, NASTY, tmp_path / "confusion.png")
    plots.scatter(corners, tmp_path / "scatter.png", np.arange(len(NASTY)), NASTY)
    plots.curves({name: ([0, 1], [value, 2]) for name, value in values.items()}, tmp_path / "curves.png", "x", "y",
                 levels=dict.fromkeys(NASTY, 0.5))  # fmt: skip
    tiles.panels(corners, np.arange(len(NASTY)), NASTY, ("x", "y"), tmp_path / "panels.png")
    (tmp_path / "history.csv").write_text("$\\frac$,$a$\n1,2\n2,3\n")
    plots.training_curves(tmp_path / "history.csv", tmp_path / "training.png")
    picture = collage.rows({name: torch.zeros(2, 1, 8, 8) for name in NASTY}, ["$\\frac$", "\x1b[31m"])
    assert picture.shape[1] < 1000
    assert len(list(tmp_path.glob("*.png"))) == 6


@pytest.mark.parametrize("name", ["mouse $\\frac$ a", "$a$ and $b$", "\\$x\\$"])
def test_a_drawn_name_has_its_dollars(name) -> None:
    from matplotlib.figure import Figure

    text = Figure().text(0, 0, plots.plain(name))
    shown, is_math = text._preprocess_math(text.get_text())  # type: ignore[attr-defined]  # what is drawn of it
    assert not is_math
    assert shown == name
