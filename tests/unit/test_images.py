"""Anyone's images as the stages prepare them: the same bytes however they were made, nothing on two sides, one clear line."""

from __future__ import annotations

import csv
import hashlib
import http.server
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from regen.data import arrays
from regen.data.images import chunks, duplicates
from regen.errors import UserError

ROOT = Path(__file__).parents[2]
PARAMS = {"seed": 0, "precision": "fp32", "threads": 1, "checkpoint_seconds": 0, "launcher": "python", "models": {}}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("REGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def draw(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of its own for each number."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", size, tuple(rng.integers(0, 256, 3).tolist()))
    for _ in range(6):
        x, y, r = rng.integers(0, 40), rng.integers(0, 30), rng.integers(3, 15)
        ImageDraw.Draw(image).ellipse([x - r, y - r, x + r, y + r], fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def png(number: int) -> bytes:
    out = io.BytesIO()
    draw(number).save(out, "PNG")
    return out.getvalue()


def fill(count: int = 40, name: Callable[[int], str] = "{:03d}.png".format, root: str = "mine") -> None:
    for number in range(count):
        path = Path(root) / name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))


def block(**changes: Any) -> dict[str, Any]:
    return {"kind": "images", "source": "folder", "path": "mine", "size": 16, "test_fraction": 0.25, **changes}


def stage(name: str, **changes: Any) -> None:
    """Run a stage's script as `python stages/<name>.py toy`; a person's mistake is raised."""
    Path("params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "seed": changes.pop("seed", 0), "datasets": {"toy": block(**changes)}})
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, "toy"])
        runpy.run_path(str(ROOT / "stages" / f"{name}.py"))["main"]()


def prepared(**changes: Any) -> dict[str, Any]:
    """Download and prepare; return statistics.json."""
    stage("download", **changes)
    stage("prepare", **changes)
    return arrays.statistics(Path("data/prepared/toy"))


def split(name: str) -> np.ndarray:
    return np.asarray(arrays.load(Path("data/prepared/toy"), name)["x"])


