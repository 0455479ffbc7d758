"""The cells of a study on the nodes of a Ray cluster.

Ray places each cell, and begins it anew on another node where one is lost. The code goes there with Ray's runtime environment,
what cells read as objects of Ray's store, into each node's own cache by SHA-256; nothing is taken from a shared disk. What a cell
has made comes back whole, and is put where a cell of this machine leaves it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import regen
from regen import imports, paths
from regen.data import arrays, folders
from regen.errors import UserError
from regen.studies import cell as process
from regen.studies import node
from regen.studies.cells import Cell, alone, modules

PATIENCE = 15  # seconds for the cluster to answer
PAUSE = 2.0  # seconds after which is looked whether the cluster has grown
RETRIES = 5  # nodes that a cell may be lost with
PIECE = 32 << 20  # bytes of an object: what a node, and this machine, hold in memory of a file
SHARE = "REGEN_CELL_GPUS"
# Of a GPU: the models of studies are small, so several cells keep one card busy. Ray counts shares, and divides no memory.
CELL_GPUS = 0.25
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # how each HTTP/2, so each gRPC, begins
SETTINGS = 4  # the frame that answers it
INSTALL = "pip install ray"

Step = tuple[Cell, Iterator[str], str]


class Ray:
    """As many cells at a time as the nodes of a cluster have CPUs, and GPUs where it has any, for.

    Args:
        address: the head's, HOST:PORT. This machine has to be a node of the cluster, be it one without CPUs.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, steps: Callable[[Cell], Iterator[str]], cells: Sequence[Cell], threads: int) -> Iterator[Cell]:
        """Send each cell that has to run to the cluster; after a mistake no further one is begun, and what runs is waited for.

        Raises:
            UserError: no cluster there, or none that can run the cells; a cell failed.
        """
        waiting: list[Step] = []
        for cell in cells:
            course = steps(cell)
            if signature := next(course, None):
                waiting.append((cell, course, signature))
            else:
                yield cell
        if waiting:
            ray = _connected(self.address)
            try:
                yield from _Session(ray, self.address, waiting).run()
            finally:
                ray.shutdown()  # ends what still runs of this study


