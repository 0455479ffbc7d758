"""The playground in a real browser, from the disk: the images are Python's, every control does something, and nothing is loaded
from elsewhere. The models are tiny and untrained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jinja2 import Environment, PackageLoader

from regen import families, params, paths
from regen.data import arrays
from regen.errors import UserError
from regen.export import runtime
from regen.models.base import DataSpec
from regen.models.two_stages import TwoStages
from regen.report import playground
from tests import small, smoke
from tests.browser.played import changed, latents, pixels, press, same_image, status, wait
from tests.conftest import block, build, toy_images

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = pytest.mark.timeout(1800)  # the first test waits for all exports

LABELS = ("left", "right", "<b>bright</b>")
POLICY = {"default-src": "'none'", "img-src": "'self' data:"} | playground.POLICY
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Playground</title>
<meta http-equiv="Content-Security-Policy" content="{{ policy }}"><link rel="stylesheet" href="style.css"></head>
<body><main><h1>Toys</h1>{% include "playground.html.j2" %}</main></body></html>"""


def models() -> dict[str, Any]:
    """A tiny model of each kind that runs in the page."""
    torch.manual_seed(0)
    latents = DataSpec(dataset="toy_latents", kind="encoding", shape=(4,), labels=LABELS, std=2.0)
    flow: Any = families.build(families.config(block("flow", conditional=True, guidance=1.5), "flow"), latents)
    flow.together = torch.tensor([[500.0, 0, 5, 500], [0, 500, 5, 500], [5, 5, 10, 10], [500, 500, 10, 1000]]).double()
    made = {
        "toy_vae": build("vae"),
        "toy_plane": build("vae", latent_dim=2),
        "toy_flow": TwoStages(flow, build("autoencoder")),
        "toy_text": build("seq2seq", source="text", target="text"),
        "toy_handwriting": build("seq2seq", source="text", target="image", naming=1.0, latent_dim=3),
    }
    made["toy_ppca"] = build("ppca").eval()
    for model in list(made.values())[:-1]:
        for tensor in model.parameters():
            tensor.data += 0.2 * torch.randn(tensor.shape)
        model.eval()
    return made


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """The page of the models as it lies on the disk, and the models."""
    folder, made = tmp_path_factory.mktemp("report"), models()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            runtime.fetch(paths.RUNTIME)
        except UserError as problem:
            pytest.skip(f"ONNX Runtime Web could not be fetched: {problem}")
        toy = toy_images()
        content = {"train": toy["x"], "train_labels": toy["labels"][:, 0], "test": toy["x"], "test_labels": toy["labels"][:, 0]}
        description = {"dataset": "toy", "kind": "toy", "shape": [3, 16, 16], "labels": ["a", "<i>"]}
        arrays.write(paths.prepared("toy"), content, description)
        grey = toy["x"][:, :6, :6, :1]
        arrays.write(paths.prepared("grey"), {"train": grey, "test": grey}, description | {"shape": [1, 6, 6]})
        made["toy_ppca"].fit({"x": grey})
        for key, model in made.items():
            data = paths.prepared("grey" if key == "toy_ppca" else "toy")
            small.export(key, model, data)
        given = params.read(smoke.ROOT / "params.yaml")
        blocks = {key: {"dataset": "toy", "family": model.config.family} for key, model in made.items()}
        section = playground.section(made, given.model_copy(update={"models": blocks}))
        assert section is not None
        assert section.missing == []
        playground.write(folder, [section])
    environment = Environment(loader=PackageLoader("regen.report", "templates"), autoescape=True)
    policy = "; ".join(" ".join(part) for part in POLICY.items())
    html = environment.from_string(PAGE).render(policy=policy, playground=section, address=str, top=1)
    (folder / "index.html").write_text(html, encoding="utf-8")
    shutil.copy(Path(playground.__file__).with_name("templates") / "style.css", folder)  # of the whole page
    return folder, made


@pytest.fixture
def opened(browser, toys) -> Iterator[Any]:
    """Open a model as a person does; afterwards, nothing has gone wrong."""
    folder, _ = toys
    browser.size(1100, 1400)
    browser = browser.driver

    def choose(key: str) -> Any:
        browser.get((folder / "index.html").as_uri())
        browser.execute_script("const s = document.querySelector('.playground select'); s.value = arguments[0];", key)
        browser.find_element("css selector", ".pg-controls button").click()
        wait(lambda: browser.execute_script("return document.querySelector('.pg-stage').dataset.shown") == key, status(browser))
        return browser

    yield choose
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("key", ["toy_vae", "toy_plane", "toy_flow", "toy_text", "toy_handwriting"])
def test_axe_finds_nothing_in_an_opened_model(browser, opened, axe, key, dark):
    browser.scheme(dark)
    opened(key)
    wait(lambda: browser.run("return regenPlayground.idle()"))
    assert browser.violations(axe) == []


