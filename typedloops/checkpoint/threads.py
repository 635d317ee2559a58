"""Work beside the work of the caller."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Final, Generic, TypeAlias

from typing_extensions import Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Queue: TypeAlias = SimpleQueue[tuple[T] | None]

THREADS: Final = min(4, os.cpu_count() or 1)


class Beside(Generic[T, R]):
    """Calls a function that cannot fail, in threads of its own, until the block ends.

    No pool: a pool takes no more work once the interpreter is ending, and what a run leaves to be
    written is written then.

    Args:
        function: What is called; it should let other threads run.
        threads: How many.
    """

    def __init__(self, function: Callable[[T], R], threads: int = 1) -> None:
        self.results: list[R] = []
        """What it gave, in any order; all of it is here when the block has ended."""
        self._function = function
        self._waiting: Queue[T] = SimpleQueue()
        self._count = threads
        self._threads: list[Thread] = []

    def put(self, value: T) -> None:
        """Have the function called with `value`."""
        if self._threads:
            self._waiting.put((value,))
        else:
            self.results.append(self._function(value))

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            self.results.append(self._function(item[0]))

    def __enter__(self) -> Self:
        for _ in range(self._count):
            thread = Thread(target=self._work, name="typedloops beside")
            try:
                thread.start()
            except RuntimeError:
                # Python 3.12 starts none once the main thread has ended; then the caller does the work.
                break
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
