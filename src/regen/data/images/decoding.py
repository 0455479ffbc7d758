"""One picture: from the bytes of its file, whatever they are, to pixels of one shape.

Pillow decodes: it alone of the libraries at hand reads palettes, CMYK, 16 bits, transparency and orientation in all formats.
Cropping and resizing are those of `torchvision.transforms.v2` on a Pillow image, to the byte, but done by Pillow itself: it
is what torchvision calls, its integer arithmetic gives the same bytes on every processor, and a process that decodes then
needs no torch (700 MB).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
LARGEST = 100_000_000  # pixels of one picture: 400 MB while it is decoded
PAGE = 1 << 31  # pixels of one that is kept at its full size, as a section of a brain
SMALLEST = 4  # pixels a side
MARGIN = 2  # a JPEG is decoded at an eighth, a quarter or half its size where that leaves so many times the pixels wanted
STILL = ("ICO", "MPO")  # formats whose further images are other sizes or views of the first


class BadPictureError(Exception):
    """A file that is no usable picture; the message is the reason, and what stands before its colon the kind of reason."""


@dataclass(frozen=True)
class Form:
    """What every picture becomes."""

    size: int  # pixels a side
    crop: Literal["centre", "pad"]  # the largest square in the middle, or the whole picture in a square of the background
    resize: Literal["smooth", "nearest"]  # bicubic and antialiased, or nearest neighbour
    colour: bool  # False: luminance (ITU-R 601)
    background: str  # "#rrggbb", behind what is transparent and around what is padded

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.size, self.size, 3 if self.colour else 1


@dataclass(frozen=True)
class Picture:
    """A decoded file: `pixels` uint8 (size, size, channels), and what it was."""

    pixels: np.ndarray
    width: int
    height: int
    format: str
    animated: bool  # of several frames, of which the first was taken


@contextmanager
def limits(largest: int = LARGEST) -> Iterator[None]:
    """Let Pillow refuse what has more pixels, also inside of it, and say nothing of damage that is told by name."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, largest // 2  # it warns from here on, and refuses from twice as many
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def decode(content: bytes, form: Form) -> Picture:
    """Decode the bytes of one file, within `limits`.

    Orientation by EXIF is undone; transparent pixels show the background; 16-bit grey keeps its higher 8 bits; CMYK goes
    through the file's colour profile where it has one (profiles of RGB are not applied); of several frames the first is taken.

    Raises:
        BadPictureError: whatever is wrong with the file.
    """
    if not content:
        raise BadPictureError("empty")
    with _opened(io.BytesIO(content)) as image:
        width, height = image.size
        kind, animated = str(image.format), _is_animated(image)
        if width * height > LARGEST:
            raise BadPictureError(f"too large: {width} x {height} pixels, more than {LARGEST:,}")
        if min(width, height) < SMALLEST:
            raise BadPictureError(f"too small: {width} x {height} pixels, less than {SMALLEST} a side")
        if form.resize == "smooth":
            _reduce(image, form)
        try:
            image.load()
            pixels = np.asarray(shaped(_plain(_upright(image)), form))
        except BadPictureError:
            raise
        except Exception as error:  # as in `_opened`
            raise BadPictureError(_reason(error)) from None
    return Picture(pixels.reshape(form.shape), width, height, kind, animated)


def whole(path: Path) -> Image.Image:
    """Decode a file at its full size, up to `PAGE` pixels: upright, 8-bit grey (mode L), white behind what is transparent.

    Raises:
        BadPictureError: whatever is wrong with the file, or several pictures in it.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file, limits(PAGE), _opened(file) as image:
        width, height = image.size
        if width * height > PAGE:
            raise BadPictureError(f"too large: {width} x {height} pixels, more than {PAGE:,}")
        if _is_animated(image):
            raise BadPictureError("several pictures in one file, as pages or frames; write each to a file of its own")
        try:
            image.load()
            picture = _plain(_upright(image))
        except BadPictureError:
            raise
        except Exception as error:  # as in `_opened`
            raise BadPictureError(_reason(error)) from None
    if picture.mode == "RGBA":
        behind = Image.new("RGBA", picture.size, "#ffffff")
        picture = Image.alpha_composite(behind, picture)
    return picture.convert("L")


def _opened(file: IO[bytes]) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except Exception as error:  # Pillow's decoders raise nearly everything, and nothing of it may stop the other pictures
        raise BadPictureError(_reason(error)) from None


def shaped(image: Image.Image, form: Form) -> Image.Image:
    """Crop or pad a picture of mode L, RGB or RGBA to a square, resize it and lay it over the background.

    `centre` is v2.CenterCrop(shorter side) and v2.Resize(size, BICUBIC or NEAREST).
    """
    width, height = image.size
    if form.crop == "centre":
        side = min(width, height)
        left, top = round((width - side) / 2), round((height - side) / 2)
        image = image.crop((left, top, left + side, top + side))
        width, height = form.size, form.size
    else:
        longer = max(width, height)
        width, height = (max(1, round(form.size * edge / longer)) for edge in (width, height))
    image = image.resize((width, height), Image.Resampling.BICUBIC if form.resize == "smooth" else Image.Resampling.NEAREST)
    if image.mode == "RGBA" or image.size != (form.size, form.size):
        canvas = Image.new("RGB", (form.size, form.size), form.background)
        place = ((form.size - width) // 2, (form.size - height) // 2)
        canvas.paste(image.convert("RGB"), place, image.getchannel("A") if image.mode == "RGBA" else None)
        image = canvas
    return image.convert("RGB" if form.colour else "L")


def _reduce(image: Image.Image, form: Form) -> None:
    """Have a JPEG decoded smaller than it is: as good for a picture this small, and many times faster."""
    edge = min(image.size) if form.crop == "centre" else max(image.size)
    scale = MARGIN * form.size / edge
    image.draft(None, (round(image.width * scale) or 1, round(image.height * scale) or 1))


def _is_animated(image: Image.Image) -> bool:
    if image.format in STILL:
        return False
    try:
        return getattr(image, "n_frames", 1) > 1
    except Exception:  # frames after the first are not wanted, so what is wrong with them is no matter
        return False


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF: the picture itself is there
        return image


def _plain(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as 8-bit L, RGB or RGBA."""
    if image.mode == "F":
        return _float(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise BadPictureError("too deep: grey of more than 16 bits, whose black and white are not known")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            return cast(Image.Image, ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"))
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB")
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    try:
        return image.convert("RGBA" if image.has_transparency_data else "L" if image.mode == "1" else "RGB")
    except ValueError:
        raise BadPictureError(f"colours that are not read: {image.mode}") from None


def _float(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):  # also refuses NaN
        raise BadPictureError("too deep: floating-point pixels beyond 0 to 1, whose black and white are not known")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _reason(error: Exception) -> str:
    """Return why Pillow failed, in words that do not depend on its version or on the run."""
    said = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "no picture, or its first bytes are damaged"
    if "decompressed data too large" in said or "text chunks" in said:
        return "decompression bomb: its text grows beyond measure"
    if isinstance(error, MemoryError):
        return "too large: more memory than there is"
    return "cut short" if "truncated" in said or "unrecognized data stream" in said else "damaged"
