"""A request to stop, honoured as soon as it may be, and the time at which everything stops."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from typedloops._core import StopFlag
from typedloops.loops.run.interrupt import EvaluationLeft


def _at_once() -> bool:
    return True


class StopRequest:
    """What ends an epoch early.

    Args:
        flag: What the loops that train look at after each batch.
    """

    def __init__(self, flag: StopFlag) -> None:
        self.flag: StopFlag = flag
        self.leave: StopFlag = StopFlag()
        """What the loops that evaluate look at after each batch: only an interrupt ends them."""
        self.requested: bool = False
        self.time_is_up: bool = False
        self._may_stop: Callable[[], bool] = _at_once
        self._deadline: float | None = None
        self._began: float = monotonic()

    def begin(self, may_stop: Callable[[], bool], seconds: float | None) -> None:
        """A fit begins.

        Args:
            may_stop: Whether a request may be honoured already.
            seconds: How long the fit may take, or None.
        """
        self._may_stop = may_stop
        self._began = monotonic()
        self._deadline = None if seconds is None else self._began + seconds
        self.apply()

    @property
    def elapsed(self) -> float:
        """How many seconds the fit has taken, in earlier processes too."""
        return monotonic() - self._began

    def took(self, seconds: float) -> None:
        """An earlier process has taken so long for the fit already."""
        self._began -= seconds
        if self._deadline is not None:
            self._deadline -= seconds
        self.apply()

    def end(self) -> None:
        """The fit is over: the next one is not stopped by what this one was asked."""
        self.requested = self.time_is_up = self.leave.requested = False
        self.begin(_at_once, None)

    def request(self, stop: bool) -> None:
        """Ask for a stop, or take that back."""
        self.requested = stop
        self.apply()

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the fit."""
        return self.leave.requested

    def interrupt(self) -> None:
        """End the fit after the batch under way, whether or not its minimums are met."""
        self.leave.requested = self.flag.requested = True

    def check_left(self) -> None:
        """Leave an evaluation that was interrupted.

        Raises:
            EvaluationLeft: It was.
        """
        if self.interrupted:
            raise EvaluationLeft

    def apply(self) -> None:
        """Stop if it is time to; called whenever that may have changed."""
        if self._deadline is not None and monotonic() >= self._deadline:
            self.time_is_up = True
        self.flag.requested = self.time_is_up or (self.requested and self._may_stop())
        if self.interrupted:  # looked at last: a signal may come at any time
            self.flag.requested = True
