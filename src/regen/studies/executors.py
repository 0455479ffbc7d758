"""Who runs the cells of a study: the cores of this machine.

An executor calls one function for each cell. The function is a module's own and its argument can be pickled, so that an executor
on other machines may send both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol, TypeVar

from regen.host import cores

T = TypeVar("T")


class Executor(Protocol):
    """Runs the cells of a study."""

    def run(self, work: Callable[[T], None], cells: Sequence[T], threads: int) -> Iterator[T]:
        """Call `work` for each cell, some at the same time, and yield each cell that is done; a failure of one is raised.

        Args:
            work: starts a process and waits for it.
            cells: what it is called with.
            threads: that one cell keeps busy.
        """
        ...


class Local:
    """As many cells at a time as this machine's cores allow."""

    def run(self, work: Callable[[T], None], cells: Sequence[T], threads: int) -> Iterator[T]:
        """Call `work` for each cell in a thread; after a mistake or Ctrl-C no further cell is begun."""
        with ThreadPoolExecutor(max(1, cores() // threads)) as pool:
            try:
                futures = {pool.submit(work, cell): cell for cell in cells}
                for done in as_completed(futures):
                    done.result()
                    yield futures[done]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
