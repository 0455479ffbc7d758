"""Pictures of any revision: from the workspace, DVC's cache or a DVC remote, each read once, by its MD5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regen import paths
from regen.commands.revisions import Revision
from regen.errors import shown
from regen.tracking.lineage import directory_md5, file_md5


class Gallery:
    """Pictures in `figures/<key>`, as DVC knows them.

    DVC's file system of a revision asks the cache first, then the remote, and says each file's hash without reading it.

    Attributes:
        problems: why a remote could not be asked, such as rights that lack, a line each.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._systems: dict[str, Any] = {}
        self._places: dict[str, tuple[Revision, str]] = {}  # where the picture of an MD5 was seen

    def folder(self, at: Revision, key: str) -> str | None:
        """Return DVC's hash of all pictures of one model; None where it has none."""
        folder = paths.figures(key)
        if not at.commit:
            return directory_md5(folder) if folder.is_dir() else None
        try:
            return str(self._system(at).info(folder.as_posix())["md5"])
        except (FileNotFoundError, KeyError):
            return None

    def pictures(self, at: Revision, key: str) -> dict[str, str] | None:
        """Return the MD5 of each picture by its name without `.png`; None where neither cache nor remote can list them."""
        folder = paths.figures(key)
        if not at.commit:
            found = {path.stem: (file_md5(path), str(path)) for path in sorted(folder.glob("*.png"))}
        else:
            try:
                listed = self._system(at).ls(folder.as_posix(), detail=True)
            except Exception as error:  # the libraries of each kind of remote have errors of their own
                self._failed(error)
                return None
            found = {Path(file["name"]).stem: (file["md5"], file["name"]) for file in listed if file["name"].endswith(".png")}
        for md5, place in found.values():
            self._places.setdefault(md5, (at, place))
        return {name: md5 for name, (md5, _) in found.items()}

    def read(self, md5: str) -> bytes | None:
        """Return the bytes of a picture that was listed; None where neither cache nor remote has them."""
        at, place = self._places[md5]
        try:
            if not at.commit:
                return Path(place).read_bytes()
            content: bytes = self._system(at).cat_file(place)
        except Exception as error:  # see above
            self._failed(error)
            return None
        return content

    def _failed(self, error: Exception) -> None:
        """Note a failure that is not merely a file that nobody has."""
        line = shown(f"{type(error).__name__}: {error}")[:200]
        if not isinstance(error, FileNotFoundError) and line not in self.problems:
            self.problems.append(line)

    def _system(self, at: Revision) -> Any:
        if at.commit not in self._systems:
            from dvc.api import DVCFileSystem

            self._systems[at.commit] = DVCFileSystem(rev=at.commit)
        return self._systems[at.commit]
