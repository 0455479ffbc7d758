"""What the page says of each data set and its models: figures beside what they are held against, pictures, curves."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regen import paths
from regen.catalogue import counting, published
from regen.catalogue.registry import MEASURES, Measure, caption, epoch_of, face, foremost, order, title, title_of
from regen.errors import UserError, shown
from regen.host import cores
from regen.metrics.values import AGAINST, Measured
from regen.params import Params
from regen.report import answer, charts, files, pictures
from regen.report.files import found
from regen.report.numbers import THIN
from regen.report.pictures import Picture, Shelf
from regen.report.playground import Section as Playground
from regen.report.playground import section as playable
from regen.report.studies import Study, study

WIPED = ("samples", "samples_prior", "reconstructions", "interpolation_linear", "latent_grid")  # compared by a wipe


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
    """One model.

    Attributes:
        face: address of its small picture in the overview; "" where there is none.
        history: columns of its training; empty where it has no steps.
        seconds: that its training took on this machine; None where nobody says.
        missing: what could not be read, and its cure.
    """

    key: str
    family: str
    block: dict[str, Any]
    rows: list[Row]
    pictures: list[Picture]
    face: str
    history: dict[str, list[float]]
    charts: list[charts.Chart]
    seconds: float | None
    missing: list[str]

    def row(self, name: str) -> Row | None:
        """The row of one measure, or None."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def figures(self) -> Measured:
        """Its figures as its evaluation left them."""
        parts = {row.name: {"value": row.value, "error": row.error, row.against: row.other} for row in self.rows}
        return {name: {what: x for what, x in entry.items() if x is not None} for name, entry in parts.items()}

    def doubt(self, name: str) -> counting.Doubt:
        """Why one of its figures does not count: a key of `counting.DOUBTS`; "" where it does."""
        return counting.doubt(self.figures, name)

    def picture(self, name: str) -> Picture | None:
        """The picture of one name, or None."""
        return next((picture for picture in self.pictures if picture.name == name), None)

    @property
    def foremost(self) -> Row | None:
        """The row that tells most of this model; None where it has none."""
        return self.row(foremost([row.name for row in self.rows], self.family))

    @property
    def steps(self) -> list[Picture]:
        """Its pictures in the course of its training; none where these are not at least two."""
        steps = [picture for picture in self.pictures if epoch_of(picture.name) is not None]
        return steps if len(steps) > 1 else []

    @property
    def numbers(self) -> list[tuple[float, ...]]:
        """The rows of its training."""
        return list(zip(*self.history.values(), strict=True))

    @property
    def length(self) -> str:
        """How long it was trained: `12 epochs`, or `7 iterations` of a fit; an en dash for a closed form."""
        if not self.history:
            return "–"
        unit, values = next(iter(self.history.items()))
        return f"{len(values)} {shown(unit)}{'s' if len(values) > 1 else ''}"

    @property
    def spent(self) -> str:
        """What went into its training: examples, each as often as it was seen, and time where that is known."""
        examples = self.history.get("examples", [])[-1:]
        parts = [f"{count:,.0f} examples".replace(",", THIN) for count in examples]
        if self.seconds is not None:
            parts.append(f"{self.seconds:.0f} s" if self.seconds < 100 else f"{self.seconds / 60:.0f} min")
        return ", ".join(parts)

    @property
    def gallery(self) -> list[Picture]:
        """All other pictures."""
        return [picture for picture in self.pictures if picture not in self.steps]


@dataclass(frozen=True)
class Chapter:
    """One data set, its models and those of its latents, and their studies.

    Attributes:
        playground: what runs of its models in the page; None where nothing does.
        missing: what could not be read of the data set itself, and its cure.
    """

    dataset: str
    block: dict[str, Any]
    statistics: dict[str, Any]
    sections: list[Section]
    studies: list[Study] = field(default_factory=list)
    playground: Playground | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def everything_missing(self) -> list[str]:
        """What could not be read of the data set, its models and studies."""
        parts: list[Chapter | Section | Study] = [self, *self.sections, *self.studies]
        lines = [line for part in parts for line in part.missing]
        return lines + (self.playground.missing if self.playground else [])

    @property
    def charts(self) -> list[charts.Chart]:
        """All curves of its models and studies."""
        return [chart for section in self.sections for chart in section.charts] + [
            chart for study in self.studies for chart in study.charts
        ]

    @property
    def compared(self) -> list[str]:
        """Measures that at least two of the models have: the columns of the comparison."""
        names = [row.name for section in self.sections for row in section.rows]
        return [name for name in MEASURES if names.count(name) > 1]

    @property
    def competing(self) -> list[Section]:
        """Models that have any of the compared measures: a classifier alone has none."""
        return [section for section in self.sections if any(section.row(name) for name in self.compared)]

    @property
    def answer(self) -> list[str]:
        """Which of its models generates best, in sentences; none where fewer than two generate."""
        return answer.answer(self.sections)

    @property
    def wiped(self) -> dict[str, list[str]]:
        """Pictures that at least two models have in one size, to be laid over each other: {name: models}."""
        groups = {}
        for name in WIPED:
            having = [(section.key, picture) for section in self.sections if (picture := section.picture(name))]
            sizes = [(picture.width, picture.height) for _, picture in having]
            size = max(sizes, key=sizes.count, default=None)
            keys = [key for key, picture in having if (picture.width, picture.height) == size]
            if len(keys) > 1:
                groups[name] = keys
        return groups

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


