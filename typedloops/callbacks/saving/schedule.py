"""When a checkpoint is due."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic


class Schedule:
    """Every so many optimizer steps, every so many epochs, every so much time.

    Args:
        steps: Of how many optimizer steps each; None is not by steps.
        epochs: Of how many epochs each, likewise.
        seconds: Of how much time each, likewise.
    """

    def __init__(self, steps: int | None, epochs: int | None, seconds: float | None) -> None:
        self._steps = steps
        self._epochs = epochs
        self._seconds = seconds
        self._steps_seen = 0
        self._waited = 0.0
        self._began: float | None = None

    @property
    def looks_at_batches(self) -> bool:
        """Whether anything can become due at the end of a batch."""
        return self._steps is not None or self._seconds is not None

    def begin_at(self, step: int) -> None:
        """A run begins after so many steps, without a state of this."""
        self._steps_seen = step
        self._waited = 0.0

    def start_clock(self) -> None:
        """Training begins, or goes on."""
        self._began = monotonic() - self._waited

    def stop_clock(self) -> None:
        """Training ends, or is left."""
        self._waited, self._began = self._seconds_waited(), None

    def due_after_batch(self, step: int) -> bool:
        """Whether one is due after a batch; asked once.

        Args:
            step: How many optimizer steps there were: a batch may have had none, or several.
        """
        seen, self._steps_seen = self._steps_seen, step
        by_steps = self._steps is not None and step // self._steps > seen // self._steps
        by_time = self._seconds is not None and self._seconds_waited() >= self._seconds
        if by_time:
            self._waited, self._began = 0.0, monotonic()
        return by_steps or by_time

    def due_in_epoch(self, epoch: int) -> bool:
        """Whether one is due at the end of the epoch with this index."""
        return self._epochs is not None and (epoch + 1) % self._epochs == 0

    def _seconds_waited(self) -> float:
        return self._waited if self._began is None else monotonic() - self._began

    def state_dict(self) -> dict[str, object]:
        return {"steps_seen": self._steps_seen, "waited": 0.0 if self._seconds is None else self._seconds_waited()}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take back a state; ValueError, and nothing changed, for what is none."""
        steps_seen, waited = state["steps_seen"], state["waited"]
        if not isinstance(steps_seen, int) or not isinstance(waited, int | float):
            raise ValueError(f"{state!r} is no place in a schedule")
        self._steps_seen, self._waited, self._began = steps_seen, float(waited), None
