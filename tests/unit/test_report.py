"""The page: every figure beside what it is held against and the published one, whatever is missing in one line."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from regen import params
from regen.catalogue import published
from regen.errors import UserError
from regen.evaluation import figures
from regen.report import page, showcase

METRICS = {
    "frechet_distance": {"value": 79.26, "error": 2.5, "real": 25.82},
    "character_accuracy": {"value": 0.9917, "error": 0.0, "bound": 1.0},
}
CELL = {"value": 73.5, "error": 2.0, "spread": 7.4, "real": 26.7}


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
        figures.write(METRICS, Path(f"metrics/{key}.json"))
        (tmp_path / "figures" / key).mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(tmp_path / "figures" / key / "samples.png")
    write("data/prepared/toy/statistics.json", {"splits": {"train": {"count": 9, "mean": 0.5, "std": 0.1, "min": 0, "max": 1}}})
    rows = [{"values": {"epochs": n}, "seeds": 3, "measures": {"frechet_distance": CELL}} for n in (1, 2)]
    write("studies/lengths/table.json", {"rows": rows})
    study = {"model": "one_gan", "vary": {"epochs": [1, 2]}, "show": ["frechet_distance"]}
    models = {"one_gan": block, "two_gan": block}
    datasets = {"toy": {"kind": "toy", "source": "generated"}}
    about = {"family": "gan", "kind": "toy"}
    entries = [
        published.Published({"character_accuracy": 0.5606}, "a paper", about),
        published.Published({"frechet_distance": 12.0}, "another paper", about, {"epochs": 2}),
    ]
    monkeypatch.setattr(published, "PUBLISHED", entries)
    return given.model_copy(
        update={"datasets": datasets, "queries": {}, "encodings": {}, "models": models, "studies": {"lengths": study}}
    )


def write(path, content):
    """Write JSON below the working folder."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_every_figure_stands_beside_what_it_is_held_against_and_the_published_one(made):
    rows = Cells(html := page.build(made)).rows
    assert ["Figure", "Ours", "Held against", "Published"] in rows
    frechet = "Frechet distance (toy_classifier features) squared feature units"
    assert [frechet, "79.26 ± 2.5", "real 25.82", "–"] in rows
    assert ["Characters right share", "0.9917", "bound 1.000", "0.5606"] in rows
    assert ["Characters right share", "0.9917", "0.9917", "bound 1.000"] in rows  # side by side: one_gan, two_gan
    assert '<abbr title="a paper">0.5606</abbr>' in html
    assert ["1", "3", "73.50 ± 7.4 real 26.70"] in rows
    assert ["2", "3", "73.50 ± 7.4 real 26.70 published 12.00"] in rows
    assert ["epochs", "Seeds", "Frechet distance (toy_classifier features)"] in rows


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
        ("metrics/one_gan.json", "{", r"metrics/one_gan.json: damaged .*; run `dvc repro --force evaluate@one_gan`"),
        ("metrics/context/one_gan.json", None, r"metrics/context/one_gan.json: no such file; run `dvc repro evaluate@one_gan`"),
        ("metrics/context/one_gan.json", "{}", r"metrics/one_gan.json: damaged .*other figures.*; run `dvc repro --force"),
        ("figures/one_gan/samples.png", "no picture", r"figures/one_gan/samples.png: no picture .*; run `dvc repro --force`"),
        ("studies/lengths/table.json", None, r"studies/lengths/table.json: no such file; run `dvc repro study@lengths`"),
        (
            "studies/lengths/table.json",
            "{",
            r"studies/lengths/table.json: no valid JSON .*; run `dvc repro --force",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_one_line_with_its_cure(made, path, content, message):
    Path(path).unlink() if content is None else Path(path).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        page.build(made)


def test_a_measure_that_nobody_described_is_named(made):
    figures.write({"beauty": {"value": 1.0, "error": 0.0}}, Path("metrics/one_gan.json"))
    with pytest.raises(UserError, match=r"metrics/one_gan.json: beauty: not described in src/regen/catalogue"):
        page.build(made)


def test_a_model_without_pictures_is_one_line_with_its_cure(made):
    shutil.rmtree("figures/two_gan")
    with pytest.raises(UserError, match=r"figures/two_gan: no such folder; run `dvc repro evaluate@two_gan`"):
        page.build(made)


def test_what_is_no_longer_in_params_yaml_is_not_shown(made):
    html = page.build(made.model_copy(update={"models": {"two_gan": made.models["two_gan"]}, "studies": {}}))
    assert "one_gan" not in html
    assert "two_gan" in html


def test_a_params_yaml_without_models_has_a_page(made):
    assert "No model in params.yaml yet" in page.build(made.model_copy(update={"models": {}, "datasets": {}, "studies": {}}))


def test_the_readme_s_picture_shows_the_data_set_that_most_families_were_trained_on(made):
    blocks = {"a_vae": {"dataset": "one", "family": "vae"}, "b_vae": {"dataset": "two", "family": "vae"},
              "b_gan": {"dataset": "two", "family": "gan"}, "c": {"dataset": "two", "family": "autoencoder"}}  # fmt: skip
    given = made.model_copy(update={"datasets": {"one": {}, "two": {}}, "models": blocks})
    with pytest.raises(UserError, match="no autoencoder, VAE or GAN has been evaluated yet"):
        showcase.write(given, Path("docs/x.png"))
    for key in ("a_vae", "b_vae", "b_gan"):  # c was not evaluated
        Path("figures", key).mkdir()
        Image.new("RGB", (20, 10)).save(f"figures/{key}/samples.png")
    assert showcase.chosen(given) == ("two", {"VAE": "b_vae", "GAN": "b_gan"})
    showcase.write(given, Path("docs/x.png"))
    first = Path("docs/x.png").read_bytes()
    showcase.write(given, Path("docs/x.png"))
    assert Path("docs/x.png").read_bytes() == first


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0.0, "0"), (0.5, "0.5000"), (79.257, "79.26"), (203275.4, "203\u202f275"),
     (7.19e-4, "7.19e-04"), (-110.9, "-110.9"), (2.5e7, "2.50e+07"), (0.99999, "1.000")],
)  # fmt: skip
def test_a_number_has_four_digits(value, text):
    assert page.figure(value) == text
