"""When a fit is over: one pure policy over counters, limits and requests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a fit ended."""

    MAX_EPOCHS = "max_epochs"
    """As many epochs as asked for are done."""
    MAX_STEPS = "max_steps"
    """As many optimizer steps as asked for are taken."""
    MAX_TIME = "max_time"
    """The fit has taken as long as it may."""
    REQUESTED = "requested"
    """Something set `trainer.should_stop`."""
    INTERRUPTED = "interrupted"
    """Ctrl-C ended it."""
    LEFT = "left"
    """A method of the fit loop raised `StopIteration`."""
    NO_BATCHES = "no_batches"
    """The limit on training batches is 0: there was nothing to train on."""


@dataclass(frozen=True)
class FitLimits:
    """How far a fit goes; None is no limit.

    Args:
        max_epochs: Epochs, whole or left early.
        max_steps: Optimizer steps, over all optimizers.
        train_batches: Batches of one epoch, or None while that is not known.
        min_epochs: A request to stop waits for so many epochs.
        min_steps: A request to stop waits for so many steps.
    """

    max_epochs: int | None
    max_steps: int | None
    train_batches: int | None = None
    min_epochs: int = 0
    min_steps: int = 0

    def may_stop(self, position: FitPosition) -> bool:
        """Whether a request to stop is honoured at `position`."""
        return position.epochs >= self.min_epochs and position.steps >= self.min_steps


@dataclass(frozen=True)
class FitPosition:
    """How far a fit has come.

    Args:
        epochs: Epochs completed.
        steps: Optimizer steps taken.
        stop_requested: Whether somebody asked for a stop.
        time_is_up: Whether it has taken as long as it may.
        interrupted: Whether Ctrl-C ended it.
    """

    epochs: int
    steps: int
    stop_requested: bool = False
    time_is_up: bool = False
    interrupted: bool = False


def stop_reason(position: FitPosition, limits: FitLimits) -> StopReason | None:
    """Why to stop at `position`, or None to go on.  The first reason in this order counts:

    an interrupt, a request that may be honoured, the time, no batches, the steps, the epochs.
    """
    if position.interrupted:
        return StopReason.INTERRUPTED
    if position.stop_requested and limits.may_stop(position):
        return StopReason.REQUESTED
    if position.time_is_up:
        return StopReason.MAX_TIME
    if limits.train_batches == 0:
        return StopReason.NO_BATCHES
    if limits.max_steps is not None and position.steps >= limits.max_steps:
        return StopReason.MAX_STEPS
    if limits.max_epochs is not None and position.epochs >= limits.max_epochs:
        return StopReason.MAX_EPOCHS
    return None
