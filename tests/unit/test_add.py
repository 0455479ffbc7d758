"""`regen add` and `regen remove`: a person's own images, into params.yaml and out of it."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

from regen import checks, cli, documents, families, params
from regen.commands.adding import add as adding
from regen.commands.adding import evaluating, settings, survey, text, timing
from regen.commands.adding.survey import Found, Look
from regen.data import arrays
from regen.data.images import rijksmuseum
from regen.data.images.sources import Folder
from regen.errors import UserError
from regen.evaluation.images import images, subject
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.metrics import distances, neighbours, reconstruction
from regen.models.base import DataSpec
from tests.conftest import IMAGES, build, toy_images

ROOT = Path(__file__).parents[2]
DEFAULT = (ROOT / "params.yaml").read_text(encoding="utf-8")
BLOCKS = {"cats": {"kind": ("images", "12 pictures"), "path": ("~/a: b #c", ""), "channels": ([1, 2], "two")}}
SMALL = """\
# What stands here stays.
seed:    0      # odd spaces
precision: auto
threads: 1
checkpoint_seconds: 20
launcher: python


datasets:
    letters:    # four spaces
        {kind: letters, source:   drawn}
    # a comment at the end of the group

# Above models.
models:
    letters_tables: {dataset: letters, family: prefix_tables,
                     classifier: none}
"""


def picture(number: int, size: tuple[int, int] = (40, 30), shade: bool = False) -> Image.Image:
    """Noise over a slope: many colours, as a photograph has."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 200, (size[1], size[0], 3)) + np.arange(size[0])[None, :, None]
    return Image.fromarray(np.clip(pixels[..., :1].repeat(3, 2) if shade else pixels, 0, 255).astype(np.uint8))


def sprite(number: int, scale: int = 3, size: int = 12) -> Image.Image:
    """Pixel art: six colours, each pixel enlarged."""
    rng = np.random.default_rng(number)
    colours = rng.integers(0, 256, (6, 3))
    return Image.fromarray(colours[rng.integers(0, 6, (size, size))].astype(np.uint8).repeat(scale, 0).repeat(scale, 1))


