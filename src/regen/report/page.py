"""The report: a page of all models, one page a data set, their pictures beside them. It opens from disk, without a network.

It shows the models and studies of params.yaml, whatever else lies in these folders. What the pipeline has not made yet, or what
is damaged, is a line on the page with the command that makes it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from regen.catalogue.counting import DOUBTS
from regen.catalogue.registry import MEASURES, caption
from regen.data import folders
from regen.errors import UserError, shown
from regen.metrics.values import AGAINST
from regen.params import Params
from regen.report import playground
from regen.report.chapters import Chapter, chapters
from regen.report.files import found
from regen.report.library import Library, uplot
from regen.report.numbers import figure
from regen.report.pictures import Shelf


def write(
    given: Params, out: Path, only: str = "", *, whole: bool = False, seconds: Mapping[str, float] = MappingProxyType({})
) -> list[str]:
    """Write the report as a folder: index.html, <data set>/index.html, and pictures; of `only` one data set its folder alone.

    Returns what is missing of it: a line each, with its cure. `seconds` are what stages took here: with them the report says how
    long trainings took, and without them it is the same for the same run.

    Raises:
        UserError: a model's metrics have a measure that nobody described; or anything is missing of what has to be `whole`.
    """
    with folders.replacing(free(out / only if only else out)) as part:
        report = Report.of(given, Shelf(part, within=f"{only}/" if only else ""), only, seconds)
        if whole and report.missing:
            raise UserError("\n".join(report.missing))
        if not only:
            folders.write(part / "index.html", report.page(overview=True, shown=[]))
        for chapter in report.chapters:
            place = part if only else part / chapter.dataset
            place.mkdir(exist_ok=True)
            folders.write(place / "index.html", report.page(overview=False, shown=[chapter]))
        if sections := [chapter.playground for chapter in report.chapters if chapter.playground]:
            playground.write(out if only else part, sections)
    return report.missing


def free(place: Path) -> Path:
    """Return a folder that a report may take the place of: a new one, an empty one, or that of an earlier report.

    Raises:
        UserError: anything else is there.
    """
    place = place if place.name not in ("", "..") else place.resolve()
    parts = [place / name for name in os.listdir(place)] if place.is_dir() else []
    pages = all(part.is_dir() and (part.name == playground.FOLDER or _is_report(part)) for part in parts)  # also of no parts
    if not os.path.lexists(place) or (place.is_dir() and (_is_report(place) or pages) and place.name):
        return place
    raise UserError(f"{place}: expected a new or empty folder, or an earlier report; name another one")


def _is_report(folder: Path) -> bool:
    try:
        text = (folder / "index.html").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.search(r"<title>(regen: report|regen|\w+: regen)</title>", text[:2000]))


def write_single(given: Params, out: Path, only: str = "", *, seconds: Mapping[str, float] = MappingProxyType({})) -> list[str]:
    """Write the report as one file with all that it shows, to be sent to somebody; returns and raises as `write` does."""
    report = Report.of(given, Shelf(None), only, seconds)
    folders.write(out, report.page(overview=not only, shown=report.chapters))
    return report.missing


@dataclass(frozen=True)
class Report:
    """What the pages are made of."""

    given: Params
    chapters: list[Chapter]
    library: Library
    missing: list[str]
    single: bool
    with_overview: bool

    @classmethod
    def of(cls, given: Params, shelf: Shelf, only: str, seconds: Mapping[str, float]) -> Report:
        """Read what stages have written, and put the pictures on the shelf."""
        missing = list[str]()
        library = found(uplot, missing, Library())
        made = chapters(given, shelf, only, bool(library.script), seconds)
        missing += [line for chapter in made for line in chapter.everything_missing]
        return cls(given, made, library, missing, shelf.folder is None, not only)

    def page(self, overview: bool, shown: Sequence[Chapter]) -> str:
        """Return the HTML of one page: the overview, or what it shows of data sets, or both."""
        drawn = any(chapter.charts for chapter in shown)
        style = "\n".join(filter(None, (self.library.style if drawn else "", _source("style.css"))))
        scripts = [_source("page.js"), *((self.library.script, _source("charts.js")) if drawn else ())]
        root = "" if overview or self.single else "../"
        rows = [row for chapter in shown for section in chapter.sections for row in section.rows]
        rows += [row for chapter in self.chapters for section in chapter.sections if overview and (row := section.foremost)]
        cells = [row["measures"] for chapter in shown for study in chapter.studies for row in study.rows]
        used = {row.name for row in rows} | {name for cell in cells for name in cell}
        sources = [row.source for row in rows] + [entry.get("source", "") for cell in cells for entry in cell.values()]
        return ENVIRONMENT.get_template("page.html.j2").render(
            chapters=self.chapters, overview=overview, shown=shown, given=self.given, missing=self.missing,
            single=self.single, with_overview=self.with_overview, drawn=drawn,
            measures=MEASURES, AGAINST=AGAINST, DOUBTS=DOUBTS, caption=caption,
            used=[name for name in MEASURES if name in used], sources=list(dict.fromkeys(filter(None, sources))),
            style=style, scripts=scripts, policy=policy(scripts, [style], any(chapter.playground for chapter in shown)),
            at=partial(self._at, root), address=lambda src: src if self.single else root + src,
            index=self._index(root, self.chapters if overview else shown),
        )  # fmt: skip

    def _at(self, root: str, dataset: str = "", anchor: str = "") -> str:
        """Return the address of a data set's page, or of something on it; without a data set that of the overview."""
        if self.single:
            return f"#{anchor or (f'data-{dataset}' if dataset else 'content')}"
        page = f"{root}{dataset}/index.html" if dataset else f"{root}index.html"
        return page + (f"#{anchor}" if anchor else "")

    def _index(self, root: str, near: Sequence[Chapter]) -> list[tuple[str, str, str]]:
        """What can be found by its name: what it is called, what it is, and where it stands; figures only of what is `near`."""
        entries = []
        for chapter in self.chapters:
            entries.append((chapter.dataset, "data set", self._at(root, chapter.dataset)))
            for section in chapter.sections:
                entries.append(
                    (section.key, f"{section.family} of {chapter.dataset}", self._at(root, chapter.dataset, section.key))
                )
            for study in chapter.studies:
                name = f"study-{study.key}"
                entries.append((study.key, f"study of {study.block['model']}", self._at(root, chapter.dataset, name)))
            titles = dict.fromkeys(row.title for section in chapter.sections for row in section.rows if chapter in near)
            entries += [(title, f"figure of {chapter.dataset}", self._at(root, chapter.dataset)) for title in titles]
        return entries


def policy(scripts: Sequence[str], styles: Sequence[str], plays: bool = False) -> str:
    """Return a content security policy: these scripts and styles run, pictures are shown, and nothing else is loaded or run.

    Where the page `plays`, also what its playground needs: scripts beside it, and WebAssembly.
    """
    allowed = {"default-src": ["'none'"], "img-src": ["'self'", "file:", "data:"], "base-uri": ["'none'"],
               "form-action": ["'none'"], "script-src": [*map(_hash, scripts)], "style-src": [*map(_hash, styles)]}  # fmt: skip
    for name, more in playground.POLICY.items() if plays else ():
        allowed.setdefault(name, []).append(more)
    return "; ".join(" ".join((name, *sources)) for name, sources in allowed.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _source(name: str) -> str:
    """Return a style or script of the templates' folder, as it stands there."""
    assert ENVIRONMENT.loader is not None
    return ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0].strip()


def _scalar(value: Any) -> str:
    return shown(" ".join(str(value).split()))


ENVIRONMENT = Environment(
    loader=PackageLoader("regen.report", "templates"), autoescape=select_autoescape(["j2"]), undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
ENVIRONMENT.filters |= {"figure": figure, "scalar": _scalar}
