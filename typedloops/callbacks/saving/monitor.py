"""The metric that checkpoints are ranked by, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from typedloops.errors import ConfigurationError


class Monitor:
    """A metric, of which validations may or may not give a new value.

    A trainer knows only the newest value of each metric.  A value that a validation has changed
    comes from validations, and between them it says nothing new.  Neither does one that is still what it
    was at the end of the last epoch: what a step returns is a metric at the end of epochs alone.

    Args:
        name: The metric.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.from_validation: bool = False
        self.validated: bool = False
        """Whether a validation has ended."""
        self._before: float | None = None
        self._at_epoch_end: float | None = None

    def forget(self) -> None:
        """A run begins anew."""
        self.from_validation = self.validated = False
        self._before = self._at_epoch_end = None

    def is_new(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric, in the middle of an epoch, tells of the module as it is now."""
        now = metrics.get(self.name)
        stale = self._at_epoch_end is not None and now is not None and _same(now, self._at_epoch_end)
        return now is not None and not stale and not self.from_validation

    def epoch_ended(self, metrics: Mapping[str, float]) -> None:
        self._at_epoch_end = metrics.get(self.name)

    def validation_began(self, metrics: Mapping[str, float]) -> None:
        self._before = metrics.get(self.name)

    def validation_ended(self, metrics: Mapping[str, float]) -> None:
        self.validated = True
        after = metrics.get(self.name)
        if after is not None and (self._before is None or not _same(after, self._before)):
            self.from_validation = True
        self._before = None

    def missing(self, metrics: Mapping[str, float]) -> ConfigurationError:
        """The error for a metric that nobody gives."""
        return ConfigurationError(
            f"ModelCheckpoint(monitor={self.name!r})",
            f"there is no metric {self.name!r}; there are {sorted(metrics)}",
            "Monitor one of those, or log it in a step, in training_epoch_end or in a validation.",
        )

    def state_dict(self) -> dict[str, object]:
        return {
            "from_validation": self.from_validation,
            "validated": self.validated,
            "before": self._before,
            "at_epoch_end": self._at_epoch_end,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take back a state; ValueError, and nothing changed, for what is none."""
        from_validation, validated = state["from_validation"], state["validated"]
        before, at_epoch_end = state["before"], state["at_epoch_end"]
        if not isinstance(from_validation, bool) or not isinstance(validated, bool):
            raise ValueError(f"{state!r} is nothing known of a metric")
        if not isinstance(before, float | int | None) or not isinstance(at_epoch_end, float | int | None):
            raise ValueError(f"{state!r} is nothing known of a metric")
        self.from_validation, self.validated = from_validation, validated
        self._before, self._at_epoch_end = before, at_epoch_end


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
