"""The report in a real browser: from disk, without a network, by mouse, keys and screen reader, as wide as a phone and a desk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regen import params
from regen.catalogue import published
from regen.data.download import pinned
from regen.data.download.mirrors import File, Package
from regen.errors import UserError
from regen.report import library, page
from tests import small

selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
LACKING = [name for name, found in (("chromium", BROWSER), ("chromedriver", DRIVER)) if not found]
pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {' and '.join(LACKING)} (Debian: chromium, chromium-driver)"),
    pytest.mark.timeout(900),
]

ARCHIVE = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
AXE = File(
    "axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c", 653_780,
    (Package("npm", "axe-core", "4.14.1", ARCHIVE, "package/axe.min.js"),),
)  # fmt: skip
WIDTHS = (360, 800, 1400)
PAGES = ("index.html", "toy/index.html")


class Browser:
    """A browser, and what a test does with it."""

    def __init__(self) -> None:
        options = selenium.ChromeOptions()
        options.binary_location = str(BROWSER)
        for switch in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-extensions"):
            options.add_argument(f"--{switch}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = selenium.Chrome(options=options, service=Service(str(DRIVER)))
        self.driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)

    def open(self, path: Path, width: int = 1400, dark: bool = False) -> None:
        """Open a page from disk, at a width."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.size(width)
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(path.resolve().as_uri())

    def size(self, width: int, height: int = 900) -> None:
        """Give the window a size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def one(self, selector: str) -> Any:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        """All elements of a CSS selector."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def show(self, selector: str) -> Any:
        """Bring an element into view, and return it."""
        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        return element

    def until(self, script: str) -> Any:
        """Wait until a script returns what is true, and return that."""
        end = time.monotonic() + 120
        while not (found := self.run(script)):
            assert time.monotonic() < end, script
            time.sleep(0.05)
        return found

    @property
    def focused(self) -> Any:
        """What has the focus."""
        return self.driver.switch_to.active_element


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for all tests, off the network."""
    made = Browser()
    yield made
    made.driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small report, half of whose pictures are missing for one model, as a folder and as one file; returns the folder."""
    folder = tmp_path_factory.mktemp("browser")
    try:
        library.uplot()
    except UserError as error:
        pytest.skip(f"what draws curves cannot be fetched here: {error}")
    given = small.furnish(folder, params.read(), size=(700, 700))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(published, "PUBLISHED", small.PUBLISHED)
        assert page.write(given, Path("reports")) == []
        assert page.write_single(given, Path("report.html")) == []
        shutil.rmtree("figures/two_gan")
        page.write(given, Path("half"))
    return folder


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


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script that looks for what people with a disability cannot use."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        pinned.into(folder, [AXE])
    except UserError as error:
        pytest.skip(f"axe-core cannot be fetched here: {error}")
    return (folder / AXE.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing(browser, path, axe, width, dark):
    browser.open(path, width, dark)
    browser.run(axe)
    browser.until("return !document.querySelector('.find').hidden")
    found = browser.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    told = [(one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]]
    assert told == []
    assert len(found["passes"]) > 20
