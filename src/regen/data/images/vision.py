"""torchvision's data sets by name, with its own downloads and checksums. Their images are read one by one, as from an archive."""

from __future__ import annotations

import csv
import inspect
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from PIL import Image

from regen import blocks
from regen.data.download import pinned
from regen.data.images.index import LABELS, Item
from regen.errors import UserError

SPLITS = ("train", "val", "valid", "test")  # values of a data set's `split` that are taken; others are no images of its own


class Vision:
    """The images of one of torchvision's data sets, in its order: `train/00000.ppm`, ..., and with labels a table of them.

    Classes, and attributes that are 0 or 1, become labels. The download is kept in regen's cache.

    Raises:
        UserError: there is no such data set, it needs arguments, or torchvision cannot fetch it.
    """

    root: Path | None = None

    def __init__(self, name: str, where: str) -> None:
        from torchvision import datasets  # on demand: it takes seconds

        names = [known for known in datasets.__all__ if inspect.isclass(getattr(datasets, known))]
        blocks.known(name, names, where, "data set of torchvision")
        self.name, self.folder = name, pinned.cache() / "torchvision"
        self.parts = list(self._parts(getattr(datasets, name)))

    def _parts(self, kind: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
        """Yield each split that the data set has, loaded; `all` where it has none."""
        parameters = inspect.signature(kind).parameters
        options = {"root": self.folder} | ({"download": True} if "download" in parameters else {})
        if "train" in parameters:
            splits: list[tuple[str, dict[str, Any]]] = [("train", {"train": True}), ("test", {"train": False})]
        elif "split" in parameters:
            splits = [(split, {"split": split}) for split in SPLITS]
        else:
            splits = [("all", {})]
        found = 0
        for split, chosen in splits:
            try:
                data = kind(**{key: value for key, value in (options | chosen).items() if key in parameters})
            except ValueError:  # it has no such split
                continue
            except Exception as error:  # the network, a checksum, or a library that this one data set needs
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(
                    f"torchvision's {self.name}: {reason}; check the network and run again, or put its files into {self.folder}"
                ) from None
            found += 1
            yield split, data
        if not found:
            raise UserError(f"torchvision's {self.name}: has neither train nor test; fetch it yourself and set source: folder")

    @property
    def classes(self) -> list[str]:
        """Names of its classes, where it tells them."""
        return list(getattr(self.parts[0][1], "classes", ()))

    def items(self) -> Iterator[Item]:
        """Yield all images, and behind them, where each was opened, the table of their labels as a file of that name."""
        labels = dict[str, list[object]]()
        for split, data in self.parts:
            for number in range(len(data)):
                name = f"{split}/{number:07d}.ppm"
                yield Item(name, 0, "", partial(self._image, data, number, name, labels))
        if table := self._table([[name, *values] for name, values in labels.items()]):
            yield Item(LABELS, len(table), "", partial(io.BytesIO, table))

    def _image(self, data: Any, number: int, name: str, labels: dict[str, list[object]]) -> IO[bytes]:
        image, target = data[number]
        labels[name] = _values(target)
        return _opened(image)

    def _table(self, labels: list[list[object]]) -> bytes:
        width = {len(row) for row in labels}
        if width == {1} or len(width) > 1:
            return b""
        if width == {2}:
            classes = self.classes
            labels = [[name, classes[n] if isinstance(n, int) and n < len(classes) else n] for name, n in labels]
        header = ["label"] if width == {2} else list(getattr(self.parts[0][1], "attr_names", ()))[: width.copy().pop() - 1]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["file", *header], *labels])
        return text.getvalue().encode()


def _opened(image: Any) -> IO[bytes]:
    """Return an image as the bytes of a PPM or PGM: its pixels as they are, the same whichever library wrote them."""
    if not isinstance(image, Image.Image):
        raise UserError(f"a data set of torchvision whose examples are no images ({type(image).__name__}); expected images")
    out = io.BytesIO()
    (image if image.mode in ("L", "RGB") else image.convert("RGB")).save(out, "PPM")
    out.seek(0)
    return out


def _values(target: Any) -> list[object]:
    """Return a class's number, or attributes; nothing for any other target."""
    values = target.tolist() if hasattr(target, "tolist") else target
    if isinstance(values, int | str):
        return [values]
    return list(values) if isinstance(values, list) and set(values) <= {0, 1} else []