def fill(folder: Path, count: int = 30, make: Callable[[int], Image.Image] = picture, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        make(number).save(folder / f"{number:03d}{suffix}")
    return folder


def look(folder: Path) -> Found:
    return survey.survey(Folder(folder, "here"), "here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose params.yaml is the default one. No training or evaluation is measured."""
    monkeypatch.setattr(timing, "seconds", lambda given, blocks, data, images: dict.fromkeys(blocks, 60.0))
    monkeypatch.setattr(evaluating, "seconds", lambda given, blocks, data, train, test: dict.fromkeys(blocks, 1.0 * train + test))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(DEFAULT, encoding="utf-8")
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    return tmp_path


def says(*arguments: str) -> list[str]:
    return list(adding.add(*arguments))


# -- the text of params.yaml


@pytest.mark.parametrize(
    "old", [DEFAULT, SMALL, SMALL.rstrip(), SMALL.replace("\n", "\r\n")], ids=["default", "odd", "cut", "crlf"]
)
def test_a_block_goes_in_and_out_and_every_other_byte_stays(old):
    new = text.put(text.put(old, "datasets", "", BLOCKS), "models", f"Models of cats, {text.MARK}.", BLOCKS)
    kept = [line for line in new.split("\n") if line in old.split("\n")]
    assert "\n".join(kept).startswith(old[: old.index("models:")].rstrip())
    assert documents.parsed(new, "")["datasets"]["cats"] == {"kind": "images", "path": "~/a: b #c", "channels": [1, 2]}
    assert "# 12 pictures" in new
    assert text.marked(new, "datasets") == text.marked(new, "models") == ["cats"]
    assert text.take(text.take(new, "models", ["cats"]), "datasets", ["cats"]) == old


def test_blocks_keep_the_style_of_the_file():
    lines = text.put(SMALL, "datasets", "", BLOCKS).splitlines()
    place = lines.index("    cats:  # by regen add")
    assert lines[place - 1] == "    # a comment at the end of the group"
    assert lines[place + 1].startswith("      kind: images")
    assert lines[place + 4 : place + 6] == ["", "# Above models."]


def test_one_of_two_added_sets_goes_and_the_other_stays_as_it_was():
    title = "Models of {}, " + text.MARK + "."
    first = text.put(DEFAULT, "models", title.format("cats"), BLOCKS)
    dogs = {"dogs": BLOCKS["cats"], "dogs_too": BLOCKS["cats"]}
    both = text.put(first, "models", title.format("dogs"), dogs)
    assert text.take(both, "models", ["cats"]) == text.put(DEFAULT, "models", title.format("dogs"), dogs)
    assert text.take(both, "models", ["dogs", "dogs_too"]) == first
    assert title.format("dogs") in text.take(both, "models", ["dogs"])  # it still stands above the other one


@pytest.mark.parametrize(
    "value", ["on", "1_000", "null", "~", "a: b", "# no", "- x", "日本", "tab\tbed", "line\nbreak", "'", '"', "1e3", ""]
)
def test_a_text_is_read_as_it_was_written(value):
    new = text.put(DEFAULT, "datasets", "", {"cats": {"path": (value, "")}})
    assert documents.parsed(new, "")["datasets"]["cats"]["path"] == value


def test_a_comment_never_becomes_anything_else():
    new = text.put(DEFAULT, "datasets", "", {"cats": {"kind": ("images", "a\n  evil: 1\u2028x")}})
    assert documents.parsed(new, "")["datasets"]["cats"] == {"kind": "images"}


@pytest.mark.parametrize("group", ["models: {a: {family: gan}}", "models: {\n}", "studies: {}"])
def test_a_group_that_is_no_list_of_blocks_is_refused_in_a_line(group):
    old = SMALL[: SMALL.index("models:")] + group
    with pytest.raises(UserError, match=r"params\.yaml: models: expected blocks, one below the other") as raised:
        text.put(old, "models", "", BLOCKS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("head", ["models: {}", "models:", "models:   {}  # mine", "models: # mine", "models: { }\r"])
def test_a_group_without_blocks_gets_some_and_is_empty_again_without_them(head):
    old = f"{SMALL[: SMALL.index('models:')]}{head}\nstudies: {{}}\n"
    new = text.put(old, "models", "", BLOCKS)
    assert documents.parsed(new, "")["models"].keys() == BLOCKS.keys()
    left = text.take(new, "models", ["cats"])
    assert documents.parsed(left, "") == {**documents.parsed(old, ""), "models": {}}
    assert ("# mine" in left) == ("# mine" in head)


def test_a_doubled_key_is_refused_in_a_line():
    with pytest.raises(UserError, match=r"params\.yaml: .*.seed. stands there twice") as raised:
        text.put(SMALL + "seed: 0\n", "models", "", BLOCKS)
    assert "\n" not in str(raised.value)


def test_what_another_block_refers_to_is_not_taken_out():
    old = DEFAULT.replace("    kind: mnist\n    source: mirror      #", "    kind: mnist\n    source: &from mirror      #", 1)
    old = old.replace("    source: mirror      # 10,000", "    source: *from      # 10,000")
    assert documents.parsed(old, "") == documents.parsed(DEFAULT, "")
    with pytest.raises(UserError, match=r"params\.yaml: "):
        text.take(old, "datasets", ["mnist"])


def test_a_file_is_replaced_whole_through_its_link(tmp_path):
    (tmp_path / "real.yaml").write_text("a: 1\n")
    (tmp_path / "real.yaml").chmod(0o640)
    (tmp_path / "params.yaml").symlink_to("real.yaml")
    text.replace(tmp_path / "params.yaml", "a: 2\n")
    assert (tmp_path / "params.yaml").is_symlink()
    assert (tmp_path / "real.yaml").read_text() == "a: 2\n"
    assert (tmp_path / "real.yaml").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "real.yaml"]


# -- what is found


def test_photographs_are_told_from_pixel_art_digits_and_drawings(tmp_path):
    photographs = look(fill(tmp_path / "photographs", suffix=".jpg", make=lambda n: picture(n, (300, 200))))
    assert (photographs.photographs, photographs.pixel_art, photographs.grey, photographs.size) == (True, False, False, 64)
    sprites = look(fill(tmp_path / "sprites", make=sprite))
    assert (sprites.photographs, sprites.pixel_art, sprites.size) == (False, True, 12)
    greys = look(fill(tmp_path / "greys", make=lambda n: picture(n, (100, 90), shade=True)))
    assert (greys.photographs, greys.grey) == (True, True)
    digits = look(
        fill(
            tmp_path / "digits",
            make=lambda n: Image.fromarray(np.pad(np.asarray(picture(n, (14, 14), True)), ((7, 7), (7, 7), (0, 0)))),
        )
    )
    assert (digits.photographs, digits.pixel_art, digits.grey, digits.size) == (False, False, True, 28)


@pytest.mark.parametrize(
    ("scale", "size", "wanted"), [(14, 24, 24), (3, 25, 100), (1, 16, 16), (20, 30, 60), (4, 8, 16), (3, 9, 36)]
)
def test_pixel_art_keeps_its_own_grid(tmp_path, scale, size, wanted):
    assert look(fill(tmp_path / "art", make=lambda n: sprite(n, scale, size))).size == wanted


def test_transparent_pictures_are_judged_by_what_they_show(tmp_path):
    def cut(number: int) -> Image.Image:
        image = picture(number, (100, 100)).convert("RGBA")
        image.putalpha(Image.fromarray(np.pad(np.full((40, 40), 255, np.uint8), 30)))
        return image

    large = look(fill(tmp_path / "large", make=lambda n: cut(n).resize((200, 200))))
    assert (large.transparent, large.photographs) == (1.0, True)
    small = look(fill(tmp_path / "small", make=cut))
    assert (small.transparent, small.photographs) == (1.0, False)  # icons


def test_all_are_counted_and_some_from_everywhere_are_looked_at(tmp_path):
    fill(tmp_path / "many", 400, lambda n: Image.new("L", (8, 8), n % 256))
    found = look(tmp_path / "many")
    assert found.count == 400
    assert survey.LOOKED <= len(found.looks) <= 2 * survey.LOOKED


def test_what_cannot_be_read_is_counted_apart(tmp_path):
    fill(tmp_path / "some")
    (tmp_path / "some/000.png").write_bytes(b"")
    (tmp_path / "some/notes.txt").write_text("no picture")
    found = look(tmp_path / "some")
    assert (found.count, found.unread) == (30, 1)
    for path in (tmp_path / "some").glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(UserError, match="none of 30 pictures that were looked at can be read"):
        look(tmp_path / "some")


def test_sub_folders_are_classes_where_each_has_enough(tmp_path):
    for name in ("a", "b # evil: 1"):
        fill(tmp_path / "classes" / name)
    assert (look(tmp_path / "classes").target, look(tmp_path / "classes").labels) == ("class", ("a", "b # evil: 1"))
    for number in range(20):
        fill(tmp_path / "days" / f"{number}", 2)
    assert (look(tmp_path / "days").target, look(tmp_path / "days").labels) == ("rotation", ())


def test_a_table_of_labels_is_read_and_its_mistakes_are_told(tmp_path):
    fill(tmp_path / "some")
    rows = [f"{number:03d}.png,{number % 2},{number % 3 // 2}" for number in range(30)]
    (tmp_path / "some/labels.csv").write_text("\n".join(["file,hat,beard", *rows]))
    assert (look(tmp_path / "some").target, look(tmp_path / "some").labels) == ("attributes", ("hat", "beard"))
    (tmp_path / "some/labels.csv").write_text("\n".join(["file,hat,beard", *rows[1:]]))
    with pytest.raises(UserError, match=r"no row for 000\.png"):
        look(tmp_path / "some")
    (tmp_path / "some/notes.txt").write_text("words")
    (tmp_path / "some/raw.heic").write_bytes(b"a picture that is not read")
    (tmp_path / "some/labels.csv").write_text("\n".join(["file,hat,beard", *rows, "raw.heic,0,1"]))
    assert look(tmp_path / "some").labels == ("hat", "beard")
    (tmp_path / "some/labels.csv").write_text("\n".join(["file,hat,beard", *rows, "notes.txt,0,1"]))  # as its preparation would
    with pytest.raises(UserError, match=r"unknown file 'notes\.txt'"):
        look(tmp_path / "some")


def test_folders_called_train_and_test_are_the_split(tmp_path):
    for name in ("train", "test"):
        fill(tmp_path / "given" / name)
    assert look(tmp_path / "given").given


def test_few_pictures_are_refused(tmp_path):
    with pytest.raises(UserError, match="here: 19 pictures; expected 20 at least"):
        look(fill(tmp_path / "few", 19))


# -- settings


def found(count: int, size: int = 64) -> Found:
    return Found(count, (Look(size, size, 1, False, False, 5000, 0.01, 0.0),))


@pytest.mark.parametrize("count", [20, 60, 240, 1000, 8000, 60_000, 1_000_000])
def test_few_images_get_more_passes_and_batches_of_a_tenth_at_most(count):
    blocks = settings.models("cats", found(count), 64)
    train = settings.training(found(count))
    for block in blocks.values():
        epochs, batch = block["epochs"][0], block["batch_size"][0]
        assert 2 <= batch <= max(2, train // 10)
        assert epochs == settings.MOST_EPOCHS or epochs * train >= 60_000
        assert epochs * train <= max(130_000 * max(1, count / 8000) ** 0.5, train)


def test_the_settings_of_as_many_images_as_there_are_punks_are_the_punks(tmp_path):
    given = documents.parsed(DEFAULT, "")["models"]
    for key, block in settings.models("punks", found(10_000), 64).items():
        same = {"channels", "epochs", "batch_size", "learning_rate", "schedule", "latent_dim", "betas", "ema"} & set(block)
        assert {name: block[name][0] for name in same} == {name: given[key][name] for name in same}


@pytest.mark.parametrize("size", [16, 20, 28, 32, 60, 64, 100, 128])
def test_every_size_makes_models_that_can_be_built(size):
    data = DataSpec(dataset="cats", kind="images", shape=(3, size, size))
    for key, block in settings.models("cats", found(40), size).items():
        plain = {name: value for name, (value, _) in block.items()}
        model = families.build(families.config(plain, key), data)
        if key != "cats_classifier":
            assert model.decode(torch.zeros(1, plain["latent_dim"])).shape == (1, 3, size, size)
        else:
            assert model.logits(torch.zeros(2, 3, size, size)).shape == (2, 4)


@pytest.mark.parametrize("target", ["rotation", "class", "attributes"])
def test_a_training_is_measured_by_its_steps(here, monkeypatch, target):
    monkeypatch.undo()
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    labels = () if target == "rotation" else ("a", "b")
    given = Found(40, found(40).looks, labels=labels, target=target)
    blocks = {
        key: {name: value for name, (value, _) in block.items()} for key, block in settings.models("cats", given, 16).items()
    }
    data = DataSpec(dataset="cats", kind="images", shape=(3, 16, 16), labels=labels)
    few = timing.seconds(params.read(ROOT / "params.yaml"), blocks, data, 40)
    assert list(few) == settings.keys("cats")
    assert min(few.values()) > 0


# -- how long an evaluation takes


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """24 training and 16 test images of three attributes."""
    x, labels = toy_images().values()
    folder = tmp_path_factory.mktemp("prepared") / "toy"
    split = {"train": x[:24], "test": x[24:], "train_labels": labels[:24], "test_labels": labels[24:]}
    arrays.write(folder, split, {"shape": [3, 16, 16], "labels": list(IMAGES.labels), "kind": "toy", "loader": "arrays"})
    (folder / "history.csv").write_text("epoch,step,loss\n1,10,0.5\n2,20,0.4\n")
    return folder


@pytest.mark.parametrize("bounded", [500, 10])
@pytest.mark.parametrize("family", ["classifier", "autoencoder", "vae", "gan"])
def test_what_an_evaluation_does_is_counted_as_it_does_it(family, bounded, prepared, tmp_path, monkeypatch):
    for module in (images, evaluating):
        monkeypatch.setattr(module, "BOUNDED", bounded)
        monkeypatch.setattr(module, "CONTINUOUS", bounded)
        monkeypatch.setattr(module, "SAMPLES", bounded + 2)
    model = build(family, **({"target": "rotation"} if family == "classifier" else {"flip": bounded == 10})).eval()
    reader = model if family == "classifier" else build("classifier").eval()
    done = Counter(start=1)

    def passing(part: str) -> Callable[..., None]:
        return lambda module, given, output: done.update({part: len(given[0])})

    networks = {"encoder": "encoded", "decoder": "decoded", "generator": "decoded"}
    for name, part in networks.items():
        if hasattr(model, name):
            getattr(model, name).register_forward_hook(passing(part))
    reader.body.register_forward_hook(passing("features"))

    def counting(module: object, name: str, count: Callable[..., dict[str, int]]) -> None:
        function = getattr(module, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            done.update(count(*arguments))
            return function(*arguments, **named)

        monkeypatch.setattr(module, name, counted)

    counting(neighbours, "nearest", lambda x, references, *_: {"nearest": len(x) if x.ndim == 4 else 0})
    counting(reconstruction, "per_image", lambda x, y, name="baseline": {"reconstructed": len(x) if name == "baseline" else 0})
    counting(images, "PCA", lambda train, dim: {"components": 1})
    counting(distances, "compare", lambda samples, test, train, seed, places: {"sets": 1, "places": max(0, len(places) - 1)})
    evaluate(Subject(model, reader, 0, data=prepared, history=prepared, folder=tmp_path))
    done["pictures"] = len(list(tmp_path.glob("*.png")))
    assert +done == evaluating.work(model, 24, 16)


def test_an_evaluation_takes_longer_with_more_images_up_to_those_that_it_takes():
    def work(family: str, train: int, test: int) -> Counter[str]:
        return evaluating.work(build(family), *evaluating.evaluated(train, test, (3, 64, 64)))

    for family in ("autoencoder", "vae", "gan"):
        few, some, many, most = (work(family, 4 * test, test) for test in (60, 1000, 10_000, 1_000_000))
        for part in {"decoded", "features", "nearest", "encoded", "reconstructed"} & set(few):
            assert few[part] < some[part] < many[part]
        for part in {"start", "pictures", "components", "sets", "places"} & set(few):
            assert few[part] == some[part] == many[part]
        assert most - many == Counter(
            {part: 10_000 for part in ("features", "encoded") if part in most and (part == "features" or family != "gan")}
        )


@pytest.mark.parametrize(("size", "count"), [(16, 5000), (64, 5000), (128, 900), (300, 900)])
def test_of_large_images_an_evaluation_takes_as_many_as_are_counted(size, count, monkeypatch):
    monkeypatch.setattr(subject, "TRAIN", 1000)
    monkeypatch.setattr(subject, "TEST", 50)
    split = {"x": np.broadcast_to(np.zeros((1, size, size, 1), np.uint8), (count, size, size, 1))}
    taken = (len(subject.some(split, most, np.random.default_rng(0))["x"]) for most in (1000, 50))
    assert evaluating.evaluated(count, count, (1, size, size)) == tuple(taken)


@pytest.mark.parametrize(("train", "test", "target"), [(16, 4, "rotation"), (48, 12, "class"), (48, 12, "attributes")])
def test_an_evaluation_is_measured_by_its_parts(train, test, target, monkeypatch):
    monkeypatch.setattr(evaluating, "SECONDS", 0.0)
    labels = () if target == "rotation" else ("a", "b")
    written = settings.models("cats", Found(train + test, found(40).looks, labels=labels, target=target), 16)
    blocks = {key: {name: value for name, (value, _) in block.items()} for key, block in written.items()}
    data = DataSpec(dataset="cats", kind="images", shape=(3, 16, 16), labels=labels)
    given = params.read(ROOT / "params.yaml")
    whole = evaluating.seconds(given, blocks, data, train, test)
    assert list(whole) == settings.keys("cats")
    monkeypatch.setattr(evaluating, "_start", lambda: 1000.0)
    assert min(evaluating.seconds(given, blocks, data, train, test).values()) > 1000 > max(whole.values()) > 0


def test_a_search_takes_longer_among_more_training_images(monkeypatch):
    def took(function: Callable[[], Any], now: object) -> float:
        searched.clear()
        function()
        return 1.0 + sum(searched)  # a second, and one more for each training image

    searched: list[int] = []
    nearest = neighbours.nearest
    monkeypatch.setattr(evaluating, "_took", took)
    monkeypatch.setattr(neighbours, "nearest", lambda x, to: [searched.append(len(to)), nearest(x, to)])
    costs = [evaluating._of_images((1, 16, 16), train, 10, 2, lambda: 0.0) for train in (40, 400, 4000)]
    assert [cost["nearest"] * 10 for cost in costs] == pytest.approx([41, 401, 4001])
    assert costs[2]["components"] > costs[1]["components"] == 1.0


# -- add


def test_a_folder_is_added_with_its_models_and_the_whole_is_right(here):
    fill(here / "cats")
    said = says("cats", "cats")
    content = yaml.safe_load((here / "params.yaml").read_text())
    assert checks.check()
    assert content["datasets"]["cats"] == {
        "kind": "images", "source": "folder", "path": "cats", "size": 32, "crop": "centre", "resize": "smooth", "colour": True,
        "background": "#ffffff", "test_fraction": 0.2, "labels": "none",
    }  # fmt: skip
    models = {key: content["models"][key] for key in settings.keys("cats")}
    assert {block["dataset"] for block in models.values()} == {"cats"}
    assert [block["classifier"] for block in models.values()] == ["none", *["cats_classifier"] * 3]
    assert [block["flip"] for block in models.values()] == [True] * 4
    assert "30 pictures, 40 x 30 pixels, colour, photographs or paintings (a guess), no classes" in said[0]
    assert any(line.startswith("the whole run takes about") for line in said)
    assert any(line.startswith("measured by some steps") and "gan 60 seconds + 30 seconds" in line for line in said)
    assert not any("\n" in line for line in said)


def test_an_archive_is_added_and_pixel_art_is_neither_smoothed_nor_mirrored(here):
    fill(here / "icons/a", make=sprite)
    fill(here / "icons/b", make=sprite)
    with zipfile.ZipFile(here / "icons.zip", "w") as box:
        for path in sorted((here / "icons").rglob("*.png")):
            box.write(path, path.relative_to(here))
    says("icons", "icons.zip")
    content = yaml.safe_load((here / "params.yaml").read_text())
    block = content["datasets"]["icons"]
    assert (block["source"], block["resize"], block["size"], block["labels"]) == ("archive", "nearest", 12, "auto")
    assert content["models"]["icons_classifier"]["target"] == "class"
    assert "flip" not in content["models"]["icons_gan"]


def test_another_size_can_be_asked_for(here):
    fill(here / "cats")
    says("cats", "cats", "", 128)
    content = yaml.safe_load((here / "params.yaml").read_text())
    assert content["datasets"]["cats"]["size"] == 128
    assert len(content["models"]["cats_vae"]["channels"]) == 5


def test_a_name_of_torchvision_is_added(here, monkeypatch):
    from torchvision import datasets

    class Small(datasets.FakeData):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(30, (3, 32, 32), 2)

    monkeypatch.setenv("REGEN_CACHE", str(here / "cache"))
    monkeypatch.setattr(datasets, "FakeData", Small)
    says("noise", "torchvision:FakeData")
    block = yaml.safe_load((here / "params.yaml").read_text())["datasets"]["noise"]
    assert (block["source"], block["path"], block["size"]) == ("torchvision", "FakeData", 32)


def test_of_the_museum_a_few_are_looked_at_and_all_are_counted(here, monkeypatch):
    asked = []

    def harvest(folder: Path, limit: int) -> dict[str, int]:
        asked.append(limit)
        return {"images": len(list(fill(folder / "images", limit, suffix=".jpg").iterdir()))}

    monkeypatch.setattr(rijksmuseum, "count", lambda: 1234)
    monkeypatch.setattr(rijksmuseum, "harvest", harvest)
    assert says("portraits", "rijksmuseum")[0].startswith("portraits: 1,234 pictures, 40 x 30 pixels, colour")
    assert asked == [survey.FEWEST]
    block = yaml.safe_load((here / "params.yaml").read_text())["datasets"]["portraits"]
    assert block["source"] == "rijksmuseum"
    assert not {"path", "examples"} & set(block)


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("cats", "nowhere", "nowhere: no such folder or file; expected a folder, a .zip or .tar"),
        ("cats", "http://x.org/a.zip", "expected an address that begins with https://"),
        ("cats", "https://me:hunter2@x.org/a.zip", "^an address with user and password: (?!.*hunter2)"),
        ("cats", "https://x.org/a.zip", r"--sha256 \(none\): expected the 64 hexadecimal digits"),
        ("cats", "torchvision:CIFAR1000", "unknown data set of torchvision 'CIFAR1000' .did you mean CIFAR100"),
        ("cats", "params.yaml", "neither a zip nor a tar"),
        ("cats", "empty", "empty: 0 pictures"),
        ("cats", "bad\udcff", "not UTF-8"),
        ("1cats", "cats", "name: expected a name: letters, digits and _"),
        ("a/b", "cats", "expected a name"),
        ("../x", "cats", "expected a name"),
        ("", "cats", "expected a name"),
        ("yes", "cats", "name: yes: is no text in YAML"),
        ("x" * 60, "cats", "longer than 64 characters"),
        ("punks", "cats", "there is datasets.punks, models.punks_classifier, models.punks_autoencoder, .* already"),
        ("arithmetic", "cats", "there is queries.arithmetic already"),
        ("digits148_latents", "cats", "there is encodings.digits148_latents already"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(here, name, source, message):
    fill(here / "cats")
    (here / "empty").mkdir()
    with pytest.raises(UserError, match=message) as raised:
        says(name, source)
    assert "\n" not in str(raised.value)
    assert (here / "params.yaml").read_text(encoding="utf-8") == DEFAULT


@pytest.mark.parametrize("size", [4, 15, 66, 1024])
def test_a_size_that_networks_cannot_halve_is_refused(here, size):
    with pytest.raises(UserError, match=f"--size {size}: expected a multiple of 4 from 16 to 512"):
        says("cats", "cats", "", size)


def test_mistakes_that_are_there_already_are_told_first(here):
    (here / "params.yaml").write_text(DEFAULT.replace("beta: 1.0", "betta: 1.0", 1))
    fill(here / "cats")
    with pytest.raises(UserError, match=r"models\.punks_vae\.betta: unknown key"):
        says("cats", "cats")


def test_a_file_that_changes_meanwhile_is_left_alone(here, monkeypatch):
    fill(here / "cats")
    right = adding._right

    def edited(new: str, path: Path) -> None:
        right(new, path)
        path.write_text(DEFAULT + "\n# mine\n")

    monkeypatch.setattr(adding, "_right", edited)
    with pytest.raises(UserError, match="changed meanwhile"):
        says("cats", "cats")
    assert (here / "params.yaml").read_text() == DEFAULT + "\n# mine\n"


# -- remove


@pytest.fixture
def added(here: Path) -> Path:
    fill(here / "cats")
    says("cats", "cats")
    return here / "params.yaml"


def test_what_was_added_goes_to_the_byte(added):
    assert list(adding.remove("cats")) == [
        "params.yaml: removed datasets.cats and models.cats_classifier, cats_autoencoder, cats_vae, cats_gan"
    ]
    assert added.read_text(encoding="utf-8") == DEFAULT


def test_what_was_made_of_it_is_named_and_left(added):
    made = added.parent / "models/cats_vae"
    made.mkdir(parents=True)
    assert any("dvc gc" in line for line in adding.remove("cats"))
    assert made.is_dir()


def test_changed_blocks_go_too_and_so_does_a_renamed_one(added):
    changed = added.read_text().replace("\n    size: 32", "\n    size: 16").replace("  cats_vae:", "  cats_vae_two:")
    added.write_text(changed)
    list(adding.remove("cats"))
    assert added.read_text(encoding="utf-8") == DEFAULT


def test_what_it_did_not_write_it_does_not_take(here):
    with pytest.raises(UserError, match=r"datasets\.punks: not written by `regen add`"):
        list(adding.remove("punks"))
    with pytest.raises(UserError, match=r"unknown data set 'pumks' \(did you mean punks\?\)"):
        list(adding.remove("pumks"))


@pytest.mark.parametrize(
    ("group", "block", "needing"),
    [
        ("models", "mine: {dataset: cats, family: ppca, classifier: none, latent_dim: 2}", "models.mine"),
        ("models", "mine: {dataset: mnist, family: ppca, classifier: cats_classifier, latent_dim: 2}", "models.mine"),
        ("encodings", "mine: {dataset: mnist, model: cats_vae}", "encodings.mine"),
        ("queries", "mine: {digits: cats}", "queries.mine"),
        ("studies", "mine: {model: cats_gan, vary: {seed: [0, 1]}, show: [mse]}", "studies.mine"),
    ],
)
def test_what_other_blocks_need_stays_and_they_are_named(added, group, block, needing):
    old = added.read_text().replace(f"\n{group}:", f"\n{group}:\n  {block}", 1)
    old = old.replace(f"\n{group}:\n  {block} ", f"\n{group}:\n  {block}\n  # ", 1)
    added.write_text(old)
    with pytest.raises(UserError, match=f"datasets.cats: {needing} would be left without it"):
        list(adding.remove("cats"))
    assert added.read_text() == old


def test_the_command_says_what_it_did_and_refuses_a_second_time(here):
    fill(here / "cats")
    runner = CliRunner()
    assert "wrote datasets.cats" in runner.invoke(cli.commands, ["add", "cats", "cats"]).output
    again = runner.invoke(cli.commands, ["add", "cats", "cats"])
    assert isinstance(again.exception, UserError)
    assert runner.invoke(cli.commands, ["add", "cats", "cats", "--if-missing"]).output == "cats: there already\n"
    assert "removed datasets.cats" in runner.invoke(cli.commands, ["remove", "cats"]).output


def test_the_time_of_preparing_is_of_pictures_that_were_prepared(here, monkeypatch):
    clock = iter(range(1_000_000))
    monkeypatch.setattr(survey.time, "process_time", lambda: 30.0 * next(clock))  # each is asked before and after
    monkeypatch.setattr("regen.host.cores", lambda: 2)
    prepared = []
    monkeypatch.setattr(survey.chunks, "perceptual_hash", lambda pixels: prepared.append(pixels.shape))
    said = says("cats", str(fill(here / "cats")))
    assert prepared == [(64, 64, 3)] * 30
    assert any("here: preparing 8 minutes, training" in line for line in said)


def test_the_whole_run_is_its_parts_with_the_models_side_by_side(here, monkeypatch):
    monkeypatch.setattr(survey, "_look", lambda item: Look(64, 64, 1, False, False, 5000, 0.01, 16.0))  # seconds to prepare it
    monkeypatch.setattr("regen.host.cores", lambda: 2)
    said = says("cats", str(fill(here / "cats")))
    assert (
        "the whole run takes about 7 minutes here: preparing 4 minutes, training 2 minutes, evaluating 60 seconds; "
        "exporting the models comes on top"
    ) in said
