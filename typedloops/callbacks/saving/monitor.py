"""The metric that checkpoints are ranked by, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from typedloops.errors import ConfigurationError


class Monitor:
    """A metric, of which validations may or may not give a new value.

    A trainer knows only the newest value of each metric.  A value that a validation has changed
    comes from validations, and between them it says nothing new.

    Args:
        name: The metric.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.from_validation: bool = False
        self.validated: bool = False
        """Whether a validation has ended."""
        self._before: float | None = None

    def forget(self) -> None:
        """A run begins anew."""
        self.from_validation = self.validated = False
        self._before = None

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
        return {"from_validation": self.from_validation, "validated": self.validated, "before": self._before}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take back a state; ValueError, and nothing changed, for what is none."""
        from_validation, validated, before = state["from_validation"], state["validated"], state["before"]
        flags = isinstance(from_validation, bool) and isinstance(validated, bool)
        if not flags or not isinstance(before, int | float | None):
            raise ValueError(f"{state!r} is nothing known of a metric")
        self.from_validation, self.validated = bool(from_validation), bool(validated)
        self._before = None if before is None else float(before)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
