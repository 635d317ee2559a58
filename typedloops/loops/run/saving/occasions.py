"""Saving when something comes from outside: a signal, an exception."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import add_note
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.interrupt import EvaluationLeft
from typedloops.loops.run.saving.requests import SaveRequest
from typedloops.protocols.trainer import TrainerView

logger: logging.Logger = logging.getLogger("typedloops")

Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | None"

GOES_ON: Collection[int] = (signal.SIGUSR1, signal.SIGUSR2)
"""After these the run goes on; after any other it ends in good order, and the signal is delivered once more."""


@runtime_checkable
class SavesOnSignals(Protocol):
    """A callback that wants the run saved when a signal comes: `ModelCheckpoint`."""

    @property
    def save_on_signals(self) -> Collection[int]: ...
    def path_for_signal(self, trainer: TrainerView, signum: int, /) -> Path: ...


@runtime_checkable
class SavesOnException(Protocol):
    """A callback that wants the run saved when it ends with an exception."""

    @property
    def save_on_exception(self) -> bool: ...
    def path_for_exception(self, trainer: TrainerView, /) -> Path: ...


@contextmanager
def saving_on_signals(context: RunContext) -> Generator[None]:
    """Save at the next boundary when a signal comes that a callback waits for; only in the main thread.

    Afterwards every handler is the one that it was.
    """
    callbacks = [callback for callback in context.listeners.callbacks if isinstance(callback, SavesOnSignals)]
    signals = {signum for callback in callbacks for signum in callback.save_on_signals}
    if not signals or context.host is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    on_signal = OnSignal(context, callbacks, context.host)
    try:
        for signum in sorted(signals):
            on_signal.take_over(signum)
        yield
    finally:
        on_signal.give_back()


class OnSignal:
    """Handles signals during a run: asks for a save, which is made at the next boundary.

    Args:
        context: The run.
        callbacks: Those that say where to save.
        trainer: What they are told of.
    """

    def __init__(self, context: RunContext, callbacks: Iterable[SavesOnSignals], trainer: TrainerView) -> None:
        self._context = context
        self._callbacks = tuple(callbacks)
        self._trainer = trainer
        self._before: dict[int, Handler] = {}
        self._came: set[int] = set()
        self._process = os.getpid()

    def take_over(self, signum: int) -> None:
        """Handle this signal, too."""
        before = signal.getsignal(signum)
        if before is None:  # not set from Python: it could not be put back
            logger.warning("%s has a handler that is not of Python: it does not save", signal.Signals(signum).name)
            return
        self._before[signum] = before
        signal.signal(signum, self)

    def give_back(self) -> None:
        """Leave every signal to whom it belonged."""
        for signum, before in self._before.items():
            if signal.getsignal(signum) is self:
                signal.signal(signum, before)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process and signum in GOES_ON:
            return  # a loader's worker that was forked: it is not its business
        again = signum in self._came and signum not in GOES_ON
        if os.getpid() != self._process or again:  # a worker is to end; or this process is not to wait any longer
            self._let_through(signum, frame)
            return
        self._came.add(signum)
        self._context.requests.call(partial(self._save, signum))
        # Whatever was being written when the signal came may refuse to be written to.
        with suppress(RuntimeError):
            goes_on = "goes on" if signum in GOES_ON else "ends; a second one ends it at once"
            logger.warning(
                "%s: the run is saved after the batch under way, and %s", signal.Signals(signum).name, goes_on
            )
        before = self._before[signum]
        if signum in GOES_ON and callable(before):
            before(signum, frame)

    def _let_through(self, signum: int, frame: FrameType | None) -> None:
        """Let the signal do what it does without this handler; a second Ctrl-C is the one that ends a fit at once."""
        if signum == signal.SIGINT:
            signal.default_int_handler(signum, frame)
        signal.signal(signum, self._before[signum])
        signal.raise_signal(signum)

    def _save(self, signum: int, at: LoopNode | None, note: str) -> None:
        for callback in self._callbacks:
            if signum in callback.save_on_signals:
                self._context.saver.save(SaveRequest(callback.path_for_signal(self._trainer, signum)), at, note)
        if signum not in GOES_ON:
            self._context.stop.interrupt()
            self._context.requests.ended_by = signum


@contextmanager
def saved_when_it_fails(context: RunContext) -> Generator[None]:
    """Save the run as it is when an exception comes, before modes, metrics and times are put back."""
    try:
        yield
    except EvaluationLeft:
        raise
    except BaseException as error:
        try:
            context.saver.after_exception(error, paths_after_exception(context))
        except Exception as second:
            add_note(error, f"saving after it raised as well: {second!r}")
        raise


def paths_after_exception(context: RunContext) -> list[Path]:
    """Where callbacks want a run saved that ends with an exception; one that a signal ends is saved already."""
    if context.host is None or context.requests.ended_by is not None:
        return []
    return [
        callback.path_for_exception(context.host)
        for callback in context.listeners.callbacks
        if isinstance(callback, SavesOnException) and callback.save_on_exception
    ]
