"""Sections from somebody else: an HDF5 file or a folder of pictures that reads other files, lies, or stands in two splits."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from regen import data
from regen.data import arrays, folders
from regen.data.sets import brains
from regen.data.tiles.survey import survey
from regen.errors import UserError

PICTURE = np.random.default_rng(0).integers(0, 250, (40, 30)).astype(np.uint8)


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with sections.h5 of two brains in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(1)
    with h5py.File("sections.h5", "w") as file:
        for name in ("x/0", "x/1", "y/0"):
            file[name] = rng.integers(0, 250, (40, 30)).astype(np.uint8)
    return tmp_path


def prepare(**changes: Any) -> Path:
    """Download and prepare, as the stages do."""
    block = {"kind": "brains", "source": "file", "path": "sections.h5", "tile": 16, **changes}
    config = data.config(block, "params.yaml: datasets.toy")
    assert isinstance(config, brains.Config)
    raw, folder = Path("data/raw/toy"), Path("data/prepared/toy")
    with folders.replacing(raw) as part:
        brains.download(config, part)
    made, description = brains.prepare(config, raw, 0)
    arrays.write(folder, made, description | {"dataset": "toy", "kind": "brains", "source": config.source})
    return folder


def refused(**changes: Any) -> str:
    with pytest.raises(UserError) as error:
        prepare(**changes)
    return str(error.value)


# -- HDF5


def external_link(file: h5py.File) -> None:
    with h5py.File("other.h5", "w") as other:
        other["z/0"] = PICTURE
    file["z"] = h5py.ExternalLink("other.h5", "z")


def external_link_to_an_image(file: h5py.File) -> None:
    with h5py.File("other.h5", "w") as other:
        other["0"] = PICTURE
    file["x/2"] = h5py.ExternalLink("other.h5", "0")


def external_storage(file: h5py.File) -> None:
    Path("secret").write_bytes(PICTURE.tobytes())
    file.create_dataset("x/2", (40, 30), np.uint8, external=[("secret", 0, PICTURE.nbytes)])


def virtual(file: h5py.File) -> None:
    with h5py.File("other.h5", "w") as other:
        other["0"] = PICTURE
    layout = h5py.VirtualLayout((40, 30), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "0", (40, 30))
    file.create_virtual_dataset("x/2", layout)


def soft_link(file: h5py.File) -> None:
    file["x/2"] = h5py.SoftLink("/y/0")


def link_that_leads_nowhere(file: h5py.File) -> None:
    file["z"] = h5py.SoftLink("/gone")


def petabyte(file: h5py.File) -> None:
    file.create_dataset("x/2", (1 << 25, 1 << 25), np.uint8, chunks=(64, 64))


def tebibytes(file: h5py.File) -> None:
    file.create_dataset("x/2", (1 << 20, 1 << 27), np.uint8, chunks=(64, 64))


def petabyte_of_floats(file: h5py.File) -> None:
    file.create_dataset("x/2", (1, 1 << 37), np.float64, chunks=(1, 64))


def large_chunk(file: h5py.File) -> None:
    file.create_dataset("x/2", (1 << 15, 1 << 15), np.uint8, chunks=(1 << 15, 1 << 14))


def flat_chunk(file: h5py.File) -> None:
    file.create_dataset("x/2", (1, 1 << 28), np.uint8, chunks=(1, 1 << 28))


def large_packed_chunk(file: h5py.File) -> None:
    file.create_dataset("x/2", (4096, 4096), np.uint8, chunks=(4096, 4096), compression="gzip")


def chunk_that_unpacks_to_more(file: h5py.File) -> None:
    image = file.create_dataset("x/2", (64, 64), np.uint8, chunks=(64, 64), compression="gzip")
    image.id.write_direct_chunk((0, 0), zlib.compress(bytes(20_000_000)))


def name_that_is_not_utf8(file: h5py.File) -> None:
    h5py.h5g.create(file.id, b"\xff\xfe")


def image_name_that_is_not_utf8(file: h5py.File) -> None:
    h5py.h5d.create(file["x"].id, b"\xff", h5py.h5t.STD_U8LE, h5py.h5s.create_simple((2, 2)))


def name_of_escapes(file: h5py.File) -> None:
    file["\x1b]0;owned\x07\x1b[31m/0"] = PICTURE


def name_of_two_lines(file: h5py.File) -> None:
    file["a\nerror: forged/0"] = PICTURE


def long_name(file: h5py.File) -> None:
    file["a" * 60_000 + "/0"] = PICTURE


def brain_under_two_names(file: h5py.File) -> None:
    file["z"] = file["x"]


def section_under_two_names(file: h5py.File) -> None:
    file["y/1"] = file["x/0"]


def section_copied_into_the_test_brain(file: h5py.File) -> None:
    file.create_dataset("y/1", data=file["x/0"][:], chunks=(7, 5), compression="gzip")


def missing_filter(file: h5py.File) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((40, 30))
    properties.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, ())  # zstd, of the package hdf5plugin
    image = h5py.h5d.create(file["x"].id, b"2", h5py.h5t.STD_U8LE, h5py.h5s.create_simple((40, 30)), properties)
    h5py.Dataset(image).id.write_direct_chunk((0, 0), zlib.compress(PICTURE.tobytes()))


def strings(file: h5py.File) -> None:
    file.create_dataset("x/2", (3, 3), h5py.string_dtype())


def reference_to_itself(file: h5py.File) -> None:
    file["x/x"] = file["x"]


HDF5: list[tuple[Callable[[h5py.File], None], str]] = [
    (external_link, "sections.h5: z: a link into another file (other.h5)"),
    (external_link_to_an_image, "x/2: expected a 2-D uint8 image, got a link into another file (other.h5)"),
    (external_storage, "x/2: expected a 2-D uint8 image, got one whose pixels lie in another file (secret)"),
    (virtual, "x/2: expected a 2-D uint8 image, got a virtual one, whose pixels lie in other files"),
    (soft_link, "x/2: expected a 2-D uint8 image, got a link that leads to /y/0"),
    (link_that_leads_nowhere, "z: a link that leads nowhere"),
    (petabyte, "x/2: expected a 2-D uint8 image, got 33,554,432 x 33,554,432 pixels, more than"),
    (tebibytes, "x/2: expected a 2-D uint8 image, got 1,048,576 x 134,217,728 pixels, more than"),
    (petabyte_of_floats, "x/2: expected a 2-D uint8 image, got float64 values"),
    (large_chunk, "x/2: expected a 2-D uint8 image, got chunks of 32,768 x 16,384 pixels, more than"),
    (flat_chunk, "x/2: expected a 2-D uint8 image, got chunks of 1 x 268,435,456 pixels, more than"),
    (large_packed_chunk, "x/2: expected a 2-D uint8 image, got compressed chunks of 16,777,216 pixels, more than 4,194,304"),
    (chunk_that_unpacks_to_more, "bytes for 4,096 pixels, which is no image; write the file again"),
    (name_that_is_not_utf8, r"a name that is not UTF-8, b'\xff\xfe'"),
    (image_name_that_is_not_utf8, r"x/a name that is not UTF-8, b'\xff'"),
    (name_of_escapes, r"a name of 15 characters, '\x1b]0;owned\x07\x1b[31m'"),
    (name_of_two_lines, r"a name of 15 characters, 'a\nerror: forged'"),
    (long_name, "a name of 60000 characters"),
    (brain_under_two_names, "'z': is the brain 'x' under another name"),
    (section_under_two_names, "y/1: expected a 2-D uint8 image, got the section x/0 under another name"),
    (section_copied_into_the_test_brain, "y/1 (train) and x/0 (test) have the same pixels"),
    (missing_filter, "x/2: expected a 2-D uint8 image, got one compressed by filter 32015"),
    (strings, "x/2: expected a 2-D uint8 image, got object values"),
    (reference_to_itself, "x/x: expected a 2-D uint8 image, got a group"),
]


@pytest.mark.parametrize(("change", "told"), HDF5, ids=lambda value: getattr(value, "__name__", ""))
def test_what_a_stranger_s_file_can_hold_is_one_clear_line(change: Callable[[h5py.File], None], told: str) -> None:
    with h5py.File("sections.h5", "a") as file:
        change(file)
    message = refused(test_brain="x") if change is section_copied_into_the_test_brain else refused()
    assert told in message
    assert message.startswith("sections.h5: ")
    assert "\n" not in message


def test_blank_sections_may_be_alike() -> None:
    with h5py.File("sections.h5", "a") as file:
        file["x/blank"] = file["y/blank"] = np.full((20, 20), 255, np.uint8)
        del file["y/blank"]
        file["y/blank"] = np.full((20, 20), 255, np.uint8)
    prepare()


def test_sections_may_be_alike_within_a_split() -> None:
    with h5py.File("sections.h5", "a") as file:
        file["x/copy"] = file["x/0"][:]
    prepare()


def test_names_of_all_languages_are_kept_in_the_order_of_their_signs() -> None:
    with h5py.File("sections.h5", "a") as file:
        for name in ("Gehirn ä", "мозг", "脑", "a", "B", "mouse $\\frac$ a"):
            file[f"{name}/0"] = PICTURE
        assert [section.brain for section in survey(file)] == [
            "B",
            "Gehirn ä",
            "a",
            "mouse $\\frac$ a",
            "x",
            "x",
            "y",
            "мозг",
            "脑",
        ]


# -- folders of pictures


@pytest.fixture
def pictures(at_home: Path) -> Path:
    for brain in ("x", "y"):
        (at_home / "pictures" / brain).mkdir(parents=True)
        Image.fromarray(np.random.default_rng(ord(brain)).integers(0, 250, (40, 30)).astype(np.uint8)).save(
            at_home / "pictures" / brain / "0.png"
        )
    return at_home / "pictures"


def packed() -> dict[str, np.ndarray]:
    """What a folder of pictures becomes."""
    prepare(source="folder", path="pictures")
    with h5py.File("data/raw/toy/sections.h5") as file:
        return {section.name: file[section.name][:] for section in survey(file)}


def test_links_in_a_circle_are_told(pictures: Path) -> None:
    (pictures / "x/1.png").symlink_to("1.png")
    with pytest.raises(UserError, match=r"pictures/x/1\.png: no file; remove it"):
        packed()


def test_what_is_hidden_is_no_brain(pictures: Path) -> None:
    for folder in (".ipynb_checkpoints", "__MACOSX", ".git"):
        (pictures / folder).mkdir()
        Image.fromarray(PICTURE).save(pictures / folder / "0.png")
    (pictures / "x" / "._0.png").write_bytes(b"\0\5\x16\7")
    assert list(packed()) == ["x/0", "y/0"]


@pytest.mark.parametrize("what", ["picture", "folder"])
def test_a_link_that_leaves_the_folder_is_refused(what: str, pictures: Path, at_home: Path) -> None:
    (at_home / "private").mkdir()
    Image.fromarray(PICTURE).save(at_home / "private" / "0.png")
    if what == "picture":
        (pictures / "x" / "1.png").symlink_to(at_home / "private" / "0.png")
    else:
        (pictures / "z").symlink_to(at_home / "private")
    message = refused(source="folder", path="pictures")
    assert "a link that leaves the folder" in message
    assert str(at_home / "private") in message


def test_a_link_to_a_picture_of_the_test_brain_is_found_by_its_pixels(pictures: Path) -> None:
    (pictures / "y" / "1.png").symlink_to("../x/0.png")
    assert "have the same pixels" in refused(source="folder", path="pictures")


def test_pictures_are_turned_as_their_camera_was(pictures: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(PICTURE).save(pictures / "x" / "1.png", exif=exif)
    assert np.array_equal(packed()["x/1"], np.rot90(PICTURE, -1))


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_several_pictures_in_a_file_are_refused_by_name(suffix: str, pictures: Path) -> None:
    pages = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    pages[0].save(pictures / "x" / f"1.{suffix}", save_all=True, append_images=pages[1:])
    assert f"pictures/x/1.{suffix}: several pictures in one file" in refused(source="folder", path="pictures")


def rgba() -> Image.Image:
    picture = Image.fromarray(PICTURE).convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    return picture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (lambda: Image.fromarray(PICTURE // 50 * 50).convert("RGB").quantize(8), PICTURE // 50 * 50),
        (rgba, np.full_like(PICTURE, 255)),
        (lambda: Image.fromarray(PICTURE).convert("LA"), PICTURE),
        (lambda: Image.fromarray(PICTURE.astype(np.uint16) * 256 + 99), PICTURE),
        (lambda: Image.fromarray(np.where(PICTURE > 100, 255, 0).astype(np.uint8)).convert("1"), np.where(PICTURE > 100, 255, 0)),
    ],
    ids=["palette", "transparent", "opaque", "16 bits", "1 bit"],
)
def test_pictures_of_other_depths_are_read(picture: Callable[[], Image.Image], expected: np.ndarray, pictures: Path) -> None:
    picture().save(pictures / "x" / "1.png")
    assert np.array_equal(packed()["x/1"], expected)


def test_cmyk_is_read(pictures: Path) -> None:
    Image.fromarray(PICTURE).convert("CMYK").save(pictures / "x" / "1.tif")
    assert np.abs(packed()["x/1"].astype(int) - PICTURE).max() <= 2


def text_bomb(path: Path) -> None:
    """A PNG whose text is 128 MiB of nothing, packed."""
    meta = PngImagePlugin.PngInfo()
    for number in range(2):
        meta.add_text(f"t{number}", "\0" * (1 << 26), zip=True)
    Image.fromarray(PICTURE).save(path, pnginfo=meta)


def pixel_bomb(path: Path) -> None:
    """A PNG that says it is 100,000 x 100,000."""
    Image.fromarray(PICTURE).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(("bomb", "told"), [(text_bomb, "decompression bomb"), (pixel_bomb, "too large")])
def test_a_bomb_is_refused_by_name(bomb: Callable[[Path], None], told: str, pictures: Path) -> None:
    bomb(pictures / "x" / "1.png")
    assert re.match(rf"pictures/x/1\.png: {told}", refused(source="folder", path="pictures"))


def test_a_name_that_is_not_utf8_is_one_line(pictures: Path) -> None:
    os.rename(bytes(pictures / "x" / "0.png"), bytes(pictures / "x") + b"/\xff.png")
    message = refused(source="folder", path="pictures")
    assert message == r"pictures/x/\udcff.png: its name is not UTF-8; rename it"
    message.encode()


def test_a_pipe_is_not_waited_for(pictures: Path) -> None:
    os.mkfifo(pictures / "x" / "1.png")
    assert "pictures/x/1.png: no file; remove it" in refused(source="folder", path="pictures")
