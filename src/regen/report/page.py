"""reports/index.html: one self-contained page, from metrics/, figures/ and params.yaml. It opens from disk, without a network."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from regen import paths
from regen.catalogue.captions import caption, order
from regen.catalogue.registry import MEASURES, Measure, title
from regen.errors import UserError
from regen.params import Params

WIDE = 2.5  # width of a picture, in heights, from which on it gets a row of the page


@dataclass(frozen=True)
class Row:
    """One figure of a model beside its limit and the published one."""

    name: str
    title: str
    measure: Measure
    value: float
    error: float | None
    limit: float | None
    reference: float | None


@dataclass(frozen=True)
class Picture:
    """One picture of a model, embedded."""

    name: str
    title: str
    text: str
    uri: str
    wide: bool  # too wide for one of the page's columns

    @classmethod
    def of(cls, path: Path, title: str, text: str = "") -> Picture:
        """Read a PNG."""
        with Image.open(path) as image:
            width, height = image.size
        uri = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        return cls(path.stem, title, text, uri, width > WIDE * height)


@dataclass(frozen=True)
class Section:
    """One model."""

    key: str
    family: str
    block: dict[str, Any]
    rows: list[Row]
    pictures: list[Picture]

    def row(self, name: str) -> Row | None:
        """The row of one measure, or None."""
        return next((row for row in self.rows if row.name == name), None)

    def picture(self, name: str) -> Picture | None:
        """The picture of one name, or None."""
        return next((picture for picture in self.pictures if picture.name == name), None)


@dataclass(frozen=True)
class Chapter:
    """One data set and its models."""

    dataset: str
    block: dict[str, Any]
    statistics: dict[str, Any]
    sections: list[Section]

    @property
    def compared(self) -> list[str]:
        """Measures that at least two of the models have: the columns of the comparison."""
        names = [row.name for section in self.sections for row in section.rows]
        return [name for name in MEASURES if names.count(name) > 1]

    @property
    def competing(self) -> list[Section]:
        """Models that have any of the compared measures: a classifier alone has none."""
        return [section for section in self.sections if any(section.row(name) for name in self.compared)]

    def heading(self, name: str) -> str:
        """Title of a measure: the models of one data set are classified by one classifier."""
        return next(row.title for section in self.sections for row in section.rows if row.name == name)


@dataclass(frozen=True)
class Study:
    """One model trained over a list of values."""

    key: str
    classifier: str
    block: dict[str, Any]
    rows: list[dict[str, Any]]
    pictures: list[Picture]

    @property
    def varied(self) -> list[str]:
        """The params that differ between rows, in the order of params.yaml."""
        return [name for name in self.block["vary"] if name in self.rows[0]["values"]]

    @property
    def shown(self) -> list[str]:
        """The measures that any row has."""
        return [name for name in self.block["show"] if any(name in row["measures"] for row in self.rows)]

    def heading(self, name: str) -> str:
        """Title of a measure."""
        return title(name, self.classifier)


def build(given: Params) -> str:
    """Return the page's HTML.

    Raises:
        UserError: a model has no metrics yet, or its metrics have a measure that nobody described.
    """
    chapters = []
    for dataset, block in given.prepared.items():
        keys = [key for key, model in given.models.items() if model["dataset"] == dataset]
        if keys:
            stage = "prepare" if dataset in given.datasets else "queries" if dataset in given.queries else "encode"
            statistics = written(paths.prepared(dataset) / "statistics.json", f"{stage}@{dataset}")
            chapters.append(Chapter(dataset, block, statistics, [section(key, given.models[key]) for key in keys]))
    environment = Environment(
        loader=PackageLoader("regen.report", "templates"), autoescape=select_autoescape(["j2"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["figure"] = figure
    environment.filters["scalar"] = lambda value: " ".join(str(value).split())
    studies = [study(key, block, given.models[block["model"]].get("classifier", "none")) for key, block in given.studies.items()]
    return environment.get_template("page.html.j2").render(chapters=chapters, studies=studies, given=given, measures=MEASURES)


def section(key: str, block: dict[str, Any]) -> Section:
    """Return one model's figures and pictures as the evaluation left them."""
    metrics = written(paths.metrics(key), f"evaluate@{key}")
    if unknown := sorted(set(metrics) - set(MEASURES)):
        raise UserError(f"{paths.metrics(key)}: {', '.join(unknown)}: not described in regen/evaluation/measures")
    rows = [
        Row(
            name,
            title(name, block.get("classifier", "none")),
            measure,
            entry["value"],
            entry.get("error"),
            entry.get("limit"),
            entry.get("reference"),
        )
        for name, measure in MEASURES.items()
        if (entry := metrics.get(name)) is not None
    ]
    found = sorted(paths.figures(key).glob("*.png"), key=lambda path: order(path.stem))
    pictures = [Picture.of(path, *caption(path.stem)) for path in found]
    return Section(key, block["family"], block, rows, pictures)


def study(key: str, block: dict[str, Any], classifier: str) -> Study:
    """Return one study's table and plots."""
    rows = written(paths.STUDIES / key / "table.json", f"study@{key}")["rows"]
    found = [path for name in block["show"] if (path := paths.STUDIES / key / f"{name}.png").exists()]
    return Study(key, classifier, block, rows, [Picture.of(path, title(path.stem, classifier)) for path in found])


def written(path: Path, stage: str) -> Any:
    """Return what a stage has written as JSON.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro {stage}`") from None
    except ValueError as error:
        raise UserError(f"{path}: no valid JSON ({error}); run `dvc repro --force {stage}`") from None


def figure(value: float | None) -> str:
    """Return a number with four significant digits, as people write it; an en dash for none."""
    if value is None or math.isnan(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    rounded = abs(float(f"{value:.4g}"))  # 0.99999 has the digits of 1
    digits = max(0, 3 - math.floor(math.log10(rounded))) if value else 0
    return f"{value:,.{min(digits, 6)}f}".replace(",", "\u202f")  # narrow space between thousands
