"""A folder or an archive becomes an index: each file by name and SHA-256, bad ones with their reasons, the others counted."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regen import data
from regen.data.images import index, sources
from regen.data.images.index import Row
from regen.data.sets import images
from regen.errors import UserError


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def picture(number: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def config(**changes: Any) -> images.Config:
    parsed = data.config({"kind": "images", "source": "folder", "path": "mine", **changes}, "params.yaml: datasets.toy")
    assert isinstance(parsed, images.Config)
    return parsed


def indexed(**changes: Any) -> tuple[dict[str, Row], dict[str, Any]]:
    """The rows by name, and what else was found."""
    raw = Path("data/raw/toy")
    raw.mkdir(parents=True, exist_ok=True)
    images.download(config(**changes), raw)
    rows = list(index.rows(raw))
    assert len({row.file for row in rows}) == len(rows) or "a second file of this name" in {row.problem for row in rows}
    return {row.file: row for row in rows}, json.loads((raw / index.SUMMARY).read_text())


def fill(root: Path = Path("mine"), names: tuple[str, ...] = ("a.png", "b/c.jpg", "b/d/e.webp")) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))


# -- folders


def test_a_folder_is_indexed_where_it_lies() -> None:
    fill()
    rows, found = indexed()
    assert {name: row.sha256 for name, row in rows.items()} == {
        name: hashlib.sha256(picture(number)).hexdigest() for number, name in enumerate(["a.png", "b/c.jpg", "b/d/e.webp"])
    }
    assert found == {"pictures": 3, "others": {}, "labels": ""}
    assert sorted(path.name for path in Path("data/raw/toy").iterdir()) == ["index.csv", "index.json"]


def test_the_index_is_the_same_bytes_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(names=tuple(f"{letter}/{number}.png" for letter in "xyz" for number in range(30)))
    texts = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, threads=threads: set(range(threads)))
        indexed()
        texts.append(Path("data/raw/toy/index.csv").read_bytes())
    assert texts[0] == texts[1] == texts[2]
    assert str(Path.cwd()).encode() not in texts[0]


def test_a_path_may_start_at_home(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(at_home))
    fill()
    assert len(indexed(path="~/mine")[0]) == 3


def test_hidden_files_are_passed_over_and_others_counted() -> None:
    fill()
    fill(names=(".DS_Store.png", "__MACOSX/._a.png", ".ipynb_checkpoints/a.png", "b/.cache/a.png"))
    for name in ("README.txt", "b/notes.TXT", "Thumbs.db", "LICENSE"):
        (Path("mine") / name).write_bytes(b"words")
    rows, found = indexed()
    assert set(rows) == {"a.png", "b/c.jpg", "b/d/e.webp"}
    assert found["others"] == {".txt": 2, ".db": 1, "without a suffix": 1}


def test_a_picture_without_a_suffix_is_known_by_its_first_bytes() -> None:
    fill(names=("a.png", "5f3a9c", "b.orig"))
    assert set(indexed()[0]) == {"a.png", "5f3a9c", "b.orig"}


def bad_link(target: str) -> Any:
    return lambda path: path.symlink_to(target)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


BAD = {  # what lies in the folder -> its name in the index, and the reason
    "a link out": ("x.png", bad_link("/etc/hostname"), "a link that leaves the folder"),
    "a link up": ("x.png", bad_link("../outside.png"), "a link that leaves the folder"),
    "a linked folder": ("x", bad_link("/etc"), "a link that leaves the folder"),
    "a link to nothing": ("x.png", bad_link("nowhere.png"), "a link to nothing"),
    "a link to itself": ("x.png", loop, "a link to nothing"),
    "a pipe": ("x.png", lambda path: os.mkfifo(path), "no regular file"),
    "a name of other bytes": (b"caf\xe9.png", lambda path: path.write_bytes(picture()), "name is not UTF-8"),
    "a name of two lines": (b"x\r\ny.png", lambda path: path.write_bytes(picture()), "name has a control character"),
    "a phone's format": ("x.HEIC", lambda path: path.write_bytes(b"heic"), "format is not read: .heic"),
    "a camera's raw": ("x.NEF", lambda path: path.write_bytes(b"raw"), "format is not read: .nef"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_stands_in_the_index_with_its_reason(kind: str) -> None:
    name, make, reason = BAD[kind]
    fill()
    Path("outside.png").write_bytes(picture(9))
    make(Path("mine") / os.fsdecode(name))
    rows, _ = indexed()
    shown = {b"caf\xe9.png": "caf\\udce9.png", b"x\r\ny.png": "x\\x0d\\x0ay.png", "x": "x/"}.get(name, name)
    assert rows[shown].problem == reason
    assert rows[shown].sha256 == ""
    assert [row.problem for row in rows.values()].count("") == 3


def test_what_may_not_be_read_stands_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()

    def refused(path: Any, *arguments: Any, **options: Any) -> Any:  # the tests may run as root, who may read everything
        if str(path).endswith(("c.jpg", "mine/b/d")):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *arguments, **options)

    real_open, real_scan = sources._opened, os.scandir
    monkeypatch.setattr(sources, "_opened", refused)
    monkeypatch.setattr(os, "scandir", lambda path: refused(path) if str(path).endswith("b/d") else real_scan(path))
    rows, _ = indexed()
    assert rows["b/c.jpg"].problem == rows["b/d/"].problem == "unreadable: permission denied"
    assert rows["a.png"].problem == ""


def test_what_cannot_be_looked_at_stands_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    real = Path.is_dir

    def refused(path: Path) -> bool:
        if path.name == "c.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_dir", refused)
    rows, _ = indexed()
    assert rows["b/c.jpg"].problem == "unreadable: permission denied"
    assert rows["a.png"].problem == ""


@pytest.mark.parametrize("field", ["version", "name"])
def test_a_zip_that_claims_what_it_has_not_is_damaged(field: str) -> None:
    with zipfile.ZipFile("mine.zip", "w") as box:
        box.writestr("caf\xe9.png", picture())
    content = bytearray(Path("mine.zip").read_bytes())
    place = content.rindex(b"PK\x01\x02")
    if field == "version":
        content[place + 6] = 200
    else:
        name = content.index("caf\xe9".encode(), place)
        content[name + 3] = 0xFF
    Path("mine.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.zip: damaged or cut short"):
        indexed(source="archive", path="mine.zip")


def test_a_table_of_labels_that_cannot_be_read_is_refused_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    Path("mine/labels.csv").write_text("file,label\n")
    monkeypatch.setattr(index, "LARGEST", 5)
    with pytest.raises(UserError, match=r"labels\.csv: too large: 11 bytes, more than 5"):
        indexed()


def test_a_huge_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    with Path("mine/huge.tif").open("wb") as file:
        file.truncate(index.LARGEST + 1)
    assert indexed()[0]["huge.tif"].problem == "too large: 268,435,457 bytes, more than 268,435,456"


def test_links_within_the_folder_are_pictures_and_linked_folders_are_not_walked_twice() -> None:
    fill()
    Path("mine/again.png").symlink_to("a.png")
    Path("mine/f").symlink_to("b")
    Path("mine/b/up").symlink_to("..")
    rows, found = indexed()
    assert set(rows) == {"a.png", "again.png", "b/c.jpg", "b/d/e.webp"}
    assert rows["again.png"].sha256 == rows["a.png"].sha256
    assert found["others"] == {}


def test_odd_names_survive() -> None:
    names = ('comma,quote".png', "  spaces .png", "ünïcødé 猫.png", "-rf.png", "a/b c/%s.png", "a\\b.png")
    fill(names=names)
    rows, _ = indexed()
    assert set(rows) == set(names)
    assert not [row for row in rows.values() if row.problem]


def test_folders_may_be_very_deep() -> None:
    place = Path("mine")
    place.mkdir()
    here = os.getcwd()
    os.chdir(place)
    for _ in range(300):
        os.mkdir("d")
        os.chdir("d")
    Path("a.png").write_bytes(picture())
    os.chdir(here)
    assert list(indexed()[0]) == ["d/" * 300 + "a.png"]


@pytest.mark.parametrize(
    ("make", "changes", "told"),
    [
        (lambda: None, {}, "mine: no such folder; expected a folder of images"),
        (lambda: Path("mine").write_bytes(b""), {}, "mine: a file; set source: archive for a zip or tar; expected a folder"),
        (lambda: Path("mine").mkdir(), {}, "mine: no pictures (there is: nothing); expected JPEG, PNG"),
        (lambda: fill(names=()) or _texts(), {}, "mine: no pictures (there is: 2 .txt, 1 without a suffix); expected JPEG, PNG"),
        (lambda: None, {"source": "archive"}, "mine: no such file; expected a zip or tar archive of images"),
        (lambda: Path("mine").mkdir(), {"source": "archive"}, "mine: a folder; set source: folder; expected a zip"),
        (lambda: Path("mine").write_bytes(b"7z" * 99), {"source": "archive"}, "mine: neither a zip nor a tar, or damaged;"),
        (lambda: Path("mine").write_bytes(b""), {"source": "archive"}, "mine: neither a zip nor a tar, or damaged;"),
    ],
)  # fmt: skip
def test_a_wrong_path_is_one_clear_line(make: Any, changes: dict[str, Any], told: str) -> None:
    make()
    with pytest.raises(UserError, match=f"^{re.escape(told)}") as error:
        indexed(**changes)
    assert "\n" not in str(error.value)


def _texts() -> None:
    Path("mine").mkdir()
    for name in ("a.txt", "b.TXT", "LICENSE"):
        (Path("mine") / name).write_text("words")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"path": ""}, "expected a path with source: folder"),
        ({"source": "url", "path": "https://me:hunter2@x.org/a.zip", "sha256": 64 * "0"}, "an address without user and password"),
        ({"source": "url", "path": "ftp://example.org/a.zip"}, "expected an address that begins with https:// with source: url"),
        ({"source": "url", "path": "http://example.org/a.zip"}, "expected an address that begins with https:// with source: url"),
        ({"source": "url", "path": "https://example.org/a.zip"}, "expected a sha256 of 64 hexadecimal digits with source: url"),
        ({"sha256": "0" * 64}, "expected a sha256 of 64 hexadecimal digits with source: url (see sha256sum), else none"),
        ({"background": "white"}, "background: expected a colour like '#ffffff', got 'white'"),
        ({"group": "(a)(b)"}, "group: expected '', 'parent', or a regular expression with one group"),
        ({"group": "("}, "group: expected '', 'parent', or a regular expression with one group"),
        ({"group": "parent", "test_fraction": 0.0}, "expected a test_fraction above 0 with a group"),
        ({"size": 4}, "size: expected greater than or equal to 8, got 4"),
        ({"on_bad": "panic"}, "on_bad: expected 'skip' or 'error', got 'panic'"),
        ({"souce": "folder"}, "souce: unknown key (did you mean source?)"),
    ],
)
def test_a_wrong_block_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        config(**changes)


# -- archives


def packed(kind: str, members: dict[str, bytes], place: Path | None = None) -> Path:
    path = place or Path(f"mine.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as box:
            for name, content in members.items():
                box.writestr(name, content)
        return path
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    pack = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}[kind]
    path.write_bytes(pack(plain.getvalue()))
    return path


KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_indexed_member_by_member_and_nothing_is_extracted(kind: str, at_home: Path) -> None:
    members = {"./cats/a.png": picture(), "cats/b/c.jpg": picture(1), "cats/README": b"words", "__MACOSX/cats/._a.png": b"",
               "cats/.hidden.png": picture(2), "cats/5f3a9c": picture(3)}  # fmt: skip
    path = packed(kind, members)
    before = sorted(at_home.rglob("*"))
    rows, found = indexed(source="archive", path=str(path.name))
    assert {name: row.sha256 for name, row in rows.items()} == {
        "cats/a.png": hashlib.sha256(picture()).hexdigest(),
        "cats/b/c.jpg": hashlib.sha256(picture(1)).hexdigest(),
        "cats/5f3a9c": hashlib.sha256(picture(3)).hexdigest(),
    }
    assert found["others"] == {"without a suffix": 1}
    new = {entry.relative_to(at_home).as_posix() for entry in at_home.rglob("*")} - {
        e.relative_to(at_home).as_posix() for e in before
    }
    assert new == {"data", "data/raw", "data/raw/toy", "data/raw/toy/index.csv", "data/raw/toy/index.json"}


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_would_leave_the_archive_are_bad(kind: str) -> None:
    rows, _ = indexed(
        source="archive", path=packed(kind, {"../up.png": picture(), "/root.png": picture(), "a.png": picture()}).name
    )
    assert {row.file: row.problem for row in rows.values()} == {
        "../up.png": "a path that leaves the archive", "root.png": "a path that leaves the archive", "a.png": "",
    }  # fmt: skip


def test_a_name_that_stands_twice_counts_once() -> None:
    with zipfile.ZipFile("mine.zip", "w") as box:
        box.writestr("a.png", picture(0))
        with pytest.warns(UserWarning, match="Duplicate name"):
            box.writestr("a.png", picture(1))
    indexed(source="archive", path="mine.zip")
    assert [(row.file, row.problem) for row in index.rows(Path("data/raw/toy"))] == [
        ("a.png", ""), ("a.png", "a second file of this name"),
    ]  # fmt: skip


def test_links_and_devices_of_a_tar_are_bad() -> None:
    with tarfile.open("mine.tar", "w") as tar:
        for name, kind in (("link.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE), ("pipe.png", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "a.png"
            tar.addfile(entry)
        entry = tarfile.TarInfo("a.png")
        entry.size = len(picture())
        tar.addfile(entry, io.BytesIO(picture()))
    rows, _ = indexed(source="archive", path="mine.tar")
    assert [row.problem for row in rows.values()] == ["a link", "a link", "no regular file", ""]


def test_a_damaged_member_of_a_zip_is_bad_and_the_others_are_read() -> None:
    path = packed("zip", {"a.png": picture(), "b.png": picture(1), "c.png": picture(2)})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as box:
        content[box.getinfo("b.png").header_offset + 60] ^= 255
    path.write_bytes(content)
    rows, _ = indexed(source="archive", path=path.name)
    assert [row.problem for row in rows.values()] == ["", "unreadable: damaged in the archive", ""]


def test_an_encrypted_member_is_bad() -> None:
    path = packed("zip", {"a.png": picture(), "b.png": picture(1)})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert [row.problem for row in indexed(source="archive", path=path.name)[0].values()] == ["", "encrypted"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_short_is_refused(kind: str) -> None:
    path = packed(kind, {f"{number}.png": picture(number) + os.urandom(20_000) for number in range(9)})
    os.truncate(path, path.stat().st_size // 2)
    told = (
        "neither a zip nor a tar, or damaged"
        if kind == "tar.bz2"
        else r"damaged or cut short after \d files; copy or download it again"
    )
    with pytest.raises(UserError, match=rf"^mine.{kind}: {told}"):
        indexed(source="archive", path=path.name)


def test_a_table_of_labels_is_kept_beside_the_index_the_highest_one() -> None:
    for path, source in (
        (Path("mine"), "folder"),
        (packed("tar.gz", {"x/y/labels.csv": b"deep", "x/a.png": picture(), "x/labels.csv": b"file,label\n"}), "archive"),
    ):
        if source == "folder":
            fill()
            Path("mine/labels.csv").write_bytes(b"file,label\n")
            Path("mine/b/labels.csv").write_bytes(b"deep")
        _, found = indexed(source=source, path=path.name)
        assert found["labels"] == ("labels.csv" if source == "folder" else "x/labels.csv")
        assert Path("data/raw/toy/labels.csv").read_bytes() == b"file,label\n"


@pytest.mark.parametrize(
    "content", [None, "", "file,size\n", "file,size,sha256,problem\na,b\n", "file,size,sha256,problem\na,b,c,d\n"]
)
def test_a_damaged_index_is_named_with_its_remedy(content: str | None) -> None:
    raw = Path("data/raw/toy")
    raw.mkdir(parents=True)
    if content is not None:
        (raw / "index.csv").write_text(content)
    with pytest.raises(UserError, match=r"index\.csv: .*dvc repro --force download@toy"):
        list(index.rows(raw))
