"""Reading ahead: what the next steps take is read in a thread of its own while the training computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """`read(step)` for any step, and at once for the steps that follow the one asked for last.

    Args:
        read: called in one thread, one step after the other. What it returns is a function of the step.
        steps: how many are read ahead, and held in memory.
    """

    def __init__(self, read: Callable[[int], T], steps: int) -> None:
        self.read, self.steps = read, steps
        self._thread = ThreadPoolExecutor(1, "reads ahead")
        self._waiting: dict[int, Future[T]] = {}

    def __call__(self, step: int) -> T:
        """Return `read(step)`; an error of it is raised here, at the step that it concerns."""
        wanted = self._waiting.pop(step, None) or self._thread.submit(self.read, step)
        following = range(step + 1, step + 1 + self.steps)
        for other in [other for other in self._waiting if other not in following]:
            self._waiting.pop(other).cancel()
        for other in following:
            if other not in self._waiting:
                self._waiting[other] = self._thread.submit(self.read, other)
        return wanted.result()
