"""Any picture becomes upright 8-bit pixels of one shape; a file that cannot is named with its reason."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from regen.data.images import decoding
from regen.data.images.decoding import BadPictureError, Form

FORM = Form(16, "centre", "smooth", True, "#ffffff")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(content: bytes, **changes: Any) -> np.ndarray:
    with decoding.limits():
        return decoding.decode(content, Form(**{**FORM.__dict__, **changes})).pixels


def scene(width: int = 64, height: int = 64) -> Image.Image:
    """A smooth picture with a red disc in its upper left."""
    y, x = np.mgrid[0:height, 0:width]
    image = Image.fromarray(np.stack([x * 3 % 256, y * 2 % 256, (x + y) % 256], 2).astype(np.uint8))
    ImageDraw.Draw(image).ellipse([4, 4, 24, 24], fill=(220, 20, 20))
    return image


# -- modes


def as_rgb(image: Image.Image) -> np.ndarray:
    return decoded(encoded(image.convert("RGB"))).astype(int)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "PNG"), ("RGB", "BMP"), ("RGB", "TIFF"), ("RGB", "PPM"), ("RGB", "GIF"),
        ("L", "PNG"), ("L", "JPEG"), ("1", "PNG"),
        ("P", "PNG"), ("P", "GIF"), ("RGBA", "PNG"), ("LA", "PNG"), ("RGB", "JPEG2000"), ("RGBA", "ICO"), ("CMYK", "TIFF"),
    ],
)  # fmt: skip
def test_a_picture_of_any_mode_shows_what_it_shows(mode: str, kind: str) -> None:
    image = scene().convert(mode)
    content = encoded(image, kind, **({"irreversible": False} if kind == "JPEG2000" else {}))
    off = 40 if kind == "GIF" else 6 if kind == "JPEG" else 1  # 256 colours; lossy
    assert np.abs(decoded(content) - as_rgb(image)).max() <= off


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG"])
def test_lossy_formats_are_nearly_the_same(kind: str) -> None:
    assert np.abs(decoded(encoded(scene(), kind, quality=95)) - as_rgb(scene())).mean() < 3


def test_16_bit_grey_keeps_its_higher_8_bits() -> None:
    values = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            decoded(encoded(Image.fromarray(values), kind)), as_rgb(Image.fromarray((values >> 8).astype(np.uint8)))
        )
    big_endian = encoded(Image.frombytes("I;16B", (64, 64), values.astype(">u2").tobytes()), "TIFF")
    np.testing.assert_array_equal(decoded(big_endian), decoded(encoded(Image.fromarray(values), "TIFF")))


def test_floating_point_grey_from_0_to_1_is_scaled() -> None:
    values = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    expected = as_rgb(Image.fromarray(np.rint(values * 255).astype(np.uint8)))
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(values), "TIFF")), expected)


def test_cmyk_without_a_profile_is_converted_by_its_complement() -> None:
    red = decoded(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 3


def test_a_profile_of_cmyk_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = []

    def converted(image: Image.Image, *profiles: Any, outputMode: str) -> Image.Image:
        applied.append(image.mode)
        return Image.new(outputMode, image.size, (1, 2, 3))

    monkeypatch.setattr(ImageCms, "profileToProfile", converted)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # no free CMYK profile is at hand
    content = encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", icc_profile=profile)
    assert decoded(content)[0, 0].tolist() == [1, 2, 3]
    assert applied == ["CMYK"]


def test_a_profile_that_does_not_fit_is_passed_over() -> None:
    for profile in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"nonsense"):
        plain = decoded(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=100, icc_profile=profile))
        assert np.abs(plain.astype(int) - [255, 0, 0]).max() <= 3


# -- transparency


def test_transparent_pixels_show_the_background() -> None:
    for image in (Image.new("RGBA", (32, 32), (9, 9, 9, 0)), Image.new("LA", (32, 32), (9, 0))):
        assert decoded(encoded(image), background="#204060")[3, 3].tolist() == [0x20, 0x40, 0x60]
    half = decoded(encoded(Image.new("RGBA", (32, 32), (200, 100, 0, 128))), background="#000000")
    assert np.abs(half[3, 3].astype(int) - [100, 50, 0]).max() <= 1


def test_a_transparent_colour_of_a_palette_or_of_rgb_shows_the_background() -> None:
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([255, 0, 0] * 256)
    for image, key in ((palette, 0), (Image.new("RGB", (32, 32), (255, 0, 0)), (255, 0, 0)), (Image.new("L", (32, 32), 7), 7)):
        assert decoded(encoded(image, transparency=key), background="#0000ff")[5, 5].tolist() == [0, 0, 255]


def test_what_hides_under_transparent_pixels_does_not_bleed() -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # red that nobody sees
    image.paste((0, 0, 255, 255), (0, 0, 32, 64))
    pixels = decoded(encoded(image), background="#0000ff")
    assert pixels[:, :, 0].max() <= 1


# -- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_undone(orientation: int, kind: str) -> None:
    upright = Image.new("RGB", (48, 48))
    for box, colour in (
        ((0, 0, 24, 24), "red"),
        ((24, 0, 48, 24), "lime"),
        ((0, 24, 24, 48), "blue"),
        ((24, 24, 48, 48), "white"),
    ):
        upright.paste(colour, box)
    stored = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    image = upright if stored is None else upright.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoded(encoded(image, kind, exif=exif), resize="nearest").astype(int)
    for (row, column), colour in {
        (3, 3): (255, 0, 0),
        (3, 12): (0, 255, 0),
        (12, 3): (0, 0, 255),
        (12, 12): (255, 255, 255),
    }.items():
        assert np.abs(pixels[row, column] - colour).max() < 40


def test_damaged_exif_leaves_the_picture() -> None:
    content = encoded(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert decoded(content).shape == (16, 16, 3)


# -- shape


@pytest.mark.parametrize("size", [(64, 64), (101, 64), (64, 177), (9, 12)])
@pytest.mark.parametrize("resize", ["smooth", "nearest"])
def test_cropping_and_resizing_are_torchvision_s(size: tuple[int, int], resize: str) -> None:
    from torchvision.transforms import v2

    modes = {"smooth": v2.InterpolationMode.BICUBIC, "nearest": v2.InterpolationMode.NEAREST}
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))
    transform = v2.Compose([v2.CenterCrop(min(size)), v2.Resize([16, 16], modes[resize], antialias=True)])
    np.testing.assert_array_equal(decoded(encoded(noise), resize=resize), np.asarray(transform(noise)))


def test_padding_keeps_the_whole_picture() -> None:
    pixels = decoded(encoded(Image.new("RGB", (80, 20), "red")), crop="pad", background="#00ff00")
    assert [pixels[row, 8].tolist() for row in (0, 5, 6, 9, 10, 15)] == [[0, 255, 0]] * 2 + [[255, 0, 0]] * 2 + [[0, 255, 0]] * 2
    tall = decoded(encoded(Image.new("RGBA", (1 + 4, 5000), (0, 0, 0, 255))), crop="pad")
    assert (tall[:, 7] == 0).all()  # at least one pixel wide


def test_pixel_art_has_no_new_colours() -> None:
    art = Image.fromarray(np.random.default_rng(0).integers(0, 2, (24, 24, 3)).astype(np.uint8) * 255)
    pixels = decoded(encoded(art), resize="nearest", size=64)
    assert set(np.unique(pixels)) == {0, 255}
    places = (2 * np.arange(64) + 1) * 24 // 128
    np.testing.assert_array_equal(pixels, np.asarray(art)[places[:, None], places])


def test_grey_is_luminance() -> None:
    pixels = decoded(encoded(Image.new("RGB", (20, 20), (200, 100, 50))), colour=False)
    assert pixels.shape == (16, 16, 1)
    assert abs(int(pixels[0, 0, 0]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(scene(1600, 1200), "JPEG", quality=95)
    loaded: list[tuple[int, int]] = []
    shaped = decoding.shaped
    monkeypatch.setattr(decoding, "shaped", lambda image, form: loaded.append(image.size) or shaped(image, form))
    small = decoded(content).astype(int)
    monkeypatch.setattr(decoding, "_reduce", lambda image, form: None)
    assert np.abs(small - decoded(content)).mean() < 2
    assert loaded == [(200, 150), (1600, 1200)]


# -- several frames


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    picture = decoding.decode(content, FORM)
    assert picture.animated
    assert np.abs(picture.pixels.astype(int) - [255, 0, 0]).max() < 12
    assert not decoding.decode(encoded(frames[0], kind), FORM).animated


# -- bad files


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bare_png(width: int, height: int, pixels: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (4 << 20), zip=True)
    return encoded(scene(), pnginfo=info)


BAD = {
    "nothing": (lambda: b"", "empty"),
    "text": (lambda: b"this is no picture", "no picture, or its first bytes are damaged"),
    "zeros": (lambda: b"\0" * 500, "no picture, or its first bytes are damaged"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture, or its first bytes are damaged"),
    "cut png": (lambda: encoded(scene())[:-400], "cut short"),
    "cut jpeg": (lambda: encoded(scene(300, 300), "JPEG")[:4000], "cut short"),
    "cut webp": (lambda: encoded(scene(), "WEBP")[:300], "damaged"),
    "cut gif": (lambda: encoded(scene(), "GIF")[:1200], "cut short"),
    "cut tiff": (lambda: encoded(scene(), "TIFF")[:2000], "cut short"),
    "only a header": (lambda: encoded(scene(), "JPEG")[:20], "no picture, or its first bytes are damaged"),
    "a damaged checksum": (lambda: encoded(scene()).replace(b"IDAT", b"IDAT\x55", 1), "damaged"),
    "1 pixel": (lambda: encoded(Image.new("RGB", (1, 1))), "too small: 1 x 1 pixels, less than 4 a side"),
    "a line": (lambda: encoded(Image.new("RGB", (3000, 2))), "too small: 3000 x 2 pixels, less than 4 a side"),
    "30,000 pixels": (lambda: bare_png(30_000, 30_000, b""), "too large: more than 100,000,000 pixels"),
    "101 million pixels": (lambda: bare_png(10_100, 10_000, b""), "too large: more than 100,000,000 pixels"),
    "a text bomb": (text_bomb, "decompression bomb: its text grows beyond measure"),
    "deep grey": (
        lambda: encoded(Image.fromarray(np.full((40, 40), 1 << 20, np.int32)), "TIFF"),
        "too deep: grey of more than 16 bits, whose black and white are not known",
    ),
    "floats": (
        lambda: encoded(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF"),
        "too deep: floating-point pixels beyond 0 to 1, whose black and white are not known",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_has_a_reason(kind: str) -> None:
    make, reason = BAD[kind]
    with pytest.raises(BadPictureError) as error:
        decoded(make())
    assert str(error.value) == reason


def test_colours_that_cannot_be_converted_are_a_reason() -> None:
    with pytest.raises(BadPictureError, match="colours that are not read: La"):
        decoding._plain(Image.new("La", (8, 8)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "ICO", "PPM"])
def test_damage_anywhere_never_raises_anything_else(kind: str) -> None:
    content = encoded(scene(), kind)
    rng, told = np.random.default_rng(0), set[str]()
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            assert decoded(bytes(damaged[: rng.integers(1, len(damaged) + 1)])).shape == (16, 16, 3)
        except BadPictureError as reason:
            told.add(str(reason))
    assert not [reason for reason in told if "0x" in reason]  # no address of this run
