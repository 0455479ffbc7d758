"""reports/index.html: one self-contained page, from metrics/, figures/ and params.yaml. It opens from disk, without a network.

It shows the models and studies of params.yaml, whatever else lies in these folders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from regen import paths
from regen.catalogue import published
from regen.catalogue.registry import MEASURES, Measure, caption, order, title
from regen.errors import UserError
from regen.metrics.values import AGAINST
from regen.params import Params
from regen.report.files import Picture, measured, pictures, written
from regen.report.studies import study


@dataclass(frozen=True)
class Row:
    """One figure of a model, what it is held against, and what others have published.

    Attributes:
        against: which of bound, baseline and real stands beside it; "" for none.
        other: its value.
    """

    name: str
    title: str
    measure: Measure
    value: float
    error: float | None
    against: str
    other: float | None
    published: float | None
    source: str


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
        """Title of a measure, with the model that gave the features where all rows have the same one."""
        titles = {row.title for row in self.across(name)}
        return titles.pop() if len(titles) == 1 else title(name)

    def across(self, name: str) -> list[Row]:
        """The rows of one measure."""
        return [row for section in self.sections if (row := section.row(name))]

    def against(self, name: str) -> tuple[str, float | None]:
        """What all of a measure's figures are held against, and its value; None where each model has its own."""
        rows = [row for row in self.across(name) if row.other is not None]
        kinds, values = {row.against for row in rows}, {row.other for row in rows}
        return " or ".join(which for which in AGAINST if which in kinds), values.pop() if len(values) == 1 else None


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
            chapters.append(Chapter(dataset, block, statistics, [section(key, given) for key in keys]))
    environment = Environment(
        loader=PackageLoader("regen.report", "templates"), autoescape=select_autoescape(["j2"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["figure"] = figure
    environment.filters["scalar"] = lambda value: " ".join(str(value).split())
    studies = [study(key, given) for key in given.studies]
    return environment.get_template("page.html.j2").render(
        chapters=chapters, studies=studies, given=given, measures=MEASURES, AGAINST=AGAINST
    )


def section(key: str, given: Params) -> Section:
    """Return one model's figures and pictures as the evaluation left them, and the published figures."""
    block, metrics, others = given.models[key], measured(key), published.beside(key, given)
    if unknown := sorted(set(metrics) - set(MEASURES)):
        raise UserError(f"{paths.metrics(key)}: {', '.join(unknown)}: not described in src/regen/catalogue")
    rows = []
    for name, measure in MEASURES.items():
        if (entry := metrics.get(name)) is None:
            continue
        against = next((which for which in AGAINST if which in entry), "")
        number, source = others.get(name, (None, ""))
        rows.append(
            Row(name, title(name, block.get("classifier", "none")), measure, entry["value"], entry.get("error"), against,
                entry.get(against), number, source)
        )  # fmt: skip
    found = sorted(pictures(key), key=lambda path: order(path.stem))
    return Section(key, block["family"], block, rows, [Picture.of(path, *caption(path.stem)) for path in found])


def figure(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, as people write it; an en dash for none."""
    if value is None or math.isnan(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{min(digits - 1, 2)}e}"
    rounded = abs(float(f"{value:.{digits}g}"))  # 0.99999 has the digits of 1
    decimals = max(0, digits - 1 - math.floor(math.log10(rounded))) if value else 0
    return f"{value:,.{min(decimals, 6)}f}".replace(",", "\u202f")  # narrow space between thousands
