"""The page: every figure beside its limit and the published one, whatever is missing in one line."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from regen import params
from regen.errors import UserError
from regen.report import page

METRICS = {
    "frechet_distance": {"value": 79.26, "error": 2.5, "limit": 25.82},
    "character_accuracy": {"value": 0.9917, "limit": 1.0, "reference": 0.5606},
}
CELL = {"value": 73.5, "spread": 7.4, "limit": 26.7, "reference": 12.0}


class Cells(HTMLParser):
    """Texts of the cells of every table, row by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Begin a row or a cell."""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        """Collect a cell's text."""
        if self.inside:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Two models of one data set and a study, as the stages leave them; returns their params."""
    given = params.read()
    block = {"dataset": "toy", "family": "gan", "classifier": "toy_classifier", "note": "<b>"}
    monkeypatch.chdir(tmp_path)
    for key in ("one_gan", "two_gan"):
        write(f"metrics/{key}.json", METRICS)
        (tmp_path / "figures" / key).mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(tmp_path / "figures" / key / "samples.png")
    write("data/prepared/toy/statistics.json", {"splits": {"train": {"count": 9, "mean": 0.5, "std": 0.1, "min": 0, "max": 1}}})
    write("studies/seeds/table.json", {"rows": [{"values": {}, "seeds": 3, "measures": {"frechet_distance": CELL}}]})
    Image.new("RGB", (20, 10)).save(tmp_path / "studies" / "seeds" / "frechet_distance.png")
    study = {"model": "one_gan", "vary": {"seed": [0, 1, 2]}, "show": ["frechet_distance"]}
    models = {"one_gan": block, "two_gan": block}
    datasets = {"toy": {"source": "generated"}}
    return given.model_copy(
        update={"datasets": datasets, "queries": {}, "encodings": {}, "models": models, "studies": {"seeds": study}}
    )


def write(path, content):
    """Write JSON below the working folder."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_every_figure_stands_beside_its_limit_and_the_published_one(made):
    rows = Cells(page.build(made)).rows
    assert ["Figure", "Reference", "Ours", "Limit"] in rows
    assert ["Frechet distance (toy_classifier features) squared feature units", "–", "79.26 ± 2.500", "25.82"] in rows
    assert ["Characters right share", "0.5606", "0.9917", "1.000"] in rows
    assert ["Characters right share", "0.9917", "0.9917", "1.000"] in rows  # side by side: one_gan, two_gan, limit
    assert ["3", "73.50 ± 7.400 reference 12.00 limit 26.70"] in rows
    assert ["Seeds", "Frechet distance (toy_classifier features)"] in rows


def test_nothing_of_a_template_is_left_and_values_are_escaped(made):
    html = page.build(made)
    assert "{features}" not in html
    assert "&lt;b&gt;" in html
    assert "<dd><b></dd>" not in html
    assert html.count("data:image/png;base64,") == 2 + 2 + 1  # of each model, side by side, of the study


def test_without_a_network_nothing_of_the_page_is_missing(made):
    html = page.build(made)
    assert "http://" not in html
    assert "https://" not in html


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("metrics/one_gan.json", None, r"metrics/one_gan.json: no such file; run `dvc repro evaluate@one_gan`"),
        ("metrics/one_gan.json", "{", r"metrics/one_gan.json: no valid JSON .*; run `dvc repro --force evaluate@one_gan`"),
        ("metrics/one_gan.json", '{"beauty": {"value": 1}}', r"metrics/one_gan.json: beauty: not described in"),
        ("studies/seeds/table.json", None, r"studies/seeds/table.json: no such file; run `dvc repro study@seeds`"),
        ("studies/seeds/table.json", "{", r"studies/seeds/table.json: no valid JSON .*; run `dvc repro --force study@seeds`"),
    ],
)
def test_what_is_missing_or_damaged_is_one_line_with_its_cure(made, path, content, message):
    Path(path).unlink() if content is None else Path(path).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        page.build(made)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0.0, "0"), (0.5, "0.5000"), (79.257, "79.26"), (203275.4, "203\u202f275"),
     (7.19e-4, "7.19e-04"), (-110.9, "-110.9"), (2.5e7, "2.50e+07"), (0.99999, "1.000")],
)  # fmt: skip
def test_a_number_has_four_digits(value, text):
    assert page.figure(value) == text
