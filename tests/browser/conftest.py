"""A real browser, off the network, and what looks for what people with a disability cannot use in a page."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regen.data.download import pinned
from regen.data.download.mirrors import File, Package
from regen.errors import UserError

ARCHIVE = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
AXE = File(
    "axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c", 653_780,
    (Package("npm", "axe-core", "4.14.1", ARCHIVE, "package/axe.min.js"),),
)  # fmt: skip
PROGRAMS = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "chromedriver": ("chromedriver",)}


def program(name: str) -> str:
    """The path of a program; a test that needs it is left out where it is missing."""
    found = next((path for one in PROGRAMS[name] if (path := shutil.which(one))), None)
    if found is None:
        pytest.skip(f"not installed: {name} (Debian: chromium, chromium-driver)")
    return found


class Browser:
    """A browser, and what a test does with it."""

    def __init__(self) -> None:
        selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'")
        options = selenium.ChromeOptions()
        options.binary_location = program("chromium")
        for switch in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-extensions"):
            options.add_argument(f"--{switch}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = selenium.Chrome(options=options, service=selenium.ChromeService(program("chromedriver")))
        self.driver.set_script_timeout(300)
        self.driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)

    def open(self, path: Path, width: int = 1400, dark: bool = False) -> None:
        """Open a page from disk, at a width."""
        self.scheme(dark)
        self.size(width)
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.resolve().as_uri())

    def scheme(self, dark: bool, medium: str = "") -> None:
        """Prefer dark or light pages, and show them as they are in a medium: on the screen, or in `print`."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def size(self, width: int, height: int = 900) -> None:
        """Give the window a size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def printed(self) -> tuple[int, list[int]]:
        """Print the page on A4: how many sheets, and the width of each picture on them."""
        margins = {f"margin{side}": 1 for side in ("Top", "Bottom", "Left", "Right")}  # inches, which is wide
        sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "generateTaggedPDF": False} | margins
        content = base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", sheet)["data"])
        pictures = re.findall(rb"/Subtype /Image\s*/Width (\d+)", content)
        return len(re.findall(rb"/Type\s*/Page\b", content)), list(map(int, pictures))

    def one(self, selector: str) -> Any:
        """The first element of a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        """All elements of a CSS selector."""
        return list(self.driver.find_elements("css selector", selector))

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def show(self, selector: str) -> Any:
        """Bring an element into view, and return it."""
        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        return element

    def until(self, script: str) -> Any:
        """Wait until a script returns what is true, and return that."""
        end = time.monotonic() + 300
        while not (found := self.run(script)):
            assert time.monotonic() < end, script
            time.sleep(0.05)
        return found

    def asked(self) -> list[str]:
        """The addresses that the page has asked for since it was opened, or since this was called, itself among them."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    @property
    def focused(self) -> Any:
        """What has the focus."""
        return self.driver.switch_to.active_element

    def violations(self, axe: str) -> list[Any]:
        """What axe finds in the page as it is now; it has to have looked at something."""
        self.run(axe)
        found = self.driver.execute_async_script("axe.run({ preload: false }).then(arguments[arguments.length - 1])")
        assert len(found["passes"]) > 15
        return [(one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a file."""
    made = Browser()
    yield made
    made.driver.quit()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script that looks for what people with a disability cannot use."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        pinned.into(folder, [AXE])
    except UserError as error:
        pytest.skip(f"axe-core cannot be fetched here: {error}")
    return (folder / AXE.name).read_text(encoding="utf-8")
