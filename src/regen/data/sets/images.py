"""Anyone's images: a folder where it lies, an archive, an address, or a data set of torchvision.

The stage `download` writes an index of the pictures with the SHA-256 of each; the stage `prepare` reads each where it is, refuses
one that has changed, and writes pixels of one size (`regen.data.images`). The pictures are neither copied nor extracted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from regen import paths
from regen.blocks import DatasetConfig
from regen.data.download import pinned
from regen.data.download.mirrors import File, Url
from regen.data.images import index, preparation, rijksmuseum, wesnoth
from regen.data.images.decoding import Form
from regen.data.images.preparation import Division, Order
from regen.data.images.sources import Archive, Folder, Source
from regen.host import cores

HERE = ("http://127.0.0.1:", "http://localhost:")  # a server on this machine
FETCHED = ("rijksmuseum", "wesnoth")  # sources that are fetched into a folder of images, with a table of their rights


class Config(DatasetConfig):
    """The block of params.yaml of anyone's images."""

    source: Literal["folder", "archive", "url", "torchvision", "rijksmuseum", "wesnoth"]
    path: str = ""  # folder, archive, https address, or torchvision's name (CIFAR10, FakeData); the others need none
    sha256: str = ""  # url: of the archive
    examples: NonNegativeInt = 0  # only so many files of all, drawn at random; 0 = all
    size: int = Field(64, ge=8, le=1024)  # pixels a side
    crop: Literal["centre", "pad"] = "centre"  # the largest square | the whole picture on the background
    resize: Literal["smooth", "nearest"] = "smooth"  # bicubic and antialiased | pixel art
    colour: bool = True  # false: grey
    background: str = "#ffffff"  # behind transparent pixels and around padded pictures
    test_fraction: float = Field(0.1, ge=0, lt=1)  # share that no model sees; 0 = the folders train/ and test/ of the source
    group: str = ""  # whole groups are held out: parent (the folder of a file), or a regular expression with one group
    labels: Literal["auto", "none", "folders", "csv"] = "auto"  # auto: labels.csv, else several sub-folders
    near_duplicates: Literal["listed", "together"] = "listed"  # together: kept on one side of the split, as copies always are
    on_bad: Literal["skip", "error"] = "skip"  # files that cannot be used: left out and listed, or refused

    @field_validator("background")
    @classmethod
    def _colour(cls, background: str) -> str:
        if not re.fullmatch("#[0-9a-fA-F]{6}", background):
            raise ValueError("a colour like '#ffffff'")
        return background

    @field_validator("group")
    @classmethod
    def _rule(cls, group: str) -> str:
        try:
            if group in ("", "parent") or re.compile(group).groups == 1:
                return group
        except re.error:
            pass
        raise ValueError("'', 'parent', or a regular expression with one group in parentheses, such as '^([^/]+)/'")

    @model_validator(mode="after")
    def _place(self) -> Config:
        if bool(self.path) == (self.source in FETCHED):
            raise ValueError(f"{'no' if self.path else 'a'} path with source: {self.source}, got path {self.path!r}")
        if self.source == "url" and not self.path.startswith(("https://", *HERE)):
            raise ValueError(f"an address that begins with https:// with source: url, got path {self.path!r}")
        if self.source == "url" and "@" in urlsplit(self.path).netloc:  # and not repeated here: it would stand in a message, too
            raise ValueError("an address without user and password: params.yaml is committed, and anyone would read them")
        if (self.source == "url") != bool(re.fullmatch("[0-9a-f]{64}", self.sha256)) or (self.sha256 and self.source != "url"):
            raise ValueError(
                f"a sha256 of 64 hexadecimal digits with source: url (see sha256sum), else none; got {self.sha256!r}"
            )
        if self.group and not self.test_fraction:
            raise ValueError("a test_fraction above 0 with a group: 0 takes the split from the folders train/ and test/")
        return self


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the index of the pictures into `folder`, and what has to be fetched for it.

    Raises:
        UserError: there is no such source, it is damaged, or holds no pictures.
    """
    fetched = fetch(config, folder)
    source = opened(config, folder)
    threads = cores() if source.root else 1  # the files of a folder may be read in any order
    return fetched | index.write(folder, source.items(), config.path or config.source, threads)


def fetch(config: Config, folder: Path) -> dict[str, Any]:
    """Write what has to be fetched before it can be read into `folder`; return its provenance.

    Raises:
        UserError: it cannot be fetched.
    """
    if config.source == "url":
        return pinned.into(folder, [File(_archive(config), config.sha256, 0, (Url(config.path, unpacked=False),))])
    if config.source == "rijksmuseum":
        return {"rijksmuseum": rijksmuseum.harvest(folder, limit=config.examples or rijksmuseum.MOST)}
    return {"wesnoth": wesnoth.into(folder)} if config.source == "wesnoth" else {}


def prepare_into(config: Config, raw: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Write shards uint8 (N, size, size, channels), labels and images.csv into `folder`; return the description.

    Raises:
        UserError: a file has changed or is gone, too few pictures, wrong groups or labels.
    """
    together, strict = config.near_duplicates == "together", config.on_bad == "error"
    division = Division(config.test_fraction, config.group, config.labels, together, strict)
    form = Form(config.size, config.crop, config.resize, config.colour, config.background)
    where = f"params.yaml: datasets.{raw.name}"
    order = Order(raw, opened(config, raw), config.path or config.source, where, form, division, config.examples, seed)
    return preparation.prepare(order, paths.WORK / "prepare" / raw.name, folder)


def opened(config: Config, raw: Path) -> Source:
    """Return the files of a source, what is fetched of it being in `raw`.

    Raises:
        UserError: there is no such source, or it is damaged.
    """
    if config.source in FETCHED:
        return Folder(raw / "images", config.source)
    if config.source == "folder":
        return Folder(paths.located(config.path), config.path)
    if config.source == "archive":
        return Archive(paths.located(config.path), config.path)
    if config.source == "url":
        return Archive(raw / _archive(config), config.path)
    from regen.data.images.vision import Vision  # on demand: torchvision takes seconds

    return Vision(config.path, f"params.yaml: datasets.{raw.name.strip('.').removesuffix('.part')}.path")


def _archive(config: Config) -> str:
    """Return the name of a fetched archive: the address's own, without what may not stand in a name."""
    return "archive-" + re.sub(r"[^\w.-]", "_", urlsplit(config.path).path.rpartition("/")[2])