class _Session:
    """One study on a cluster that has been reached."""

    def __init__(self, ray: Any, address: str, waiting: list[Step]) -> None:
        self.ray, self.address, self.waiting = ray, address, waiting
        self.gpus = _share() if any(has.get("GPU") for has in self._nodes()) else 0.0
        for cell, _, signature in waiting:
            self._refuse(cell, signature)
        first = waiting[0][0]
        # Any of them: a study keeps its model's data set and classifier.
        self.files = [self._sent(name, path) for name, path in _read(first)]
        self.versions, self.code = _versions(first), node.code()
        self.computing = {name: value for name, value in os.environ.items() if name.startswith(node.COMPUTING)}
        self.auto = process.precision(first.params.model_copy(update={"precision": "auto"}))
        self.task = ray.remote(node.run)

    def run(self) -> Iterator[Cell]:
        """Yield each cell that has come back and is kept."""
        running: dict[Any, Step] = {}
        failure: Exception | None = None
        while self.waiting or running:
            while self.waiting and len(running) < self._room(self.waiting[0][0]):
                step = self.waiting.pop(0)
                running[self._submit(step[0], step[2])] = step
            done, _ = self.ray.wait(list(running), timeout=PAUSE)
            for reference in done:
                cell, course, _ = running.pop(reference)
                try:
                    self._receive(cell, reference)
                    for _ in course:  # keeps it
                        pass
                except (UserError, OSError) as error:
                    failure = failure or error
                    self.waiting.clear()
                else:
                    yield cell
        if failure:
            raise failure

    def _submit(self, cell: Cell, signature: str) -> Any:
        order = node.Order(
            cell.model, signature, self.auto, self.computing, self.versions, self.code, imports.SRC.name, self.files
        )
        own = [cell.work / paths.PARAMS]
        if process.trained(cell.work, signature):
            own += [cell.work / process.TRAINED, *(cell.work / paths.model(cell.model)).rglob("*")]
        written = {path.relative_to(cell.work).as_posix(): path.read_bytes() for path in own if path.is_file()}
        takes = {"num_cpus": cell.params.threads, "num_gpus": self.gpus, "max_retries": RETRIES, "name": cell.name}
        return self.task.options(**takes).remote(order, written)

    def _receive(self, cell: Cell, reference: Any) -> None:
        """Put what a cell has made, all or nothing, where it would have made it on this machine."""
        where = f"studies.{cell.study}: cell {cell.name}"
        try:
            outcome: node.Outcome = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            raise UserError(f"{where} was lost: {_line(error)}") from None
        if outcome.files:
            with folders.replacing(cell.work) as part:
                for name, content in outcome.files.items():
                    (part / name).parent.mkdir(parents=True, exist_ok=True)
                    (part / name).write_bytes(content)
        if outcome.said:
            see = f" (see {cell.work / node.LOG})" if outcome.files else ""
            raise UserError(f"{where} failed on node {outcome.where}: {outcome.said}{see}")

    def _nodes(self) -> list[dict[str, float]]:
        """Return what each node has that is alive: CPU, GPU, ..."""
        return [found["Resources"] for found in self.ray.nodes() if found["Alive"]]

    def _room(self, cell: Cell) -> int:
        """Return how many such cells the cluster holds now; what is sent beyond that could not be called back after a mistake."""
        cpus, gpus = cell.params.threads, self.gpus
        each = [min(has.get("CPU", 0) // cpus, has.get("GPU", 0) // gpus if gpus else sys.maxsize) for has in self._nodes()]
        return max(1, int(sum(each)))  # none, as the last node was lost: Ray waits for another

    def _refuse(self, cell: Cell, signature: str) -> None:
        """Refuse a cell that Ray would wait with for ever, and one of several processes.

        These would have to be gathered on one node, with a port of their own there; cells side by side are faster anyway.
        """
        where = f"studies.{cell.study}: cell {cell.name}"
        if not alone(cell, signature):
            raise UserError(f"{where}: launcher: {cell.params.launcher}: on a cluster a cell is one process; "
                            "set `launcher: python`, or unset RAY_ADDRESS")  # fmt: skip
        takes = {"CPU": float(cell.params.threads), "GPU": self.gpus}
        nodes = self._nodes()
        if not any(all(has.get(name, 0) >= amount for name, amount in takes.items()) for has in nodes):
            said = " and ".join(f"{amount:g} {name}s" for name, amount in takes.items() if amount)
            most = " and ".join(f"{max(has.get(name, 0) for has in nodes):g} {name}s" for name, amount in takes.items() if amount)
            raise UserError(f"{where} takes {said} (threads in params.yaml{f', {SHARE}' if self.gpus else ''}), and no node of "
                            f"{self.address} has as many: the largest has {most}")  # fmt: skip

    def _sent(self, name: str, path: Path) -> node.Parcel:
        """Put a file into the store."""
        digest, pieces = hashlib.sha256(), []
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                pieces.append(self.ray.put(piece))
        return node.Parcel(name, digest.hexdigest(), tuple(pieces))


def _connected(address: str) -> Any:
    """Return Ray, connected to the cluster at an address.

    Raises:
        UserError: it cannot be; says why.
    """
    where = f"RAY_ADDRESS: {address}"
    _answers(address, where)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to others of a user's run
    try:
        import ray  # on demand: few have it
    except ImportError:
        raise UserError(f"RAY_ADDRESS is set, and Ray is not installed here; {INSTALL}, or unset RAY_ADDRESS") from None
    source = Path(regen.__file__).parent
    environment = {"py_modules": [str(source)], "excludes": ["__pycache__", "*.pyc"]}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        joining = f"; make this machine a node of it: `ray start --address {address}`" if "node info" in str(error) else ""
        raise UserError(f"{where}: {_line(error)}{joining}") from None
    return ray


def _answers(address: str, where: str) -> None:
    """Refuse an address where no cluster answers: Ray itself would try for minutes.

    Raises:
        UserError: so it is, or it is none.
    """
    found = re.fullmatch(r"\[?([^\s/\[\]]+)\]?:(\d{1,5})", address)
    if not found:
        raise UserError(f"{where}: expected HOST:PORT of the cluster's head, as `ray start --head` prints it for other nodes")
    advice = "start it with `ray start --head`, or unset RAY_ADDRESS"
    try:
        with socket.create_connection((found[1], int(found[2])), timeout=PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return  # nothing is said before its certificates are exchanged
            connection.sendall(HELLO)
            frame = connection.recv(9)
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: no name of a host
        raise UserError(f"{where}: no Ray cluster answers there ({error}); {advice}") from None
    if len(frame) < 4 or frame[3] != SETTINGS:
        raise UserError(f"{where}: what answers there is no Ray cluster; {advice}")


def _share() -> float:
    """Return how much of a GPU a cell takes.

    Raises:
        UserError: REGEN_CELL_GPUS is no such number.
    """
    given = os.environ.get(SHARE) or str(CELL_GPUS)
    try:
        value = float(given)
        if 0 < value <= 1 or (value > 1 and value.is_integer()):
            return value
    except ValueError:
        pass
    raise UserError(f"{SHARE}: {given!r}: expected how much of a GPU a cell takes: 0.25 for four cells a card, or 1, 2, ...")


def _read(cell: Cell) -> Iterator[tuple[str, Path]]:
    """Yield all files that a cell reads, by their place in its folder.

    Of a data set that leaves its file where it is, the file as well, if it lies in the repository. Elsewhere it is the user's
    own, of any size: each node has to have it at the same place.
    """
    for folder in cell.reads:
        yield from ((path.as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file())
    source = (arrays.statistics(cell.reads[0]).get("file") or {}).get("path", "/")
    if not Path(source).is_absolute() and ".." not in Path(source).parts and (path := paths.located(source)).is_file():
        yield Path(source).as_posix(), path


def _versions(cell: Cell) -> dict[str, str]:
    """Return the versions here of all packages that a cell imports."""
    found = [name for part in modules(cell) for name in part]
    names = imports.packages(imports.needed([imports.file(node.CELL), *map(imports.file, found)]))
    return {name: said for name in names if (said := node.version(name))}


def _line(error: Exception) -> str:
    """Return what matters of Ray's message, which may have a page: of a traceback the last line, else how it begins."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip() if "Traceback" in str(error) else textwrap.shorten(" ".join(lines), 300)
