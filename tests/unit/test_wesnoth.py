"""The portraits of a Debian package: read member by member, named here, with their rights."""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regen.data.download import packages, pinned
from regen.data.download.mirrors import MirrorError, Package
from regen.data.images import wesnoth
from regen.data.sets import images
from regen.errors import UserError


def picture(colour: tuple[int, int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


RED, BLUE = picture((255, 0, 0, 255)), picture((0, 0, 255, 128))
FILES = {
    f"{wesnoth.MEMBERS}elves/archer.png": RED,
    f"{wesnoth.MEMBERS}elves/archer+female.png": BLUE,
    f"{wesnoth.MEMBERS}elves/archer_female.png": RED,
    f"{wesnoth.MEMBERS}ARTISTS": b"Kathrin\n",
    f"{wesnoth.MEMBERS}../../secret.png": b"elsewhere",
    "./usr/share/games/wesnoth/1.16/data/core/images/units/elf.png": b"a sprite",
}


def tar(files: dict[str, bytes], links: tuple[str, ...] = (), mode: str = "w:xz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    return out.getvalue()


def deb(data: bytes, name: str = "data.tar.xz") -> bytes:
    """A Debian package (deb(5)): an `ar` archive of three members, padded to even lengths."""
    out = b"!<arch>\n"
    for member, content in {"debian-binary": b"2.0\n", "control.tar": b"odd", name: data}.items():
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put content into the cache as a package that was fetched before: no client is asked."""
    monkeypatch.setenv("REGEN_CACHE", str(tmp_path / "cache"))

    def put(content: bytes) -> Package:
        digest = hashlib.sha256(content).hexdigest()
        (pinned.cache() / digest).write_bytes(content)
        return Package("apt-get", "portraits", "1", digest)

    return put


@pytest.mark.parametrize(("mode", "name"), [("w:xz", "data.tar.xz"), ("w:gz", "data.tar.gz"), ("w", "data.tar")])
def test_portraits_are_written_under_names_made_here(cached, tmp_path, mode, name):
    package = cached(deb(tar(FILES, (f"{wesnoth.MEMBERS}elves/link.png",), mode), name))
    provenance = wesnoth.into(tmp_path / "raw", package)
    found = {path.relative_to(tmp_path / "raw").as_posix(): path for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert set(found) == {
        "ARTISTS", "manifest.csv", "images/elves-archer.png", "images/elves-archer-female.png",
        "images/elves-archer-female-2.png", "images/secret.png",
    }  # fmt: skip
    assert found["images/elves-archer-female.png"].read_bytes() == BLUE
    assert np.asarray(Image.open(found["images/elves-archer.png"]))[0, 0].tolist() == [255, 0, 0, 255]
    assert provenance == {"package": package.provenance(), "images": 4, "rights": "GPL-2+"}


def test_the_manifest_tells_each_member_and_its_rights(cached, tmp_path):
    wesnoth.into(tmp_path / "raw", cached(deb(tar(FILES))))
    with (tmp_path / "raw/manifest.csv").open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    assert [row["name"] for row in rows] == sorted(path.name for path in (tmp_path / "raw/images").iterdir())
    assert {FILES[row["member"]] for row in rows if row["name"].startswith("elves")} == {RED, BLUE}
    assert {row["rights"] for row in rows} == {"GPL-2+"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no package", "no Debian package"),
        (deb(tar(FILES))[:400], "a damaged archive"),
        (deb(b"no tar"), "a damaged archive"),
        (deb(b"", "other"), "a damaged archive"),
        (deb(tar({"./else": b""})), "no portraits under"),
    ],
)
def test_a_package_without_them_is_refused_in_a_line(cached, tmp_path, content, reason):
    with pytest.raises(UserError, match=reason) as raised:
        wesnoth.into(tmp_path / "raw", cached(content))
    assert "\n" not in str(raised.value)


def test_a_member_larger_than_expected_is_not_read(tmp_path):
    (tmp_path / "package").write_bytes(deb(tar({"./big": bytes(5000)})))
    with pytest.raises(MirrorError, match="5,000 bytes, expected at most 4,096"):
        list(packages.members(tmp_path / "package", "./", 4096))


def test_a_package_that_no_client_fetches_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("REGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"apt-get wesnoth-1\.16-data 1:1\.16\.9-1: apt-get is not installed; .* put a copy at"):
        wesnoth.into(tmp_path / "raw")


def test_a_data_set_of_them_is_indexed_and_prepared(cached, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    many = {f"{wesnoth.MEMBERS}elves/{n}.png": picture((9 * n, 0, 0, 255)) for n in range(20)}
    monkeypatch.setattr(wesnoth, "into", partial(wesnoth.into, package=cached(deb(tar(many)))))
    config = images.Config(kind="images", source="wesnoth", size=8)
    for folder in ("raw", "prepared"):
        (tmp_path / folder).mkdir()
    provenance = images.download(config, tmp_path / "raw")
    assert provenance["wesnoth"]["images"] == 20
    described = images.prepare_into(config, tmp_path / "raw", 0, tmp_path / "prepared")
    assert (described["shape"], described["facts"]["files"]) == ([3, 8, 8], 20)


def test_a_source_that_is_fetched_has_no_path():
    with pytest.raises(ValueError, match="no path with source: wesnoth, got path 'x'"):
        images.Config(kind="images", source="wesnoth", path="x")
