"""Ctrl-C during a fit: the first ends it in good order, the second at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

logger: logging.Logger = logging.getLogger("typedloops")


class EvaluationLeft(KeyboardInterrupt):
    """An evaluation inside a fit that Ctrl-C ends; where nobody waits for it, it is what Ctrl-C always is."""


class Interrupt:
    """What `SIGINT` does during a fit.

    Args:
        stop: Ends the fit after the batch under way.
        before: The handler of the fit around this one, or None.
    """

    def __init__(self, stop: Callable[[], None], before: Interrupt | None) -> None:
        self._stop = stop
        self._before = before
        self._process = os.getpid()
        self._came = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.came:
            signal.default_int_handler(signum, frame)
        self.tell()
        if os.getpid() != self._process:  # a loader's worker that was forked: the batches under way are wanted still
            return
        # Whatever was being written when the signal came may refuse to be written to.
        with suppress(RuntimeError):
            logger.warning("interrupted: the fit ends after the batch under way; a second Ctrl-C ends it at once")

    @property
    def came(self) -> bool:
        """Whether this fit or one around it was interrupted already."""
        return self._came or (self._before is not None and self._before.came)

    def tell(self) -> None:
        """Stop this fit and those around it."""
        self._came = True
        self._stop()
        if self._before is not None:
            self._before.tell()


@contextmanager
def interruptible(stop: Callable[[], None]) -> Generator[None]:
    """Let the first `SIGINT` call `stop`, and the second raise KeyboardInterrupt.

    Only in the main thread, and where the handler is Python's own or that of a fit around this one:
    anybody else's is left in its place.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = isinstance(before, Interrupt)
    if threading.current_thread() is not threading.main_thread() or not (ours or before is signal.default_int_handler):
        yield
        return
    interrupt = Interrupt(stop, before if isinstance(before, Interrupt) else None)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)
