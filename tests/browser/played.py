"""What tests of the playground share: wait for it, press its buttons, and read the image that it shows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch


def wait(true: Any, otherwise: Any = str) -> None:
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.wait import WebDriverWait

    try:
        WebDriverWait(None, 300, 0.1).until(lambda _: true())
    except TimeoutException:
        pytest.fail(f"nothing happened within five minutes: {otherwise()}")


def status(browser: Any) -> Any:
    return lambda: browser.find_element("css selector", ".playground [role=status]").text


PIXELS = """
const c = document.querySelector(arguments[0]), copy = document.createElement("canvas");
[copy.width, copy.height] = [c.width, c.height];
const ink = copy.getContext("2d", { willReadFrequently: true });
ink.drawImage(c, 0, 0);
return Array.from(ink.getImageData(0, 0, c.width, c.height).data);
"""


def pixels(browser: Any, selector: str = ".pg-view", channels: int = 3) -> np.ndarray:
    """What a canvas shows, (channels, height, width), 0 to 255."""
    canvas = browser.find_element("css selector", selector)
    shape = int(canvas.get_attribute("height")), int(canvas.get_attribute("width")), 4
    return np.array(browser.execute_script(PIXELS, selector)).reshape(shape).transpose(2, 0, 1)[:channels]


def latents(browser: Any) -> torch.Tensor:
    """Those of the image that is shown."""
    return torch.tensor(json.loads(browser.find_element("css selector", ".pg-view").get_attribute("data-latents")))


def same_image(browser: Any, model: Any) -> None:
    """The image that is shown is Python's for the same latents, to one grey level of 255; a grey one in three channels."""
    wait(lambda: browser.execute_script("return regenPlayground.idle()"))
    z, told = latents(browser)[None], browser.find_element("css selector", ".pg-view").get_attribute("data-asked")
    if told not in (None, "null"):
        first = model.latents
        image = model.image(first.decode(z, torch.tensor(json.loads(told))[None], first.config.guidance))[0]
    else:
        image = model.decode(z)[0]
    expected = image.clamp(0, 1) * 255
    assert np.abs(pixels(browser) - expected.numpy()).max() <= 1.0


def changed(browser: Any, before: np.ndarray) -> None:
    wait(lambda: not np.array_equal(pixels(browser), before), status(browser))


def press(browser: Any, text: str) -> None:
    next(button for button in browser.find_elements("css selector", ".playground button") if button.text == text).click()
