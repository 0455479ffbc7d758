"""`regen compare`: revisions as columns of one page, with their pictures from wherever DVC has them."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regen.commands.side_by_side import page
from regen.commands.side_by_side.pictures import Gallery
from tests.conftest import shell

PARAMS = """seed: 0
models:
  a_vae: {beta: 1.0, classifier: judge}
  b_vae: {beta: 1.0, classifier: none}
"""
PIPELINE = """stages:
  evaluate:
    foreach: ${models}
    do:
      cmd: python measure.py ${key}
      params: [seed, "models.${key}"]
      metrics: [{"metrics/${key}.json": {cache: false}}]
      outs: [{"metrics/context/${key}.json": {cache: false}}, "figures/${key}"]
"""
MEASURE = """import json, os, sys, yaml
from PIL import Image
key = sys.argv[1]
beta = yaml.safe_load(open("params.yaml"))["models"][key]["beta"]
os.makedirs("metrics/context", exist_ok=True)
os.makedirs(f"figures/{key}", exist_ok=True)
json.dump({"mse": 2 * beta, "frechet_distance": 10 / beta, "rate": 5.0 + beta}, open(f"metrics/{key}.json", "w"))
beside = {"mse": {"error": 0.1, "baseline": 3.0}, "frechet_distance": {"real": 1.0}, "rate": {}}
json.dump(beside, open(f"metrics/context/{key}.json", "w"))
Image.new("RGB", (8, 8), (round(30 * beta), 0, 0)).save(f"figures/{key}/samples.png")
Image.new("RGB", (8, 8), (1, 2, 3)).save(f"figures/{key}/examples.png")
open(f"figures/{key}/curve.csv", "w").write("x")
"""


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A repository with the experiments `four` and `five` of a_vae, a branch without a model of main's, and a remote."""
    folder = tmp_path_factory.mktemp("repository") / "toy"
    folder.mkdir()
    for name, content in {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "measure.py": MEASURE}.items():
        (folder / name).write_text(content)
    shell(folder, f"git init -q -b main && dvc init -q && dvc remote add -q -d shared {folder.parent}/remote && dvc repro -q")
    shell(folder, "git add -A && git commit -qm run")
    for name, beta in (("four", 4), ("five", 5)):
        shell(
            folder, f"dvc exp run -q -n {name} -S models.a_vae.beta={beta} && dvc push -q && git checkout -q . && dvc checkout -q"
        )
    shell(folder, "git switch -qc apart && git rm -q metrics/a_vae.json && git mv metrics/b_vae.json metrics/c_vae.json")
    (folder / "params.yaml").write_text(PARAMS.replace("b_vae", "c_vae"))
    shell(folder, "git commit -qam apart && git switch -q main && dvc push -q")
    return folder


def written() -> tuple[str, dict[str, str]]:
    """The page without its pictures, and these by their MD5."""
    text = Path(".work/compare.html").read_text()
    found = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', text, re.DOTALL)
    return text.replace(found[1], ""), json.loads(found[1])


def test_columns_are_revisions_and_each_picture_is_in_the_page_once(repository, command):
    assert command("compare", "HEAD", "four", "five") == (".work/compare.html: HEAD, four, five\n", 0)
    text, pictures = written()
    assert len(pictures) == 4  # three of new images, and the examples that all three share
    shown = re.findall(r'data-picture="(\w+)"', text)
    assert len(shown) == 6
    assert set(shown) == set(pictures)
    assert "a_vae" in text
    assert "The same in all columns: b_vae." in text
    row = re.search(r"<tr><td>models.a_vae.beta</td>(.*?)</tr>", text, re.DOTALL)[1]
    assert re.findall("<td(.*?)>(.*?)</td>", row) == [("", "1.0"), (' class="differs"', "4"), (' class="differs"', "5")]


def test_a_difference_is_coloured_by_which_way_is_better(repository, command):
    command("compare", "HEAD", "four")
    text, _ = written()
    cells = {}
    for row in re.findall(r"<tr><td><button.*?</tr>", text, re.DOTALL):
        cells[re.search(r"<button .*?>(.*?)</button>", row)[1]] = re.findall(r'<td class="(better|worse)">', row)
    assert cells["Reconstruction error"] == ["worse"]
    assert cells["Frechet distance (judge features)"] == ["better"]
    assert "+6 worse" in text
    assert "-7.5 better" in text


def test_a_distance_that_does_not_count_is_marked(repository, command):
    Path("metrics/a_vae.json").write_text(json.dumps({"mse": 2.0, "frechet_distance": 0.5, "rate": 5.0}))
    command("compare", "HEAD", "workspace")
    text, _ = written()
    assert re.findall(r"<td[^>]*>([^<]*does not count)<small>", text) == ["0.5, does not count"]