def chapters(
    given: Params, shelf: Shelf, only: str = "", curves: bool = True, seconds: Mapping[str, float] = MappingProxyType({})
) -> list[Chapter]:
    """Return the chapters of all data sets that have models, or of `only` one; pictures are put on the shelf.

    Without `curves` the picture of a training stands in for what the page would draw itself. `seconds` are what stages took.

    Raises:
        UserError: a model's metrics have a measure that nobody described.
    """
    made = []
    with ThreadPoolExecutor(cores()) as pool:  # Pillow compresses side by side
        for dataset, block in {**given.datasets, **given.queries}.items():
            keys = [key for key, model in given.models.items() if given.encoded(model["dataset"]) == dataset]
            if not keys or only not in ("", dataset):
                continue
            stage, missing = "prepare" if dataset in given.datasets else "queries", list[str]()
            statistics = found(partial(files.statistics, dataset, f"{stage}@{dataset}"), missing, dict[str, Any]())
            sections = [section(key, given, shelf, f"{dataset}/{key}", pool, curves, seconds.get(f"train@{key}")) for key in keys]
            studies = [study(key, given, curves) for key, block in given.studies.items() if block["model"] in keys]
            played = None if shelf.folder is None else playable(keys, given)  # one file holds no models
            made.append(Chapter(dataset, block, statistics, sections, studies, played, missing))
    return made


def section(
    key: str, given: Params, shelf: Shelf, place: str, pool: ThreadPoolExecutor, curves: bool, seconds: float | None = None
) -> Section:
    """Return one model's figures and pictures as the evaluation left them, and the published figures."""
    block, missing = given.models[key], list[str]()
    measured = found(lambda: files.measured(key), missing, Measured())
    history = found(lambda: files.history(key), missing, dict[str, list[float]]())
    drawn = charts.training(history, measured) if curves else []
    listed = sorted(found(lambda: files.pictures(key), missing, list[Path]()), key=lambda path: order(path.stem))
    listed = [path for path in listed if not (drawn and path.stem == "training")]
    told: list[list[str]] = [[] for _ in listed]
    tasks = [partial(_picture, path, place, shelf) for path in listed]
    read = list(pool.map(lambda task, said: found(task, said, None), tasks, told))
    missing += [line for said in told for line in said]
    kept = [picture for picture in read if picture is not None]
    return Section(
        key, block["family"], block, _rows(key, given, measured), kept, _face(key, kept, shelf), history,
        drawn, seconds, list(dict.fromkeys(missing)),
    )  # fmt: skip


def _picture(path: Path, place: str, shelf: Shelf) -> Picture | None:
    return Picture.of(path, place, shelf, *caption(path.stem))


def _face(key: str, kept: list[Picture], shelf: Shelf) -> str:
    """Put a model's small picture on the shelf of the overview, which a report of one data set does not have."""
    name = face([picture.name for picture in kept])
    if not name or shelf.within:
        return ""
    return shelf.put(f"_overview/{key}.webp", pictures.face(paths.figures(key) / f"{name}.png"))


def _rows(key: str, given: Params, measured: Measured) -> list[Row]:
    block, others = given.models[key], published.beside(key, given)
    if unknown := sorted(set(measured) - set(MEASURES)):
        raise UserError(f"{paths.metrics(key)}: {', '.join(unknown)}: not described in src/regen/catalogue")
    rows = []
    for name, measure in MEASURES.items():
        if (entry := measured.get(name)) is None:
            continue
        against = next((which for which in AGAINST if which in entry), "")
        number, source = others.get(name, (None, ""))
        rows.append(
            Row(name, title_of(name, block, given.models), measure, entry["value"], entry.get("error"), against,
                entry.get(against), number, source)
        )  # fmt: skip
    return rows