def test_a_flow_s_samples_have_labels_as_often_as_they_were_seen(toys, opened):
    browser = opened("toy_flow")
    seen = []
    for seed in range(10):
        told = json.loads(browser.find_element("css selector", ".pg-view").get_attribute("data-asked"))
        assert told[0] + told[1] == 1  # every example has one of the two
        seen.append(told[0])
        before = latents(browser)
        browser.execute_script(f"const s = document.querySelector('.pg-line input[type=number]'); s.value = {seed + 1}; "
                    "s.dispatchEvent(new Event('change'))")  # fmt: skip
        wait(lambda before=before: not torch.equal(latents(browser), before))
        wait(lambda: browser.execute_script("return regenPlayground.idle()"))
    assert set(seen) == {0, 1}


@pytest.mark.parametrize("key", ["toy_vae", "toy_plane", "toy_flow", "toy_ppca"])
def test_the_page_makes_the_image_that_python_makes(toys, opened, key):
    same_image(opened(key), toys[1][key])


def test_new_samples_are_others_and_the_same_for_the_same_seed(toys, opened):
    browser = opened("toy_vae")
    first = pixels(browser)
    press(browser, "New samples")
    changed(browser, first)
    set_value(browser, "input[type=number]", 0)
    wait(lambda: np.array_equal(pixels(browser), first))
    assert len(browser.find_elements("css selector", ".pg-row canvas")) == 8


def test_a_sample_is_shown_large(opened):
    browser = opened("toy_vae")
    before = pixels(browser)
    browser.find_elements("css selector", ".pg-row button")[3].click()
    changed(browser, before)


def test_a_slider_moves_along_a_direction_by_the_keyboard(toys, opened):
    browser = opened("toy_vae")
    start, before = latents(browser), pixels(browser)
    about = json.loads((toys[0] / "exports/toy_vae/decoder.json").read_text())
    slider = browser.find_element("css selector", ".pg-slider input")
    slider.send_keys("\ue014" * 10)  # the arrow to the right
    changed(browser, before)
    wait(lambda: torch.allclose(latents(browser), start + torch.tensor(about["directions"][0]), atol=1e-4))
    same_image(browser, toys[1]["toy_vae"])


@pytest.mark.parametrize("key", ["toy_vae", "toy_flow"])
def test_a_button_leads_back_to_the_sample(toys, opened, key):
    browser = opened(key)
    told = browser.find_element("css selector", ".pg-view").get_attribute("data-asked")
    start, before = latents(browser), pixels(browser)
    browser.find_element("css selector", ".pg-side .pg-slider input").send_keys("\ue014" * 10)
    changed(browser, before)
    press(browser, "Back to the sample")
    wait(lambda: np.array_equal(pixels(browser), before))
    assert torch.equal(latents(browser), start)
    assert browser.find_element("css selector", ".pg-view").get_attribute("data-asked") == told


def test_a_path_leads_from_one_image_to_the_other(toys, opened):
    browser = opened("toy_vae")
    examples = torch.tensor(json.loads((toys[0] / "exports/toy_vae/decoder.json").read_text())["examples"])
    set_value(browser, ".pg-ends ~ .pg-slider input", 1)
    wait(lambda: torch.allclose(latents(browser), examples[1], atol=1e-4))
    set_value(browser, ".pg-ends ~ .pg-slider input", 0.5)
    wait(lambda: torch.allclose(latents(browser), (examples[0] + examples[1]) / 2, atol=1e-4))


def test_the_plane_follows_the_pointer_and_the_arrow_keys(toys, opened):
    from selenium.webdriver import ActionChains

    browser = opened("toy_plane")
    area = browser.find_element("css selector", ".pg-plane")
    before = latents(browser)
    ActionChains(browser).move_to_element_with_offset(area, 40, 30).perform()
    wait(lambda: not torch.equal(latents(browser), before))
    same_image(browser, toys[1]["toy_plane"])  # which waits for the last move
    at = latents(browser)
    area.send_keys("\ue012")  # the arrow to the left
    wait(lambda: latents(browser)[0] < at[0])
    assert latents(browser)[1] == at[1]


