"""Predictions that a writer takes in place of a list."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from typing_extensions import Never

from typedloops._core.escape import call, name_of
from typedloops.errors import HookError
from typedloops.loops.run.opening import noted_on
from typedloops.protocols.writer import PredictionWriter

SHAPE = "`def write(self, prediction, batch, batch_idx, dataloader_idx)`"


@dataclass(frozen=True)
class WrittenPredictions:
    """What a prediction returns whose predictions a writer has.

    Args:
        dataloaders: How many predictions there are of each loader, one for each batch.
    """

    dataloaders: tuple[int, ...] = ()

    @property
    def batches(self) -> int:
        """How many predictions there are in all."""
        return sum(self.dataloaders)


class Taker:
    """Gives the predictions of one loader to a writer.

    Args:
        write: The writer's method.
        dataloader_idx: Which loader they are of.
    """

    def __init__(self, write: Callable[[object, object, int, int], object], dataloader_idx: int) -> None:
        self.__wrapped__: Callable[[object, object, int, int], object] = write
        self.count: int = 0
        self._dataloader_idx = dataloader_idx

    def __call__(self, prediction: object, batch: object, batch_idx: int) -> None:
        self.__wrapped__(prediction, batch, batch_idx, self._dataloader_idx)
        self.count += 1


class Writing:
    """A writer during a run.

    Args:
        writer: It.

    Raises:
        HookError: It cannot be written to.
    """

    def __init__(self, writer: PredictionWriter[Never, Never]) -> None:
        check_writer(writer)
        self._writer: object = writer
        self._write: Callable[[object, object, int, int], object] = writer.write  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        self._takers: list[Taker] = []
        self._is_open = False

    def open(self) -> None:
        """Enter the writer if it is a context manager."""
        if isinstance(self._writer, AbstractContextManager):
            call(self._writer.__enter__)
        self._is_open = True

    def taker(self, dataloader_idx: int) -> Taker:
        """What takes the predictions of a loader."""
        taker = Taker(self._write, dataloader_idx)
        self._takers.append(taker)
        return taker

    def close(self, failure: BaseException | None = None) -> None:
        """Leave or close the writer, if it was opened; of a failure, its own error is a note.

        Args:
            failure: What ended the run, or None.
        """
        if not self._is_open:
            return
        self._is_open = False
        writer = self._writer
        close: object = getattr(writer, "close", None)
        with noted_on(failure, "the end of the writer"):
            if isinstance(writer, AbstractContextManager):
                traceback = None if failure is None else failure.__traceback__
                call(writer.__exit__, None if failure is None else type(failure), failure, traceback)
            elif callable(close):
                call(close)

    @property
    def result(self) -> WrittenPredictions:
        """How many predictions were written."""
        return WrittenPredictions(tuple(taker.count for taker in self._takers))


def check_writer(writer: object) -> None:
    """Raise unless predictions can be written to `writer`.

    Raises:
        HookError: It is a class, or has no `write` that can be called as it is.
    """
    kind = type(writer).__name__
    if isinstance(writer, type):
        raise HookError(f"writer: {writer.__name__}", "it is a class", f"Give an instance: {writer.__name__}(...).")
    write: object = getattr(writer, "write", None)
    if not callable(write):
        raise HookError(f"writer: a {kind}", "it has no method `write`", f"Define {SHAPE}, or leave `writer` out.")
    try:
        inspect.signature(write).bind("prediction", "batch", "batch_idx", "dataloader_idx")
    except TypeError as mismatch:
        raise HookError(name_of(write), f"it cannot be called as a writer is: {mismatch}", f"Define {SHAPE}.") from None
    except ValueError:  # written in C: it cannot be asked
        return
