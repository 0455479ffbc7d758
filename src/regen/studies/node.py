"""What runs where a cell runs: its process, and on a node of a cluster what comes before and after it.

At its top it imports nothing that has to be installed: a node that lacks a package says which.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import regen

CELL = "regen.studies.cell"
LOG = "cell.log"
# Variables by which libraries choose how they compute: on a node those of the study's own machine. Ray sets OMP_NUM_THREADS.
COMPUTING = ("ATEN_", "BLIS_", "CUBLAS_", "DNNL_", "GOMP_", "MKL_", "NUMEXPR_", "OMP_", "ONEDNN_", "OPENBLAS_")


@dataclass(frozen=True)
class Parcel:
    """A file that cells read: its place in their folders, its SHA-256, and its bytes as objects of the cluster's store.

    In pieces, so that neither end holds more than one of them in memory.
    """

    name: str
    sha256: str
    pieces: tuple[Any, ...]


@dataclass(frozen=True)
class Order:
    """What a node is told of one cell.

    Attributes:
        model: its key in the cell's params.yaml.
        signature: of its training.
        auto: what `precision: auto` is where the study was started.
        computing: the variables `COMPUTING` there.
        versions: those of all packages that the cell imports there.
        code: `code()` there.
        source: the name of the folder that regen lies in there: signatures name files by it.
        files: what it reads.
    """

    model: str
    signature: str
    auto: str
    computing: Mapping[str, str]
    versions: Mapping[str, str]
    code: str
    source: str
    files: Sequence[Parcel]


@dataclass(frozen=True)
class Outcome:
    """Where a cell ran, why it failed (nothing if it did not), and the files that it left, by their place in its folder."""

    where: str
    said: str
    files: Mapping[str, bytes]


def process(
    folder: Path, start: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], source: Path, attended: bool
) -> str:
    """Train and evaluate in a cell's folder, which keeps the log, and wait; returns what was said last where it failed, else ''.

    `source` is the folder of the regen that does it.
    `attended`: the process ends when this one does, however that ends. On a cluster it would go on for nobody.
    """
    beside = str(Path(sys.executable).parent)
    given = {
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(source), environment.get("PYTHONPATH")])),
        "PATH": os.pathsep.join([beside, environment.get("PATH", os.defpath)]),
        "MLFLOW_TRACKING_URI": "",  # cells are not mirrored
    }
    command = [*start, "-m", CELL, str(folder.resolve()), *arguments, *(["--attended"] if attended else [])]
    with (folder / LOG).open("w", encoding="utf-8") as log:
        stdin = subprocess.PIPE if attended else None  # its end is this process's
        with subprocess.Popen(command, env=given, stdin=stdin, stdout=log, stderr=log) as running:
            code = running.wait()
    if not code:
        return ""
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines() or ["nothing was printed"]
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])


def run(order: Order, written: Mapping[str, bytes]) -> Outcome:
    """Train and evaluate one cell on this node, in a folder that is removed.

    Args:
        order: what it is and reads.
        written: files of its own: params.yaml, and a model that is trained already.
    """
    import ray

    where = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    if problem := unlike(order):
        return Outcome(where, problem, {})
    from regen.data.download import places
    from regen.errors import REASONS

    try:
        own = places.own()
        with tempfile.TemporaryDirectory(prefix="regen-cell-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            for name, content in written.items():
                _beside(folder / name).write_bytes(content)
            for file in order.files:
                _beside(folder / file.name).symlink_to(_cached(file, own))
            # Ray unpacks it into a folder whose name is a hash, and the signature of a training would be another.
            source = folder / ".code" / order.source
            shutil.copytree(Path(regen.__file__).parent, source / "regen")
            environment = {name: value for name, value in os.environ.items() if not name.startswith(COMPUTING)}
            arguments = [order.model, order.signature, "--auto", order.auto]
            said = process(folder, [sys.executable], arguments, {**environment, **order.computing}, source, True)
            return Outcome(where, said, _left(folder))
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or str(error))
        return Outcome(where, f"{error.filename or 'write failed'}: {reason}", {})


def unlike(order: Order) -> str:
    """Say in what this node differs from the machine where the study was started, so its bytes could be others; '' in nothing."""
    if code() != order.code:
        return f"it imports regen from {Path(regen.__file__).parent}, which is not what was sent; take that off its PYTHONPATH"
    found = {name: version(name) for name in order.versions}
    wrong = [name for name, wanted in order.versions.items() if found[name] != wanted]
    if not wrong:
        return ""
    said = ", ".join(f"{name} is {found[name] or 'missing'}" for name in wrong)
    return f"{said}; install there: pip install {' '.join(f'{name}=={order.versions[name]}' for name in wrong)}"


def code() -> str:
    """Return one SHA-256 of all code of the regen that is imported here."""
    folder, digest = Path(regen.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        digest.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def version(package: str) -> str:
    """Return the version of an installed package; '' where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cached(file: Parcel, own: Path) -> Path:
    """Return a file of this node's cache, beside its downloads, with the bytes of a parcel: from the store where it lacks them.

    It is read whole at each use: what is damaged is taken anew.
    """
    import ray
    from filelock import FileLock

    kept, part = own.parent / file.sha256, own / f"{file.sha256}.parcel"
    with FileLock(own / f"{file.sha256}.lock"):
        if not _holds(kept, file.sha256):
            with part.open("wb") as out:
                for piece in file.pieces:
                    out.write(ray.get(piece))
            if not _holds(part, file.sha256):
                raise OSError(0, "other bytes arrived than were sent; run again", file.name)
            os.replace(part, kept)
    return kept


def _holds(path: Path, sha256: str) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _left(folder: Path) -> dict[str, bytes]:
    """Read what a cell has left, but the state of a training that failed; what it was given to read are links."""
    names = ["models", "figures", "metrics", "trained", LOG]
    found = [path for name in names for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if not path.is_symlink()}


def _beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def forget(folder: Path) -> None:
    """Wait until the process that attends this one has ended; then remove the folder that nobody else will, and end."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