def table() -> dict[str, dict[str, str]]:
    with Path("data/prepared/toy/images.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def digests(folder: str = "data/prepared/toy") -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).iterdir())}


# -- what is prepared


def test_a_folder_becomes_two_splits_of_pixels() -> None:
    fill()
    found = prepared()
    assert found["shape"] == [3, 16, 16]
    assert {name: numbers["count"] for name, numbers in found["splits"].items()} == {"train": 30, "test": 10}
    assert "labels" not in found
    rows = table()
    assert len(rows) == 40
    for number in range(40):
        row = rows[f"{number:03d}.png"]
        expected = draw(number).crop((5, 0, 35, 30)).resize((16, 16), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(split(row["split"])[int(row["row"])], np.asarray(expected))
    assert not Path(".work/prepare/toy").exists()


def test_rows_are_in_the_order_of_their_names() -> None:
    fill()
    prepared()
    for name in ("train", "test"):
        places = [int(row["row"]) for row in table().values() if row["split"] == name]
        assert places == list(range(len(places)))


@pytest.mark.parametrize("source", ["folder", "tar.gz"])
def test_the_same_bytes_whatever_the_number_of_processes(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(20)
    changes: dict[str, Any] = {}
    if source == "tar.gz":
        with tarfile.open("mine.tar.gz", "w:gz") as tar:
            tar.add("mine")
        changes = {"source": "archive", "path": "mine.tar.gz"}
    made = []
    monkeypatch.setattr(chunks, "PICTURES", 3)
    for processes in (1, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, processes=processes: set(range(processes)))
        prepared(**changes)
        made.append(digests())
    assert made[0] == made[1]


def test_chunks_and_shards_may_be_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    fill()
    prepared()
    whole, rows = {name: split(name) for name in ("train", "test")}, table()
    monkeypatch.setattr(chunks, "PICTURES", 7)
    monkeypatch.setattr(arrays, "SHARD", 128 + 4 * 16 * 16 * 3 + 5)
    prepared()
    assert len(list(Path("data/prepared/toy").glob("train-*.npy"))) == 8
    assert table() == rows
    for name, x in whole.items():
        np.testing.assert_array_equal(split(name), x)


def test_nothing_prepared_names_the_machine(at_home: Path) -> None:
    fill()
    prepared(path="mine")
    for path in [*Path("data").rglob("*.json"), *Path("data").rglob("*.csv")]:
        assert str(at_home) not in path.read_text(), path


def test_grey_is_of_one_channel() -> None:
    fill(8)
    assert prepared(colour=False)["shape"] == [1, 16, 16]
    assert split("train").shape == (6, 16, 16, 1)


def test_examples_are_drawn_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    found = prepared(examples=12)
    assert {name: numbers["count"] for name, numbers in found["splits"].items()} == {"train": 9, "test": 3}
    chosen = set(table())
    assert len(chosen) == 12
    assert chosen != {f"{number:03d}.png" for number in range(12)}
    prepared(examples=12)
    assert set(table()) == chosen
    prepared(examples=12, seed=1)
    assert set(table()) != chosen
    assert prepared(examples=1000)["facts"]["files"] == 40


# -- splits, labels, duplicates


def test_copies_stand_on_one_side_and_are_counted() -> None:
    fill(30, lambda number: f"{number % 10}-{number // 10}.png")
    for number in range(30):  # three copies of each of ten, in formats of their own
        draw(number % 10).save(f"mine/{number % 10}-{number // 10}.{('bmp', 'tif', 'png')[number // 10]}")
        if number // 10 < 2:
            Path(f"mine/{number % 10}-{number // 10}.png").unlink()
    found = prepared(test_fraction=0.3)
    assert found["facts"]["copies of another file"] == 20
    assert {tuple(names) for names in found["copies"]} == {(f"{n}-0.bmp", f"{n}-1.tif", f"{n}-2.png") for n in range(10)}
    sides = {name: row["split"] for name, row in table().items()}
    assert all(sides[f"{n}-0.bmp"] == sides[f"{n}-1.tif"] == sides[f"{n}-2.png"] for n in range(10))
    assert list(sides.values()).count("test") == 9
    assert {row["copy_of"] for name, row in table().items() if name.endswith("-2.png")} == {f"{n}-0.bmp" for n in range(10)}


@pytest.mark.parametrize("together", [False, True])
def test_near_duplicates_are_listed_and_kept_together_where_asked(together: bool) -> None:
    fill(30, "{:03d}-a.png".format)
    for number in range(30):
        draw(number).save(f"mine/{number:03d}-b.jpg", quality=92)
    found = prepared(test_fraction=0.3, near_duplicates="together" if together else "listed")
    near = {tuple(names) for names in found["near_duplicates"]["sets"]}
    assert len(near & {(f"{n:03d}-a.png", f"{n:03d}-b.jpg") for n in range(30)}) >= 25
    assert 25 <= found["facts"]["near-duplicates of another picture"] <= 31
    assert found["facts"]["copies of another file"] == 0
    rows = table()
    apart = [names for names in near if len({rows[name]["split"] for name in names}) > 1]
    assert bool(apart) != together


def test_whole_groups_are_held_out_and_copies_between_groups_are_left_out() -> None:
    fill(40, lambda number: f"person{number // 8}/{number}.png")
    for person in range(5):
        Path(f"mine/person{person}/unknown.png").write_bytes(png(99))
    found = prepared(group="parent", test_fraction=0.2)
    rows = table()
    held = found["held_out_groups"]
    assert len(held) == 1
    for name, row in rows.items():
        if name.endswith("unknown.png"):
            assert row["split"] == ("" if name.startswith(held[0]) else "train")
        else:
            assert row["split"] == ("test" if name.startswith(held[0]) else "train")
    assert found["facts"]["left out, since another split has a copy"] == 1
    assert found["facts"]["groups in train"] == 4
    assert prepared(group=r"^person(\d)", test_fraction=0.2)["held_out_groups"][0] in "01234"


def test_the_source_s_own_split_is_taken_where_no_share_is_asked_for() -> None:
    fill(12, lambda number: f"set/{('train', 'train', 'test', 'val')[number % 4]}/{'ab'[number % 2]}/{number}.png")
    Path("mine/set/test/a/again.png").write_bytes(png(0))
    found = prepared(test_fraction=0.0)
    assert {name: numbers["count"] for name, numbers in found["splits"].items()} == {"train": 6, "validation": 3, "test": 3}
    assert found["labels"] == ["a", "b"]
    assert table()["set/test/a/again.png"]["split"] == ""


def test_sub_folders_become_classes_of_each_split() -> None:
    fill(40, lambda number: f"{('cat', 'dog')[number % 2]}/{number:02d}.png")
    assert prepared()["labels"] == ["cat", "dog"]
    for name in ("train", "test"):
        labels = arrays.load(Path("data/prepared/toy"), name)["labels"]
        expected = [("cat", "dog").index(file.split("/")[0]) for file, row in table().items() if row["split"] == name]
        assert labels.dtype == np.int64
        assert labels.tolist() == expected
    assert "labels" not in prepared(labels="none")
    assert not list(Path("data/prepared/toy").glob("*_labels.npy"))


def test_a_table_of_labels_wins_over_folders() -> None:
    fill(20, lambda number: f"{('cat', 'dog')[number % 2]}/{number:02d}.png")
    names = [f"{('cat', 'dog')[number % 2]}/{number:02d}.png" for number in range(20)]
    Path("mine/labels.csv").write_text(
        "file,striped,asleep\n" + "".join(f"{name},{i % 2},{i // 10}\n" for i, name in enumerate(names))
    )
    assert prepared()["labels"] == ["striped", "asleep"]
    assert arrays.load(Path("data/prepared/toy"), "train")["labels"].shape == (15, 2)
    assert prepared(labels="folders")["labels"] == ["cat", "dog"]
    assert prepared(examples=8)["labels"] == ["striped", "asleep"]
    Path("mine/labels.csv").write_text("file,striped\nx.png,1\n")
    with pytest.raises(UserError, match=r"mine/labels\.csv: line 2: unknown file 'x\.png'"):
        prepared()


# -- bad files


def test_bad_files_are_counted_and_named_and_stop_nothing() -> None:
    fill(12)
    Path("mine/empty.png").touch()
    Path("mine/words.jpg").write_bytes(b"words")
    Path("mine/cut.png").write_bytes(png(0)[:200])
    Image.new("RGB", (1, 1)).save("mine/dot.png")
    Path("mine/out.png").symlink_to("/etc/hostname")
    Path("mine/notes.txt").write_text("words")
    found = prepared()
    assert found["bad_files"] == {
        "cut.png": "cut short",
        "dot.png": "too small: 1 x 1 pixels, less than 4 a side",
        "empty.png": "empty",
        "out.png": "a link that leaves the folder",
        "words.jpg": "no picture, or its first bytes are damaged",
    }
    facts = found["facts"]
    assert (facts["files"], facts["bad files"], facts["bad files: cut short"], facts["bad files: too small"]) == (17, 5, 1, 1)
    assert found["other_files"] == {".txt": 1}
    assert {name: row["bad"] for name, row in table().items() if row["bad"]} == found["bad_files"]
    assert sum(numbers["count"] for numbers in found["splits"].values()) == 12


def test_animated_files_are_named() -> None:
    fill(12)
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (10, 200)]
    frames[0].save("mine/moves.gif", save_all=True, append_images=frames[1:])
    found = prepared()
    assert found["animated_files"] == ["moves.gif"]
    assert found["facts"]["animated files, of which the first frame is taken"] == 1


def test_bad_files_are_refused_where_asked_all_at_once() -> None:
    fill(12)
    for number in range(25):
        Path(f"mine/x{number:02d}.png").touch()
    with pytest.raises(UserError) as error:
        prepared(on_bad="error")
    lines = str(error.value).splitlines()
    assert lines[0] == "mine: x00.png: empty"
    assert lines[-2:] == [
        "mine: ... and 5 more bad files",
        "params.yaml: datasets.toy.on_bad: error: mend or remove these files, or set on_bad: skip",
    ]
    assert not Path("data/prepared/toy").exists()
    stage("prepare")  # what was decoded is still there
    assert arrays.statistics(Path("data/prepared/toy"))["facts"]["bad files"] == 25


@pytest.mark.parametrize(
    ("count", "bad", "told"),
    [
        (0, 3, "mine: no picture that can be used, of 3 (bad: 3 empty); expected at least two: one to train on, one to hold out"),
        (1, 0, "mine: one picture that can be used, of 1; expected at least two: one to train on, one to hold out"),
        (2, 5, "params.yaml: datasets.toy.test_fraction: 0.25 of 2 pictures holds out none; add pictures, or raise it"),
    ],
)
def test_too_few_pictures_are_one_clear_line(count: int, bad: int, told: str) -> None:
    fill(count)
    Path("mine").mkdir(exist_ok=True)
    for number in range(bad):
        Path(f"mine/x{number}.png").touch()
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        prepared()


def test_labels_that_are_asked_for_and_missing_are_told() -> None:
    fill(8)
    with pytest.raises(UserError, match=r"labels: csv, but mine has no labels\.csv; write one, or set labels: auto"):
        prepared(labels="csv")
    with pytest.raises(UserError, match=r"datasets\.toy\.labels: folders are classes, but 8 of 8 pictures lie in none"):
        prepared(labels="folders")


# -- files that change


@pytest.mark.parametrize("change", ["other pixels", "longer", "gone", "a folder"])
def test_a_file_that_has_changed_is_refused_by_its_name(change: str) -> None:
    fill(8)
    stage("download")
    path = Path("mine/003.png")
    if change == "other pixels":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif change == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.unlink()
        if change == "a folder":
            path.mkdir()
    told = {"gone": "gone", "a folder": "is a directory"}.get(change, "has changed")
    with pytest.raises(
        UserError, match=rf"^003\.png: {told} since it was indexed; run `dvc repro --force download@toy` to take it"
    ):
        stage("prepare")


@pytest.mark.parametrize("change", ["other pixels", "gone", "another order"])
def test_a_member_that_has_changed_is_refused_by_its_name(change: str) -> None:
    def pack(numbers: list[int], other: int = -1) -> None:
        with zipfile.ZipFile("mine.zip", "w") as box:
            for number in numbers:
                box.writestr(f"{number}.png", png(99 if number == other else number))

    pack(list(range(8)))
    stage("download", source="archive", path="mine.zip")
    pack([0, 1, 2, 4, 5, 6, 7] if change == "gone" else [1, 0, *range(2, 8)] if change == "another order" else list(range(8)),
         3 if change == "other pixels" else -1)  # fmt: skip
    told = {"gone": r"mine\.zip: 3\.png: gone", "another order": r"mine\.zip: 1\.png: gone"}.get(change, r"3\.png: has changed")
    with pytest.raises(UserError, match=f"^{told} since it was indexed"):
        stage("prepare", source="archive", path="mine.zip")


# -- kills


def test_a_killed_run_goes_on_to_the_same_bytes(at_home: Path) -> None:
    """SIGKILL after a few chunks, the workers end with their parent, and a second run decodes only what is missing.

    After three chunks the workers wait until they are ended, as they must be: however slow the machine, they never finish.
    """
    fill(30)
    prepared()
    expected = digests()
    main = f"""
import pathlib, runpy, sys, time
from regen.data.images import chunks, decoding
chunks.PICTURES = 2
def wait():
    while len(list(pathlib.Path(".work/prepare/toy").rglob("*.npz"))) >= 3:
        time.sleep(0.05)
if __name__ == "__main__":
    sys.argv[1:] = ["toy"]
    runpy.run_path({str(ROOT / "stages/prepare.py")!r}, run_name="__main__")
else:
    decode = decoding.decode
    decoding.decode = lambda *arguments: wait() or decode(*arguments)
"""
    Path("killed.py").write_text(main)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen([sys.executable, "killed.py"], env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    work = Path(".work/prepare/toy")
    deadline = time.monotonic() + 300
    while len(list(work.rglob("*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while (left := _alive(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    done = set(work.rglob("*.npz"))  # what a worker had begun, it may have finished
    assert 3 <= len(done) < 15
    written: list[Path] = []
    write = chunks.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "PICTURES", 2)
        patch.setattr(chunks, "write", lambda chunk: written.append(chunk.target) or write(chunk))
        patch.setattr(os, "sched_getaffinity", lambda _: {0})
        stage("prepare")
    assert len(written) == 15 - len(done)
    assert not {path.resolve() for path in written} & {path.resolve() for path in done}
    assert digests() == expected


def _alive(session: int) -> list[str]:
    """Processes of a session, by /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(path.parent.name)
    return found


def test_a_worker_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "PICTURES", 2)
    monkeypatch.setattr(chunks, "_end_with_parent", _killed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    fill(8)
    with pytest.raises(UserError, match=r"^mine: a process that decodes was killed \(out of memory\?\)"):
        prepared()


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# -- other sources


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.xz"])
def test_an_archive_gives_what_its_folder_gives(kind: str) -> None:
    fill(20)
    prepared()
    whole, rows = split("train"), {name: row["split"] for name, row in table().items()}
    if kind == "zip":
        with zipfile.ZipFile("mine.zip", "w") as box:
            for path in sorted(Path("mine").iterdir()):
                box.write(path)
    else:
        with tarfile.open(f"mine.{kind}", f"w:{kind.partition('.')[2]}") as tar:
            for path in sorted(Path("mine").iterdir()):
                tar.add(path)
    prepared(source="archive", path=f"mine.{kind}")
    np.testing.assert_array_equal(split("train"), whole)
    assert {name.removeprefix("mine/"): row["split"] for name, row in table().items()} == rows


@pytest.fixture
def site(at_home: Path) -> Iterator[str]:
    """A server on 127.0.0.1 that gives the files of `site/`."""
    (at_home / "site").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(at_home / "site"))

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_from_an_address_is_pinned_and_kept_as_it_is(kind: str, site: str) -> None:
    fill(12)
    if kind == "zip":
        with zipfile.ZipFile("site/my cats.zip", "w") as box:
            for path in sorted(Path("mine").iterdir()):
                box.write(path)
    else:
        with tarfile.open("site/my cats.tar.gz", "w:gz") as tar:
            tar.add("mine")
    sha256 = hashlib.sha256(Path(f"site/my cats.{kind}").read_bytes()).hexdigest()
    changes = {"source": "url", "path": f"{site}/my%20cats.{kind}", "sha256": sha256}
    found = prepared(**changes)
    assert found["facts"]["files"] == 12
    provenance = json.loads(Path("data/raw/toy/provenance.json").read_text())["files"]
    name = f"archive-my_20cats.{kind}"
    assert provenance[name]["sha256"] == sha256
    assert hashlib.sha256(Path(f"data/raw/toy/{name}").read_bytes()).hexdigest() == sha256
    Path(f"site/my cats.{kind}").unlink()
    assert prepared(**changes) == found  # from the cache
    with pytest.raises(UserError, match="no mirror gave it"):
        prepared(**{**changes, "sha256": "0" * 64})


def test_a_data_set_of_torchvision_needs_no_folder() -> None:
    found = prepared(source="torchvision", path="FakeData", examples=24)
    assert found["facts"]["files"] == 24
    assert found["shape"] == [3, 16, 16]
    assert set(found["labels"]) <= {str(number) for number in range(10)}
    assert set(found["formats"]) == {"PPM"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("CIFAR11", r"datasets\.toy\.path: unknown data set of torchvision 'CIFAR11' \(did you mean CIFAR10\?\)"),
        ("ImageNet", r"torchvision's ImageNet: .*; check the network and run again, or put its files into .*cache/torchvision$"),
    ],
)
def test_a_data_set_that_torchvision_cannot_give_is_one_clear_line(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        stage("download", source="torchvision", path=name)
    assert "\n" not in str(error.value)


def test_hashes_of_small_pictures_are_near_where_the_pictures_are() -> None:
    hashes = np.array([chunks.perceptual_hash(np.asarray(draw(number))) for number in range(60)], np.uint64)
    brighter = np.array(
        [chunks.perceptual_hash(np.asarray(draw(number).point(lambda v: v * 0.9))) for number in range(60)], np.uint64
    )
    assert np.median(np.bitwise_count(hashes ^ brighter)) <= duplicates.NEAR
    assert np.bitwise_count(hashes[:, None] ^ hashes)[~np.eye(60, dtype=bool)].min() > duplicates.NEAR
