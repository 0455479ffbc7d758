"""The report in a real browser: from disk, without a network, by mouse, keys and screen reader, as wide as a phone and a desk."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from regen import params, paths
from regen.catalogue import published
from regen.data import arrays
from regen.drawing import collage
from regen.errors import UserError
from regen.export import runtime
from regen.report import library, page
from tests import small
from tests.browser import played
from tests.conftest import build, toy_images

selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = pytest.mark.timeout(900)

WIDTHS = (360, 800, 1400)
PAGES = ("index.html", "toy/index.html")


@pytest.fixture(scope="module")
def player() -> Any:
    """An untrained model that runs in the report, with weights that make images of many colours."""
    torch.manual_seed(0)
    model = build("gan")
    for tensor in model.parameters():
        tensor.data += 0.2 * torch.randn(tensor.shape)
    return model.eval()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, player: Any) -> Path:
    """A small report, half of whose pictures are missing for one model, as a folder and as one file; returns the folder."""
    folder = tmp_path_factory.mktemp("browser")
    try:
        library.uplot()
        runtime.fetch(folder / paths.RUNTIME)
    except UserError as error:
        pytest.skip(f"what draws curves, or runs models, cannot be fetched here: {error}")
    given = small.furnish(folder, params.read(), size=(700, 700))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(published, "PUBLISHED", small.PUBLISHED)
        images = toy_images()["x"]
        arrays.write(
            paths.prepared("toy"), {"train": images, "test": images}, {"dataset": "toy", "kind": "toy", "shape": [3, 16, 16]}
        )
        small.export("one_gan", player, paths.prepared("toy"))
        assert page.write(given, Path("reports")) == []
        assert page.write_single(given, Path("report.html")) == []
        shutil.rmtree("figures/two_gan")
        page.write(given, Path("half"))
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 24 models, with pictures that are as large as those of real ones; returns its folder."""
    folder, keys = tmp_path_factory.mktemp("many"), [f"model_{n}" for n in range(24)]
    given = small.furnish(folder, params.read(), keys=keys)
    colours = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((700, 700), Image.Resampling.BICUBIC).save(folder / "samples.png")
    for key in keys:
        shutil.copy(folder / "samples.png", folder / "figures" / key)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        page.write(given, Path("reports"))
    return folder / "reports"