def test_a_flow_is_asked_for_labels(toys, opened):
    browser, model = opened("toy_flow"), toys[1]["toy_flow"]
    before = pixels(browser)
    field = browser.find_element("css selector", "input[list]")
    field.send_keys("<B>Bright</B>\n")
    changed(browser, before)
    first = model.latents
    noise = latents(browser)[None]
    expected = model.images.decode(first.decode(noise, first.asked([LABELS[2]]), guidance=2.0))[0] * 255
    assert np.abs(pixels(browser) - expected.numpy()).max() <= 1.0
    assert browser.find_element("css selector", ".pg-tags button").text == f"{LABELS[2]} ×"  # a label is text, and never markup
    for name in ("left", "right"):
        field.send_keys(f"{name}\n")
    wait(lambda: status(browser)() == "left and right exclude each other.")
    field.clear()
    field.send_keys("nonsense\n")
    wait(lambda: status(browser)() == "The model has learned no label nonsense.")


def test_a_question_is_answered_in_text(toys, opened):
    browser, model = opened("toy_text"), toys[1]["toy_text"]
    question = [model.data.labels.index(sign) for sign in "7+24 "]
    ask(browser, "07 + 24\n")
    expected = model.texts(model.answer_logits(torch.tensor([question])).argmax(2))[0]
    wait(lambda: answer(browser) == f"7+24 = {expected}".rstrip())


def test_a_question_is_answered_in_handwriting(toys, opened):
    browser, model = opened("toy_handwriting"), toys[1]["toy_handwriting"]
    before = pixels(browser, ".pg-strip", 1)
    assert before.shape == (1, 28, 3 * 28)
    draw = """
        const done = arguments[0];
        regenPlayground.model("toy_handwriting").then((found) => regenPlayground.answered(found, "81+24", 0))
            .then(({ handwriting }) => done(Array.from(handwriting)));
    """
    style = torch.tensor(browser.execute_async_script(draw)).reshape(3, 3)  # of each place, by the seed that the page begins with
    tokens = torch.tensor([[model.data.labels.index(sign) for sign in "81+24"]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *_, **__: style)
        expected = torch.cat(list(model.drawings(tokens)[0]), 1) * 255
    assert np.abs(before - expected.numpy()).max() <= 1.0
    set_value(browser, "input[type=number]", 5)
    wait(lambda: not np.array_equal(pixels(browser, ".pg-strip", 1), before))  # another handwriting
    assert answer(browser) == f"81+24 = {model.texts(model.answer_logits(tokens).argmax(2))[0]}".rstrip()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("81", "Type two numbers with + or - between them, such as 81+24."),
        ("81+24+3", "Type two numbers with + or - between them, such as 81+24."),
        ("100+1", "The model has learned numbers from 0 to 99."),
    ],
)
def test_what_is_no_question_is_told_in_one_line(opened, typed, said):
    browser = opened("toy_text")
    ask(browser, f"{typed}\n")
    wait(lambda: status(browser)() == said)


def test_everything_has_a_name_for_those_who_listen(opened):
    unnamed = """
        const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim() || e.ariaHidden;
        return [...document.querySelectorAll(".playground :is(button, input, select, canvas)")].filter((e) => !named(e))
            .map((e) => e.outerHTML);
    """
    for key in ("toy_vae", "toy_plane", "toy_flow", "toy_handwriting"):
        assert opened(key).execute_script(unnamed) == []


@pytest.mark.parametrize(
    ("lacking", "said"),
    [("WebAssembly", "This browser has no WebAssembly"), ("DecompressionStream", "This browser cannot unpack gzip")],
)
def test_what_a_browser_lacks_is_told_in_one_line(toys, browser, lacking, said):
    browser = browser.driver
    script = {"source": f"delete window.{lacking}"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        browser.get((toys[0] / "index.html").as_uri())
        assert status(browser)().startswith(said)
        assert not browser.find_element("css selector", ".pg-controls button").is_enabled()
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def set_value(browser: Any, selector: str, value: float) -> None:
    script = """
        const e = document.querySelector(arguments[0]);
        e.value = arguments[1];
        for (const name of ["input", "change"]) e.dispatchEvent(new Event(name, { bubbles: true }));
    """
    browser.execute_script(script, selector, value)


def ask(browser: Any, typed: str) -> None:
    field = browser.find_element("css selector", ".pg-panel input[type=text]")
    field.clear()
    field.send_keys(typed)


def answer(browser: Any) -> str:
    text: str = browser.find_element("css selector", ".pg-answer").text
    return text
