"""Where logged values go."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import Protocol, runtime_checkable


@runtime_checkable
class Logger(Protocol):
    """Takes the metrics of a run.

    `log_metrics` is called with the mean or last value of each metric and the number
    of optimizer steps taken so far: after each training epoch, and after each
    evaluation.  `finalize` is called once, with `success` or `failed`.
    """

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...
    def finalize(self, status: str) -> None: ...
