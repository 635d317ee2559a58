"""When a stage of training has come far enough, by its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from typing_extensions import Protocol

from typedloops.errors import ConfigurationError


class StageRule(Protocol):
    """Says after each epoch whether a stage is over; any function of this shape will do."""

    def __call__(self, history: Sequence[Mapping[str, float]], /) -> bool:
        """Whether to end the stage.

        Args:
            history: The metrics after each epoch of the stage, the last one's last.
        """
        ...


@dataclass(frozen=True)
class MetricReached:
    """Ends a stage when a metric is good enough.

    Args:
        metric: Its name.
        value: What is good enough.
        mode: `max` where more is better, `min` where less is.
    """

    metric: str
    value: float
    mode: Literal["min", "max"]

    def __post_init__(self) -> None:
        check_mode(type(self).__name__, self.mode)

    def __call__(self, history: Sequence[Mapping[str, float]]) -> bool:
        latest = value_of(type(self).__name__, self.metric, history[-1])
        return latest >= self.value if self.mode == "max" else latest <= self.value


@dataclass(frozen=True)
class MetricPlateau:
    """Ends a stage when a metric has not become better for some epochs.

    Args:
        metric: Its name.
        mode: `max` where more is better, `min` where less is.
        patience: For how many epochs it may be no better than before.
        min_delta: By how much it must be better to be so at all.
    """

    metric: str
    mode: Literal["min", "max"]
    patience: int = 3
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        check_mode(type(self).__name__, self.mode)
        if self.patience < 1:
            raise ConfigurationError("MetricPlateau.patience", f"it is {self.patience}", "Give a number of epochs.")

    def __call__(self, history: Sequence[Mapping[str, float]]) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        best, since = float("-inf"), 0
        for metrics in history:
            value = sign * value_of(type(self).__name__, self.metric, metrics)
            best, since = (value, 0) if value > best + self.min_delta else (best, since + 1)
        return since >= self.patience


def value_of(rule: str, metric: str, metrics: Mapping[str, float]) -> float:
    """The value of a metric.

    Raises:
        ConfigurationError: There is none of this name.
    """
    if metric not in metrics:
        raise ConfigurationError(
            f"{rule}.metric",
            f"there is no metric {metric!r} after the epoch; there are {sorted(metrics)}",
            "Name one of these, or give the stage loaders to validate on.",
        )
    return metrics[metric]


def check_mode(rule: str, mode: str) -> None:
    """Raise `ConfigurationError` for a mode that is none."""
    if mode not in ("min", "max"):
        raise ConfigurationError(f"{rule}.mode", f"it is {mode!r}", "Give 'min' or 'max'.")
