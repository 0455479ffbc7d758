"""The page of `regen compare` in a real browser: from disk, without a network, by mouse and by keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regen.commands.side_by_side import page
from tests.conftest import shell
from tests.unit.test_compare import MEASURE, PARAMS, PIPELINE

selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = pytest.mark.timeout(900)

HOSTILE = "<img/src=x/onerror=document.title='caught'>"  # a branch of this name is an experiment's
NOTE = f"</script><script>document.title='caught'</script>{HOSTILE}"
PLACES = "return [...document.querySelectorAll('.layer img')].map(image => image.style.transform)"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a commit beside one with a hostile name and a hostile param."""
    folder = tmp_path_factory.mktemp("compared")
    for name, content in {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "measure.py": MEASURE}.items():
        (folder / name).write_text(content, encoding="utf-8")
    shell(folder, "git init -q -b main && dvc init -q && dvc repro -q && git add -A && git commit -qm run")
    changed = PARAMS.replace("beta: 1.0, classifier: judge", f'beta: 4.0, classifier: judge, note: "{NOTE}"')
    (folder / "params.yaml").write_text(changed, encoding="utf-8")
    shell(folder, f'git switch -qc "{HOSTILE}" && dvc repro -q && git add -A && git commit -qm hostile')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(os.environ, "DVC_NO_ANALYTICS", "1")
        page.write(["main", HOSTILE], [], folder / "compare.html")
    return folder / "compare.html"


@pytest.fixture
def opened(browser, compared):
    """Open the page; afterwards, nothing has gone wrong and nothing hostile has run."""

    def at(width: int = 1400, dark: bool = False):
        browser.open(compared, width, dark)
        browser.until("return [...document.querySelectorAll('img[data-picture]')].every(image => image.loading = 'eager')")
        browser.until("return [...document.querySelectorAll('img[data-picture]')].every(image => image.complete)")
        return browser

    yield at
    assert browser.driver.get_log("browser") == []
    assert browser.driver.title == f"regen: main, {HOSTILE}"


def test_every_picture_is_there_and_what_is_hostile_is_text(opened):
    browser = opened()
    widths = browser.run("return [...document.querySelectorAll('img[data-picture]')].map(image => image.naturalWidth)")
    assert widths == [8] * 4  # new images and examples, in two columns
    assert NOTE in browser.one("main").text
    assert [option.get_attribute("textContent") for option in browser.all("#a option")] == ["main", HOSTILE]
    assert [Path(address).name for address in browser.asked() if not address.startswith("data:")] == ["compare.html"]


def test_a_script_that_somebody_smuggles_in_is_refused(browser, compared):
    smuggled = "<script>document.title = 'caught'</script><img src=x onerror=\"document.title = 'caught'\">"
    page = compared.with_name("smuggled.html")
    page.write_text(compared.read_text(encoding="utf-8").replace("</main>", f"{smuggled}</main>"), encoding="utf-8")
    browser.open(page)
    refused = [line["message"] for line in browser.driver.get_log("browser") if "Content Security Policy" in line["message"]]
    assert len(refused) == 2
    assert browser.driver.title == f"regen: main, {HOSTILE}"


def viewed(browser):
    """Open the viewer by the keys, at the second column's new images."""
    button = browser.show('[data-title="a_vae: New images"] [data-column="1"]')
    browser.run("arguments[0].focus()", button)
    browser.press(Keys.ENTER)
    browser.until(
        "return [...document.querySelectorAll('#viewer[open] .layer img')].filter(i => i.naturalWidth == 8).length == 2"
    )


def test_what_a_figure_means_is_told_by_mouse_and_by_key(opened):
    browser = opened()
    term, meaning = browser.show("[popovertarget='meaning-frechet_distance']"), browser.one("#meaning-frechet_distance")
    for tell, hide in ((term.click, lambda: term.send_keys(Keys.ESCAPE)), (lambda: term.send_keys(Keys.ENTER), term.click)):
        tell()
        assert "Squared distance between Gaussians" in meaning.text
        hide()
        assert not meaning.is_displayed()


def test_two_pictures_are_wiped_over_each_other(opened):
    browser = opened()
    viewed(browser)
    assert [browser.one(f"#{side}").get_attribute("value") for side in "ab"] == ["0", "1"]
    sources = browser.run("return [...document.querySelectorAll('.layer img')].map(image => image.src)")
    assert len(set(sources)) == 2
    clip = "return document.querySelector('#over').style.clipPath"
    assert browser.run(clip) == "inset(0px 0px 0px 50%)"
    wipe = browser.one("#wipe")
    ActionChains(browser.driver).move_to_element_with_offset(wipe, wipe.size["width"] // 4, 0).click().perform()
    assert abs(float(wipe.get_attribute("value")) - 75) < 2
    wipe.send_keys(Keys.HOME)
    assert browser.run(clip) == "inset(0px 0px 0px 0%)"


def test_both_are_zoomed_and_moved_together(opened):
    browser = opened()
    viewed(browser)
    start = browser.run(PLACES)
    stage = browser.one("#stage")
    browser.run("arguments[0].focus()", stage)
    browser.press("+")
    larger = browser.run(PLACES)
    assert larger[0] == larger[1] != start[0]
    assert "scale(1.5)" in larger[0]
    browser.press(Keys.ARROW_LEFT)
    moved = browser.run(PLACES)
    assert moved[0] == moved[1] != larger[0]
    browser.press("0")
    assert browser.run(PLACES) == start
    origin = selenium.common.actions.wheel_input.ScrollOrigin.from_element(stage, 30, 20)
    ActionChains(browser.driver).scroll_from_origin(origin, 0, -400).perform()
    browser.until(f"return ({PLACES.removeprefix('return ')})[0] != '{start[0]}'")
    wheeled = browser.run(PLACES)
    assert wheeled[0] == wheeled[1]
    ActionChains(browser.driver).move_to_element(stage).click_and_hold().move_by_offset(50, 30).release().perform()
    dragged = browser.run(PLACES)
    assert dragged[0] == dragged[1] != wheeled[0]
    browser.press(Keys.ESCAPE)
    assert not browser.one("#viewer").is_displayed()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing(opened, axe, width, dark):
    browser = opened(width, dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.violations(axe) == []
    viewed(browser)
    assert browser.violations(axe) == []
