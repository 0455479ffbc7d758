"""Who runs the cells of a study: the cores of this machine, or a cluster (`regen.studies.cluster`).

Which of them is no parameter: it decides no result, and so it must rerun nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Generic, Protocol, TypeVar

from regen.host import cores

T = TypeVar("T")


class Executor(Protocol[T]):
    """Runs the cells of a study."""

    def run(self, steps: Callable[[T], Iterator[str]], cells: Sequence[T], threads: int) -> Iterator[T]:
        """Bring each cell up to date, some at the same time, and yield each that is; a failure of one is raised.

        Args:
            steps: where a cell has to be trained and evaluated, yields the signature of its training when its folder is ready for
                that, and goes on when it is done.
            cells: what it is called with.
            threads: that one cell keeps busy.
        """
        ...


class Local(Generic[T]):
    """As many cells at a time as this machine's cores allow.

    Args:
        start: trains and evaluates a cell, given the signature of its training, in its folder, and waits for it.
    """

    def __init__(self, start: Callable[[T, str], None]) -> None:
        self.start = start

    def run(self, steps: Callable[[T], Iterator[str]], cells: Sequence[T], threads: int) -> Iterator[T]:
        """Begin each cell in a thread; after a mistake or Ctrl-C no further cell is begun."""

        def work(cell: T) -> None:
            for signature in steps(cell):
                self.start(cell, signature)

        with ThreadPoolExecutor(max(1, cores() // threads)) as pool:
            try:
                futures = {pool.submit(work, cell): cell for cell in cells}
                for done in as_completed(futures):
                    done.result()
                    yield futures[done]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