@pytest.fixture(params=["reports/index.html", "reports/toy/index.html", "half/index.html", "half/toy/index.html", "report.html"])
def path(request: pytest.FixtureRequest, report: Path) -> Path:
    """Each page, in turn."""
    return report / request.param


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_opens_without_an_error_and_all_its_pictures_and_curves_are_there(browser, path, width, dark):
    """To look at them: REGEN_SCREENSHOTS names a folder in which each page is left as a picture."""
    browser.open(path, width, dark)
    for element in browser.all("img, .plot"):  # what is far below is read when somebody comes there
        browser.run("arguments[0].scrollIntoView()", element)
        browser.until("return [...document.querySelectorAll('.plot')].filter(p => p.checkVisibility()"
                      " && Math.abs(p.getBoundingClientRect().top) < 300).every(p => p.querySelector('canvas'))")  # fmt: skip
    shown = "[...document.images].filter(image => image.checkVisibility() && image.hasAttribute('src'))"
    browser.until(f"return {shown}.every(image => image.complete)")
    assert browser.run(f"return {shown}.filter(image => !image.naturalWidth).map(image => image.src)") == []
    assert browser.run("return document.images.length") > 0
    assert browser.driver.get_log("browser") == []
    assert browser.run("return document.documentElement.scrollWidth") <= width  # nothing is cut off at the side
    if folder := os.environ.get("REGEN_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        height = browser.run("scrollTo(0, 0); return document.documentElement.scrollHeight")
        browser.size(width, height)
        name = "-".join((*path.parts[-3:-1], path.stem, str(width), "dark" if dark else "light"))
        assert browser.driver.save_screenshot(f"{folder}/{name}.png")


def test_the_first_view_reads_no_picture_but_the_small_ones(browser, report):
    browser.open(report / "reports/index.html")
    read = browser.until("return document.readyState == 'complete' && [...document.images].map(image => image.currentSrc)")
    assert {Path(source).parent.name for source in read if source} == {"_overview"}
    small = [file.stat().st_size for file in (report / "reports/_overview").iterdir()]
    assert max(small) < 20_000  # bytes: of 26 models half a megabyte


def test_the_first_view_of_many_models_weighs_less_than_a_megabyte(browser, many):
    browser.open(many / "index.html")
    browser.until("return document.readyState == 'complete'")
    browser.until("return [...document.images].filter(image => image.naturalWidth).length > 5")
    read = {Path(unquote(urlsplit(address).path)) for address in browser.asked()}
    assert many / "index.html" in read
    assert len(read) > 6
    assert sum(path.stat().st_size for path in read) < 1_000_000  # bytes
    assert sum(path.stat().st_size for path in many.glob("toy/*/samples.webp")) > 1_500_000  # which it would read otherwise


def test_a_data_set_s_page_reads_only_the_pictures_that_are_near(browser, report):
    browser.open(report / "reports/toy/index.html", width=360)
    browser.until("return document.readyState == 'complete'")
    time.sleep(1)
    loaded = browser.run("return [...document.images].filter(image => image.complete && image.naturalWidth).length")
    assert 0 < loaded < len(browser.all("img[src]"))


def test_a_script_that_somebody_smuggles_in_is_refused(browser, report, tmp_path):
    smuggled = "<script>document.title = 'caught'</script><img src=x onerror=\"document.title = 'caught'\">"
    text = (report / "reports/toy/index.html").read_text(encoding="utf-8")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/index.html").write_text(text.replace("</main>", f"{smuggled}</main>"), encoding="utf-8")
    browser.open(tmp_path / "toy/index.html")
    refused = [line["message"] for line in browser.driver.get_log("browser") if "Content Security Policy" in line["message"]]
    assert len(refused) == 2
    assert browser.driver.title == "toy: regen"


def test_slash_finds_and_enter_goes_there(browser, report):
    browser.open(report / "reports/index.html")
    browser.press("/")
    assert browser.focused.get_attribute("id") == "find"
    browser.press("two gan")
    assert [link.text.split("\n")[0] for link in browser.all("#found a")] == ["two_gan"]
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused.text.startswith("two_gan")
    browser.press(Keys.ENTER)
    browser.until("return location.pathname.endsWith('/toy/index.html') && location.hash == '#two_gan'")
    browser.press("/", "no such thing")
    assert browser.one("#count").get_attribute("textContent") == "0 found"
    browser.press(Keys.ESCAPE)
    assert browser.one("#find").get_attribute("value") == ""


@pytest.mark.parametrize("name", ["reports/toy/index.html", "report.html"])
def test_a_picture_opens_to_the_whole_by_keys(browser, report, name):
    browser.open(report / name)
    opener = browser.show("#one_gan-samples .open")
    browser.run("arguments[0].focus()", opener)
    browser.press(Keys.ENTER)
    browser.until("return document.querySelector('#zoom[open] img').naturalWidth == 700")
    assert browser.one("#zoom-title").text == "New images: one_gan"
    browser.press(Keys.ARROW_RIGHT)
    assert browser.one("#zoom-title").text != "New images: one_gan"
    browser.press(Keys.ESCAPE)
    browser.until("return !document.querySelector('#zoom[open]')")
    assert browser.focused == opener


def test_what_a_figure_means_opens_by_keys(browser, report):
    browser.open(report / "reports/toy/index.html")
    term = browser.show("#one_gan [popovertarget='meaning-frechet_distance']")
    browser.run("arguments[0].focus()", term)
    browser.press(Keys.ENTER)
    meaning = browser.one("#meaning-frechet_distance")
    assert "Squared distance between Gaussians" in meaning.text
    browser.press(Keys.ESCAPE)
    assert not meaning.is_displayed()


def test_the_steps_of_a_training_are_one_picture_with_a_slider(browser, report):
    browser.open(report / "reports/toy/index.html")
    slider = browser.show("#one_gan .step input")
    shown = "return [...document.querySelectorAll('#one_gan .steps figure')].filter(f => f.checkVisibility()).map(f => f.id)"
    assert browser.run(shown) == ["one_gan-epoch_0003"]
    browser.run("arguments[0].focus()", slider)
    browser.press(Keys.ARROW_LEFT)
    assert browser.run(shown) == ["one_gan-epoch_0001"]
    assert slider.get_attribute("aria-valuetext") == "Epoch 1"


def test_a_new_image_that_is_pointed_at_stands_beside_its_nearest_training_image(browser, report):
    browser.open(report / "reports/toy/index.html")
    samples = browser.show("#one_gan-samples img")
    assert not browser.one(".lens").is_displayed()
    middle = samples.size["width"] / 2
    for row, column in ((0, 0), (3, 7), (9, 9)):
        place = [round(samples.size["width"] / 10 * (n + 0.5) - middle) for n in (column, row)]
        ActionChains(browser.driver).move_to_element_with_offset(samples, *place).perform()
        assert browser.one(".lens").is_displayed()
        left, right = browser.all(".lens div")
        assert "one_gan/samples.webp" in left.value_of_css_property("background-image")
        assert "one_gan/samples_nearest.webp" in right.value_of_css_property("background-image")
        pitch = (700 - 2 * collage.MARGIN + collage.GAP) / 10
        wanted = [-(collage.MARGIN + n * pitch) for n in (column, row)]
        for part in (left, right):
            found = [float(side.removesuffix("px")) for side in part.value_of_css_property("background-position").split()]
            assert found == pytest.approx(wanted, abs=0.1)
    ActionChains(browser.driver).move_to_element(browser.one("h1")).perform()
    assert not browser.one(".lens").is_displayed()


def test_one_model_s_picture_is_wiped_over_another_s(browser, report):
    browser.open(report / "reports/toy/index.html")
    browser.show(".wipe")
    browser.until("return [...document.querySelectorAll('.stage img')].every(image => image.naturalWidth == 700)")
    sides = [Path(image.get_attribute("src")).parent.name for image in browser.all(".stage img")]
    assert sides == ["two_gan", "one_gan"]
    edge = browser.one(".wipe input")
    browser.run("arguments[0].focus()", edge)
    browser.press(Keys.HOME)
    assert browser.one('[data-side="left"]').value_of_css_property("clip-path") == "inset(0px 100% 0px 0px)"
    stage = browser.one(".stage")
    ActionChains(browser.driver).move_to_element_with_offset(stage, stage.size["width"] // 4, 0).click().perform()
    assert abs(int(edge.get_attribute("value")) - 75) <= 1


def test_a_curve_is_read_by_pointer_and_by_keys(browser, report):
    browser.open(report / "reports/toy/index.html")
    plot = browser.show("#one_gan .plot")
    browser.until("return document.querySelector('#one_gan .plot canvas')")

    def read(*wanted):
        """Wait for what stands below the curve."""
        spans = "[...document.querySelector('#one_gan .reading').children].map(span => span.textContent.trim()).join('; ')"
        browser.until(f"return {spans}.startsWith('{'; '.join(wanted)}')")

    read("character accuracy", "bound 1")
    ActionChains(browser.driver).move_to_element_with_offset(plot, plot.size["width"] // 2 - 30, 0).perform()
    read("epoch 3", "character accuracy 0.99")
    browser.run("arguments[0].focus()", plot)
    browser.press(Keys.HOME)
    read("epoch 1", "character accuracy 0.5")
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    read("epoch 3", "character accuracy 0.99")


def test_all_that_can_be_worked_is_reached_by_the_tab_key(browser, report):
    browser.open(report / "reports/toy/index.html")
    wanted = "a[href], button, input, select, summary, [tabindex='0']"
    visible = browser.run(f'return [...document.querySelectorAll("{wanted}")].filter(e => e.checkVisibility()).length')
    reached = set()
    for _ in range(visible):
        browser.press(Keys.TAB)
        reached.add(browser.focused.id)
    assert len(reached) == visible
    browser.open(report / "reports/toy/index.html")
    browser.press(Keys.TAB)
    assert browser.focused.text == "To the content"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing(browser, path, axe, width, dark):
    browser.open(path, width, dark)
    browser.until("return !document.querySelector('.find').hidden")
    assert browser.violations(axe) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_model_is_played_in_its_data_set_s_page(browser, report, player, axe, dark):
    browser.open(report / "reports/toy/index.html", dark=dark)
    assert [option.text for option in browser.all(".playground option")] == ["one_gan, gan"]
    browser.show(".pg-controls button").click()
    browser.until("return document.querySelector('.pg-stage').dataset.shown == 'one_gan'")
    first = played.pixels(browser.driver)
    assert first.std() > 10  # of 255: no two grounds of one colour are compared
    played.same_image(browser.driver, player)
    played.press(browser.driver, "New samples")
    played.changed(browser.driver, first)
    played.same_image(browser.driver, player)
    asked = browser.asked()
    assert {"index.html", "one_gan.js", "wasm.js"} <= {Path(address).name for address in asked}
    assert {address.partition(":")[0] for address in asked} <= {"file", "blob", "data"}
    assert browser.violations(axe) == []
    assert browser.driver.get_log("browser") == []


@pytest.mark.parametrize(("name", "most", "pictures"), [("index.html", 1, [176] * 2), ("toy/index.html", 5, [700] * 8)])
def test_a_page_is_printed_with_all_its_pictures(browser, report, name, most, pictures):
    browser.open(report / "reports" / name)  # where nobody has seen those far below
    browser.until("return document.readyState == 'complete'")
    sheets, widths = browser.printed()
    assert 0 < sheets <= most
    assert [width for width in widths if width in pictures] == pictures  # charts are pictures too, or lines
    browser.until("return !document.documentElement.classList.contains('printed')")
    assert browser.driver.get_log("browser") == []


@pytest.mark.parametrize("name", ["reports/index.html", "reports/toy/index.html", "report.html"])
def test_what_is_printed_is_light_has_no_controls_and_fits_a_sheet(browser, report, name):
    looks, curves = [], []
    for dark in (False, True):
        browser.open(report / name, width=717, dark=dark)  # A4 without its margins
        drawn = (
            "Promise.resolve([...document.querySelectorAll('.plot canvas')]).then(found => found.map(curve => curve.toDataURL()))"
        )
        curves.append(browser.run(f"dispatchEvent(new Event('beforeprint')); return {drawn}"))
        browser.scheme(dark, "print")
        looks.append(browser.run(LOOK))
    browser.scheme(False)
    assert looks[0] == looks[1]
    assert curves[0] == curves[1]
    look = looks[0]
    assert look["controls"] == look["wide"] == look["hidden"] == look["cut"] == []
    assert look["colours"][0] == "rgb(0, 0, 0) rgb(255, 255, 255)"
    assert len(curves[0]) == (0 if name == "reports/index.html" else 5)


LOOK = """
const parts = [...document.querySelectorAll("body, body *")];
const seen = parts.filter(part => part.checkVisibility());
const said = found => found.map(part => part.outerHTML.slice(0, 200));
const content = "main :is(figure, img, table, thead, th, td, h1, h2, h3, h4):not(.unseen, :is(.playground, .wipe, details) *)";
return {
  controls: said(seen.filter(part => part.matches("header, .playground, .wipe, .step, .lens, summary, select, input"))),
  hidden: said(parts.filter(part => part.matches(content)).filter(part => !part.checkVisibility())),
  cut: said(parts.filter(part => part.matches("thead:not(details *)") && part.offsetHeight < 9)),
  wide: said(seen.filter(part => part.getBoundingClientRect().right > 717.5)),
  colours: seen.map(part => `${getComputedStyle(part).color} ${getComputedStyle(part).backgroundColor}`),
};
"""