def test_pictures_that_are_not_here_come_from_the_remote(repository, command):
    shutil.rmtree(".dvc/cache/files")
    assert command("compare", "HEAD", "four")[1] == 0
    assert len(written()[1]) == 3


def test_pictures_that_nobody_has_are_said_to_be_missing(repository, command):
    shutil.rmtree(".dvc/cache/files")
    shell(repository, "dvc remote remove -q shared")
    assert command("compare", "workspace", "four")[1] == 0
    text, pictures = written()
    assert len(pictures) == 2  # the workspace's own
    assert "Neither in DVC's cache nor on a remote are the pictures of four." in text
    assert text.count("not in DVC&#39;s cache or remote") == 2


def test_why_a_remote_gives_no_pictures_stands_on_the_page(repository, command, monkeypatch):
    class Refusing:
        def info(self, path):
            return {"md5": path}

        def ls(self, path, detail):
            raise PermissionError("Forbidden <b>")

    monkeypatch.setattr(Gallery, "_system", lambda self, at: Refusing())
    assert command("compare", "workspace", "four")[1] == 0
    assert written()[0].count("Some pictures could not be had: PermissionError: Forbidden &lt;b&gt;") == 1


def test_one_revision_stands_beside_head_and_none_means_the_workspace(repository, command):
    assert command("compare", "four")[0] == ".work/compare.html: HEAD, four\n"
    assert command("compare")[0] == ".work/compare.html: HEAD, workspace\n"
    assert "No figure and no picture differs." in written()[0]


def test_the_experiments_of_an_earlier_commit_are_found(repository, command):
    shell(repository, "git commit -q --allow-empty -m next")
    assert command("compare", "four", "five")[1] == 0


def test_many_pictures_are_packed(repository, command, monkeypatch):
    monkeypatch.setattr(page, "LARGEST", 10)
    command("compare", "HEAD", "four")
    text, pictures = written()
    assert {uri.partition(";")[0] for uri in pictures.values()} == {"data:image/webp"}
    assert "packed with a small loss" in text


def test_too_many_pictures_are_all_made_smaller_by_the_same_part(monkeypatch):
    draw, pictures = np.random.default_rng(0), {"damaged": b"no picture"}
    for n, side in enumerate((100, 100, 200, 100)):
        out = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, "PNG")
        pictures[str(n)] = out.getvalue()
    monkeypatch.setattr(page, "LARGEST", 20_000)
    packed, scale = page.packed(pictures)
    assert sum(map(len, packed.values())) <= 20_000
    assert packed.pop("damaged") == b"no picture"
    widths = [Image.open(io.BytesIO(content)).width for content in packed.values()]
    assert widths == [round(scale * side) for side in (100, 100, 200, 100)]
    assert 0.2 < scale < 0.8
    monkeypatch.setattr(page, "LARGEST", 200_000)
    assert page.packed(pictures)[1] == 1


def test_markdown_for_a_pull_request_has_what_moved(repository, command):
    said, code = command("compare", "HEAD", "four", "--markdown")
    assert code == 0
    assert "| `models.a_vae.beta` | 1.0 | 4 |" in said
    assert "| Reconstruction error ↓ | 2 ± 0.1 | 8 ± 0.1 (🔴 +6) |" in said
    assert "| Frechet distance (judge features) ↓ | 10 | 2.5 (🟢 -7.5) |" in said
    assert "Pictures that differ: samples." in said
    assert "The same in all: b_vae." in said
    assert not Path(".work/compare.html").exists()


def test_names_are_escaped(repository, command):
    shell(repository, "git branch '<b>bold</b>'")
    command("compare", "<b>bold</b>", "four")
    assert "<b>bold" not in written()[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fou"], "revision: unknown revision 'fou' (did you mean four?)"),
        (["HEAD", "four", "HEAD"], "compare: HEAD is named twice"),
        (
            ["four", "apart", "--model", "c_vae"],
            "compare: no model has figures in two of these (four: a_vae, b_vae; apart: c_vae)",
        ),
        (["HEAD", "four", "--model", "a_va"], "compare: unknown model 'a_va' (did you mean a_vae?)"),
        (["HEAD", "four", "--out", "dvc.yaml/a.html"], "--out dvc.yaml/a.html: "),
    ],
)
def test_a_mistake_is_one_line(repository, command, arguments, said):
    told, code = command("compare", *arguments)
    assert code == 1
    assert told.startswith(f"error: {said}")
    assert told.count("\n") == 1
