"""The page: every figure beside what it is held against and the published one, whatever is missing in one line."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from regen import cli, params
from regen.catalogue import published
from regen.errors import UserError
from regen.evaluation import figures
from regen.report import library, numbers, page, pictures, playground, showcase
from tests import small


class Tags(HTMLParser):
    """Names of all attributes, addresses of all pictures, and what stands in scripts that are run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.images: list[str] = []
        self.scripts: list[str] = []
        self.running = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag has."""
        given = dict(attrs)
        self.attributes |= given.keys()
        self.running = tag == "script" and "type" not in given
        if tag == "img" and given.get("src"):
            self.images.append(str(given["src"]))

    def handle_endtag(self, tag: str) -> None:
        """Leave a script."""
        self.running = False

    def handle_data(self, data: str) -> None:
        """Note what is run."""
        if self.running:
            self.scripts.append(data)


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
    given = small.furnish(tmp_path, params.read())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(published, "PUBLISHED", small.PUBLISHED)
    monkeypatch.setattr(page, "uplot", lambda: library.Library("/* draws */", ".drawn {}"))  # no download in a unit test
    return given


def html(given, only=""):
    """The page of the data set `toy`."""
    page.write(given, Path("reports"), only)
    return Path("reports/toy/index.html").read_text(encoding="utf-8")


def overview(given):
    """The page of all models."""
    page.write(given, Path("reports"))
    return Path("reports/index.html").read_text(encoding="utf-8")


def test_what_went_into_a_training_is_said_and_its_time_where_it_is_known(made):
    page.write(made, Path("reports"))
    assert "2 min" not in Path("reports/index.html").read_text(encoding="utf-8")
    page.write(made, Path("timed"), seconds={"train@one_gan": 131.0, "train@two_gan": 7.4})
    rows = Cells(Path("timed/index.html").read_text(encoding="utf-8")).rows
    assert [row[-1] for row in rows if len(row) == 7][1:] == [
        "3 epochs 4 500 examples, 2 min",
        "3 epochs 4 500 examples, 7 s",
    ]


def test_every_figure_stands_beside_what_it_is_held_against_and_the_published_one(made):
    rows = Cells(text := html(made)).rows
    assert ["Figure", "Ours", "Held against", "Published"] in rows
    frechet = "Frechet distance (toy_classifier features) squared feature units"
    assert [frechet, "79.26 ± 2.5", "real 25.82", "–"] in rows
    assert ["Characters right share", "0.9917", "bound 1.000", "0.5606"] in rows
    assert ["Characters right share", "bound 1.000", "0.9917", "0.9917"] in rows  # side by side: one_gan, two_gan
    assert re.search(r'popovertarget="source-1">0.5606</button>', text)
    assert '<div class="meaning" id="source-1" popover><p>Published: a paper.</p></div>' in text
    assert ["1", "3", "73.50 ± 7.4 real 26.70"] in rows
    assert ["2", "3", "73.50 ± 7.4 real 26.70 published 12.00"] in rows
    assert ["epochs", "Seeds", "Frechet distance (toy_classifier features) squared feature units"] in rows


def test_the_overview_has_the_one_figure_that_tells_most_of_each_model(made):
    rows = Cells(text := overview(made)).rows
    row = ["", "one_ gan gan", "Characters right share", "0.9917", "bound 1.000", "0.5606", "3 epochs 4 500 examples"]
    assert row in rows
    assert '<a href="toy/index.html#one_gan">' in text
    assert '<img src="_overview/one_gan.webp"' in text


def test_nothing_of_a_template_is_left_and_values_are_escaped(made):
    text = html(made)
    assert "{features}" not in text
    assert "&lt;b&gt;" in text
    assert "<dd><b></dd>" not in text


def test_pictures_lie_beside_the_page_with_their_size(made):
    text = html(made)
    assert '<img src="../toy/one_gan/samples.webp" alt="New images: one_gan" width="20" height="10"' in text
    with Image.open("reports/toy/one_gan/samples.webp") as kept, Image.open("figures/one_gan/samples.png") as drawn:
        assert kept.convert("RGB").tobytes() == drawn.convert("RGB").tobytes()  # of few colours: no loss at all
    assert 'alt="Training: one_gan"' not in text  # the page draws these curves itself


def test_a_large_picture_has_a_smaller_copy_that_opens_to_the_whole(made):
    Image.effect_noise((1600, 1200), 90).save("figures/one_gan/manifold.png")
    text = html(made)
    assert re.search(r'href="../toy/one_gan/manifold.webp"><img src="../toy/one_gan/manifold-small.webp"[^>]* width="1600"', text)
    sizes = {}
    for name in ("manifold", "manifold-small"):
        with Image.open(f"reports/toy/one_gan/{name}.webp") as image:
            sizes[name] = image.size
    assert sizes == {"manifold": (1600, 1200), "manifold-small": (760, 570)}


def test_a_photograph_is_a_tenth_of_its_png_and_looks_the_same():
    y, x = np.mgrid[:400, :400] / 400
    draw = np.random.default_rng(0)
    smooth = np.stack([x, y, (x + y) / 2], -1) * 200 + 20 + draw.normal(0, 3, (400, 400, 3))
    image = Image.fromarray(smooth.clip(0, 255).astype(np.uint8))
    png = io.BytesIO()
    image.save(png, format="PNG", optimize=True)
    content = pictures.encoded(image)
    with Image.open(io.BytesIO(content)) as kept:
        error = np.asarray(kept.convert("RGB"), float) - np.asarray(image, float)
    assert len(content) < len(png.getvalue()) / 10
    assert (error**2).mean() ** 0.5 < 4  # grey levels: the noise of 3, and little more


def test_the_curves_of_a_training_have_beside_them_what_the_figure_is_held_against(made):
    found = re.findall(r'<div class="plot".*?<script type="application/json">(.*?)</script>', html(made), re.DOTALL)
    charts = {chart["title"]: chart for chart in map(json.loads, found)}
    assert charts["character accuracy"]["levels"] == {"bound": 1.0}
    assert charts["character accuracy"]["lines"][0]["values"] == [0.5, None, 0.99]
    assert charts["learning rate"]["places"] == [1.0, 2.0, 3.0]
    study = charts["Frechet distance (toy_classifier features)"]
    assert study["levels"] == {"real": 26.7}
    assert [line["label"] for line in study["lines"]] == ["ours", "published"]


def test_without_the_library_that_draws_the_page_shows_the_picture_of_the_training(made, monkeypatch):
    def refuse():
        raise UserError("uPlot: no mirror gave it")

    monkeypatch.setattr(page, "uplot", refuse)
    text = html(made)
    assert 'alt="Training: one_gan"' in text
    assert 'class="plot"' not in text
    assert "uPlot: no mirror gave it" in overview(made)


def test_two_writings_give_the_same_bytes(made):
    def content():
        page.write(made, Path("reports"))
        return {path: path.read_bytes() for path in sorted(Path("reports").rglob("*")) if path.is_file()}

    assert content() == content()


def test_one_file_has_all_in_it(made):
    assert page.write_single(made, Path("report.html")) == []
    text = Path("report.html").read_text(encoding="utf-8")
    assert text.count("data:image/webp;base64,") == 2 + 2 * 4  # in the overview, and of each model
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    anchors = set(re.findall(r'href="#([^"]+)"', text))
    assert anchors <= set(re.findall(r'\bid="([^"]+)"', text))
    assert sorted(re.findall(r'\bid="([^"]+)"', text)) == sorted(set(re.findall(r'\bid="([^"]+)"', text)))


def test_the_page_of_one_data_set_needs_nothing_of_the_others(made):
    other = made.model_copy(update={"datasets": {**made.datasets, "absent": made.datasets["toy"]}})
    other = other.model_copy(update={"models": {**made.models, "absent_gan": {**made.models["one_gan"], "dataset": "absent"}}})
    assert page.write(other, Path("reports"), "toy") == []
    assert "absent" not in html(other, "toy")
    assert page.write(other, Path("reports")) != []


def test_the_page_of_one_data_set_leaves_the_others_alone(made):
    page.write(made, Path("reports"))
    before = Path("reports/index.html").read_bytes()
    page.write(made, Path("reports"), "toy")
    assert Path("reports/index.html").read_bytes() == before


def test_what_became_of_a_data_set_s_files_stands_there_by_number(made):
    assert "bad files" not in html(made)
    statistics = json.loads(Path("data/prepared/toy/statistics.json").read_text())
    facts = {"bad files": 3, "bad files: cut <short>": 3, "copies of another file": 0, "files": 511}
    small.write("data/prepared/toy/statistics.json", {**statistics, "facts": facts})
    assert '<p class="note">Bad files: 3; bad files: cut &lt;short&gt;: 3; files: 511.</p>' in html(made)


def test_nothing_of_a_page_comes_from_a_network(made):
    for text in (html(made), overview(made)):
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
        assert (
            'content="default-src &#39;none&#39;; img-src &#39;self&#39; file: data:; base-uri &#39;none&#39;; form-action'
            in text
        )


def test_a_page_runs_its_own_scripts_and_no_other(made):
    text = html(made)
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]+)"', text)[0])
    assert "unsafe" not in policy
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        hashes = set(re.findall(r"'sha256-([^']+)'", policy.split(directive)[1].split(";")[0]))
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert hashes == {base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies} != set()
    assert not re.search(r"\s(on\w+|style)=", re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL))


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&#34;{{7*7}}"


def test_hostile_names_are_texts(made, monkeypatch):
    """Of a parameter, a label, a class of files, a setting of a study, a picture, a column: none is read as HTML or run."""
    block = {**made.models["one_gan"], "note": HOSTILE, HOSTILE: 1}
    study = {**made.studies["lengths"], "vary": {HOSTILE: ["a", HOSTILE]}}
    rows = [{"values": {HOSTILE: value}, "seeds": 1, "measures": {"frechet_distance": small.CELL}} for value in ("a", HOSTILE)]
    small.write("studies/lengths/table.json", {"rows": rows})
    statistics = {
        "splits": {HOSTILE: {"count": HOSTILE}, "train": {"count": 9}},
        "credit": f"{HOSTILE}\ud800",
        "facts": {HOSTILE: HOSTILE},
    }
    small.write("data/prepared/toy/statistics.json", statistics)
    name = HOSTILE.replace("/", "").replace("\0", "") + "\x1b%2e#?"
    for odd in (name, os.fsdecode(b"no text \xff")):
        shutil.copy("figures/one_gan/samples.png", f"figures/one_gan/{odd}.png")
    Path("figures/one_gan/training.csv").write_text(f'epoch,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n1,2\n', encoding="utf-8")
    given = made.model_copy(update={"models": {**made.models, "one_gan": block}, "studies": {"lengths": study}})
    for text in (html(given), overview(given)):
        tags = Tags(text)
        assert "alert(1)" not in "".join(tags.scripts)
        assert not [name for name in tags.attributes if name.startswith("on")]
    assert "{{7*7}}" in html(given)
    images = [os.fsdecode(unquote_to_bytes(source)) for source in Tags(html(given)).images]
    assert f"../toy/one_gan/{name}.webp" in images
    assert all((Path("reports/toy") / source).is_file() for source in images)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("metrics/one_gan.json", None, r"metrics/one_gan.json: no such file; run `dvc repro evaluate@one_gan`"),
        ("metrics/one_gan.json", "{", r"metrics/one_gan.json: damaged .*; run `dvc repro --force evaluate@one_gan`"),
        ("metrics/context/one_gan.json", None, r"metrics/context/one_gan.json: no such file; run `dvc repro evaluate@one_gan`"),
        ("metrics/context/one_gan.json", "{}", r"metrics/one_gan.json: damaged .*other figures.*; run `dvc repro --force"),
        ("figures/one_gan/samples.png", "no picture", r"figures/one_gan/samples.png: no picture .*; run `dvc repro --force`"),
        (
            "figures/one_gan/training.csv",
            "epoch,loss\n1,x\n",
            r"figures/one_gan/training.csv: damaged .*; run `dvc repro --force",
        ),
        ("figures/one_gan/training.csv", "epoch,loss\n1\n", r"figures/one_gan/training.csv: damaged .*; run `dvc repro --force"),
        (
            "data/prepared/toy/statistics.json",
            None,
            r"data/prepared/toy/statistics.json: no such file; run `dvc repro prepare@toy`",
        ),
        (
            "data/prepared/toy/statistics.json",
            "[]",
            r"data/prepared/toy/statistics.json: damaged .*; run `dvc repro --force",
        ),
        ("studies/lengths/table.json", None, r"studies/lengths/table.json: no such file; run `dvc repro study@lengths`"),
        ("studies/lengths/table.json", "{", r"studies/lengths/table.json: no valid JSON .*; run `dvc repro --force"),
        ("studies/lengths/table.json", "[]", r"studies/lengths/table.json: damaged .*; run `dvc repro --force study@lengths`"),
    ],
)
def test_what_is_missing_or_damaged_is_one_line_with_its_cure_and_the_rest_is_there(made, path, content, message):
    Path(path).unlink() if content is None else Path(path).write_text(content, encoding="utf-8")
    missing = page.write(made, Path("reports"))
    assert len(missing) == 1
    assert re.match(message, missing[0])
    for text in (html(made), overview(made)):
        assert escape(missing[0], quote=False) in text.replace("&#39;", "'").replace("&#34;", '"')
    assert ["Characters right share", "0.9917", "bound 1.000", "0.5606"] in Cells(html(made)).rows  # of two_gan
    with pytest.raises(UserError, match=message):
        page.write(made, Path("elsewhere"), whole=True)
    assert not Path("elsewhere").exists()


def test_a_pipeline_that_has_not_run_has_a_page_that_says_how(made):
    for folder in ("metrics", "figures", "studies", "exports", "data"):
        shutil.rmtree(folder)
    missing = page.write(made, Path("reports"))
    cures = {line.split("run `dvc repro ")[1].rstrip("`") for line in missing}
    stages = {f"{stage}@{key}" for stage in ("evaluate", "export") for key in ("one_gan", "two_gan")}
    assert cures == {"prepare@toy", "study@lengths", *stages}
    assert "Not evaluated yet." in overview(made)
    assert "Missing or damaged" in overview(made)


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["toy"], ".work/report/toy/index.html"),
        ([], ".work/report/index.html"),
        (["--out", "a/b"], "a/b/index.html"),
        (["toy", "--single-file"], "toy.html"),
        (["--single-file"], "report.html"),
        (["--single-file", "--out", "x.html"], "x.html"),
    ],
)
def test_the_command_says_what_it_wrote_and_what_is_missing(made, monkeypatch, arguments, written):
    monkeypatch.setattr(params, "read", lambda: made)
    for name in ("params.yaml", "dvc.yaml"):
        Path(name).touch()
    Path("figures/one_gan/training.csv").write_text("epoch\nx\n", encoding="utf-8")
    done = CliRunner().invoke(cli.commands, ["report", *arguments])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{written}\n"
    assert done.stderr.startswith("missing: figures/one_gan/training.csv: damaged")
    assert "one_gan" in Path(written).read_text(encoding="utf-8")


@pytest.mark.parametrize("only", ["", "toy"])
def test_a_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(made, tmp_path, only):
    place = tmp_path / "mine" / only
    (place / "sub").mkdir(parents=True)
    (place / "sub/gold").touch()
    with pytest.raises(UserError, match="expected a new or empty folder, or an earlier report"):
        page.write(made, tmp_path / "mine", only)
    (place / "index.html").write_text("<title>My own page</title>")
    with pytest.raises(UserError, match="expected a new or empty folder, or an earlier report"):
        page.write(made, tmp_path / "mine", only)
    assert (place / "sub/gold").exists()
    shutil.rmtree(place)
    place.mkdir()
    for _ in range(2):
        assert page.write(made, tmp_path / "mine", only) == []


@pytest.mark.parametrize("place", [".", "/", "..", "params.yaml"])
def test_a_place_that_is_no_report_s_is_one_line(made, monkeypatch, place):
    monkeypatch.setattr(params, "read", lambda: made)
    for name in ("params.yaml", "dvc.yaml"):
        Path(name).touch()
    done = CliRunner().invoke(cli.commands, ["report", "--out", place])
    assert isinstance(done.exception, UserError), done.output
    assert Path("params.yaml").exists()


def test_a_measure_that_nobody_described_is_named(made):
    figures.write({"beauty": {"value": 1.0, "error": 0.0}}, Path("metrics/one_gan.json"))
    with pytest.raises(UserError, match=r"metrics/one_gan.json: beauty: not described in src/regen/catalogue"):
        page.write(made, Path("reports"))


def test_what_is_no_longer_in_params_yaml_is_not_shown(made):
    text = html(made.model_copy(update={"models": {"two_gan": made.models["two_gan"]}, "studies": {}}))
    assert "one_gan" not in text
    assert "two_gan" in text


def test_a_params_yaml_without_models_has_a_page(made):
    assert "No model in params.yaml yet" in overview(made.model_copy(update={"models": {}, "datasets": {}, "studies": {}}))


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
    assert numbers.figure(value) == text


def test_what_runs_in_the_page_stands_beside_it_and_the_page_allows_it(made):
    small.write("exports/one_gan/decoder.json", {"kind": "decoder"})
    Path("exports/one_gan/decoder.onnx").write_bytes(b"")
    for name in playground.RUNTIME:
        Path("data/runtime").mkdir(parents=True, exist_ok=True)
        Path("data/runtime", name).write_text("")
    assert page.write(made, Path("reports")) == []
    text = Path("reports/toy/index.html").read_text()
    assert '<option value="one_gan">' in text
    assert '<option value="two_gan">' not in text
    found = re.findall(r'"(\.\./playground/[^"]+)"', text)
    assert found == ["../playground/playground.css", "../playground/playground.js"]
    assert all(Path("reports/toy", name).is_file() for name in [*found, "../playground/one_gan.js", "../playground/ort.js"])
    assert "wasm-unsafe-eval" in text
    assert "wasm-unsafe-eval" not in Path("reports/index.html").read_text()
    page.write_single(made, Path("one.html"))
    text = Path("one.html").read_text()
    assert "pg-stage" not in text
    assert "without the playground" in text
