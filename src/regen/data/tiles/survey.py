"""What an HDF5 file of sections holds: a group for each brain, in it a 2-D uint8 image for each section. Read from headers alone.

The file may be anybody's. All pixels have to lie in the file itself, whose SHA-256 says whether they are still the same, and
each under one name: a section under two might be trained on and tested on.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from regen.data.tiles.sections import CELL
from regen.errors import UserError

SHOWN = 20  # problems told
LONGEST = 255  # characters of a name
LARGEST = 1 << 38  # pixels of an image: 500,000 x 500,000
CHUNK = 1 << 28  # pixels of a chunk, which is in memory as a whole, in whole cells
PACKED = 1 << 22  # the same, compressed: a few MB of a file may unpack to a thousand times as many
DAMAGE = (KeyError, OSError, TypeError, ValueError, RuntimeError)  # what h5py raises of it
SAMPLE = 1 << 16  # values that are looked at for NaN


@dataclass(frozen=True)
class Section:
    """One image of a file."""

    brain: str
    key: str
    height: int
    width: int

    @property
    def name(self) -> str:
        """Its path in the file."""
        return f"{self.brain}/{self.key}"


def survey(file: h5py.File) -> list[Section]:
    """Return all sections, by brain and key.

    Raises:
        UserError: there are no groups, or something else than 2-D uint8 images with pixels in them: one line each.
    """
    try:
        return _surveyed(file)
    except DAMAGE as error:
        raise UserError(f"{file.filename}: damaged ({' '.join(str(error).split())}); copy it again") from None


def _surveyed(file: h5py.File) -> list[Section]:
    path, found, problems = file.filename, list[Section](), list[str]()
    seen: dict[Any, str] = {}  # objects by their place in the file
    brains = 0
    for brain, group in _members(file, "", problems):
        if isinstance(group, str):
            problems.append(f"{brain}: {group}")
        if not isinstance(group, h5py.Group):
            continue
        brains += 1
        if group.id in seen:
            problems.append(f"{brain!r}: is the brain {seen[group.id]!r} under another name; remove one of the two")
            continue
        seen[group.id] = brain
        if not len(group):
            problems.append(f"{brain}: no images in this brain")
        for key, item in _members(group, f"{brain}/", problems):
            problem = item if isinstance(item, str) else _problem(item)
            if not problem and item.id in seen:
                problem = f"the section {seen[item.id]} under another name; remove one of the two"
            if problem:
                problems.append(f"{brain}/{key}: expected a 2-D uint8 image, got {problem}")
            else:
                seen[item.id] = f"{brain}/{key}"
                found.append(Section(brain, key, *map(int, item.shape)))
    if not brains and not problems:
        raise UserError(f"{path}: no groups; expected one group a brain with its images in it")
    if problems:
        more = [f"{path}: ... and {len(problems) - SHOWN} more"] * (len(problems) > SHOWN)
        raise UserError("\n".join([f"{path}: {problem}" for problem in problems[:SHOWN]] + more))
    return found


def _members(group: h5py.Group, where: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield what a group holds by name, in order: an object, or in place of a link that is not followed what it is."""
    for raw in sorted(group.id):
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            problems.append(f"{where}a name that is not UTF-8, {raw!r}; rename it")
            continue
        if len(name) > LONGEST or any(unicodedata.category(sign) == "Cc" for sign in name):
            told = f"a name of {len(name)} characters, {name[:LONGEST]!r}"
            problems.append(f"{where}{told}; expected {LONGEST} at most, and no control characters")
            continue
        yield name, _target(group, name)


def _target(group: h5py.Group, name: str) -> Any:
    try:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return f"a link into another file ({link.filename}); copy what it leads to into this one"
        if isinstance(link, h5py.SoftLink):
            leads = "nowhere" if group.get(name) is None else f"to {link.path}"
            return f"a link that leads {leads}; put the images themselves there"
        return group[name]
    except DAMAGE as error:
        return f"what cannot be read ({' '.join(str(error).split())}); copy the file again"


def _problem(item: Any) -> str:
    """Say what is wrong with an image; nothing of it is read but, where its values are no bytes, a few of them."""
    if not isinstance(item, h5py.Dataset):
        return "a group" if isinstance(item, h5py.Group) else "a type"
    try:
        return _layout(item) or _shape(item) or _filters(item) or _values(item)
    except DAMAGE as error:
        return f"what cannot be read ({' '.join(str(error).split())})"


def _layout(item: h5py.Dataset) -> str:
    properties = item.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        return "a virtual one, whose pixels lie in other files; copy them into this one (h5repack)"
    if properties.get_external_count():
        name = properties.get_external(0)[0].decode(errors="backslashreplace")
        return f"one whose pixels lie in another file ({name}); copy them into this one (h5repack)"
    return ""


def _shape(item: h5py.Dataset) -> str:
    if item.shape is None or 0 in item.shape:
        return f"an empty one of shape {item.shape}"
    if item.ndim != 2:
        return f"{item.ndim} dimensions, shape {item.shape}"
    if item.shape[0] * item.shape[1] > LARGEST:
        return f"{item.shape[0]:,} x {item.shape[1]:,} pixels, more than {LARGEST:,}"
    if item.chunks and math.prod(-(-side // CELL) * CELL for side in item.chunks) > CHUNK:
        return f"chunks of {item.chunks[0]:,} x {item.chunks[1]:,} pixels, more than {CHUNK:,}; make them smaller (h5repack -l)"
    return ""


def _filters(item: h5py.Dataset) -> str:
    properties = item.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            return (f"one compressed by filter {code} ({name.decode(errors='backslashreplace')}), which is not installed here; "
                    "write it with gzip (h5repack -f GZIP=4)")  # fmt: skip
    return _stored(item) if properties.get_nfilters() else ""


def _stored(item: h5py.Dataset) -> str:
    """Say of compressed chunks which is too large to be one: HDF5 unpacks what is stored there, whatever it becomes."""
    pixels = math.prod(item.chunks)
    if pixels > PACKED:
        return f"compressed chunks of {pixels:,} pixels, more than {PACKED:,}; make them smaller (h5repack -l)"
    most = pixels * item.dtype.itemsize * 1001 // 1000 + 64  # what cannot be compressed is stored with a few bytes more
    sizes: list[int] = []
    item.id.chunk_iter(lambda chunk: sizes.append(int(chunk.size)))
    if max(sizes, default=0) > most:
        return f"a chunk of {max(sizes):,} bytes for {pixels:,} pixels, which is no image; write the file again"
    return ""


def _values(item: h5py.Dataset) -> str:
    if item.dtype == np.uint8:
        return ""
    nan = item.dtype.kind == "f" and bool(np.isnan(item[: max(1, SAMPLE // item.shape[1]), :SAMPLE]).any())
    return f"{item.dtype} values" + (", NaN among them" if nan else "")
