"""A folder of pictures, <brain>/<image>, packed as sections: one at a time, as large as they are, whoever made them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from regen.data.images import decoding, index
from regen.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
EXPECTED = "expected <brain>/<image>.png, jpg or tif in it"


def pack(folder: Path, file: h5py.File) -> None:
    """Write the pictures of a folder into an HDF5 file: upright, in 8 bits, colour as luminance (ITU-R 601), on white.

    What is hidden (`.ipynb_checkpoints`, `__MACOSX`) is no brain, and no picture.

    Raises:
        UserError: there is no such folder, it has no folders of pictures, or a picture is damaged, has several pages, lies
            elsewhere or shares its name with another.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {EXPECTED}")
    pictures = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES and not _hidden(path))
    if not pictures:
        raise UserError(f"{folder}: no pictures; {EXPECTED}")
    for path in pictures:
        shown = _checked(path, folder)
        name = f"{path.parent.name}/{path.stem}"
        if name in file:
            raise UserError(f"{shown}: two pictures of the name {path.stem} in {path.parent}; rename one")
        try:
            pixels = np.asarray(decoding.whole(path))
        except decoding.BadPictureError as error:
            raise UserError(f"{shown}: {error}; replace or remove it") from None
        file[name] = pixels


def _hidden(path: Path) -> bool:
    return index.hidden(path.parts[-2:])


def _checked(path: Path, folder: Path) -> str:
    """Return a picture's path as it may be shown, if its name can be kept and it lies in the folder."""
    brain, problem = index.written(path.parent.name)
    picture, other = index.written(path.name)
    shown = f"{folder}/{brain}/{picture}"
    if problem or other:
        raise UserError(f"{shown}: its {problem or other}; rename it")
    leads = Path(os.path.realpath(path))  # Path.resolve() raises on links in a circle
    if not leads.is_relative_to(folder.resolve()):
        raise UserError(f"{shown}: a link that leaves the folder, to {leads}; copy the picture here, or remove the link")
    if not path.is_file():
        raise UserError(f"{shown}: no file; remove it")
    return shown
