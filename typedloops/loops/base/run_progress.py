"""How far a run has come, to be shown."""

from __future__ import annotations

from typing import NamedTuple


class RunProgress(NamedTuple):
    """How far the present or last run of a loop has come.

    Args:
        completed: How many of its iterations are completed.
        total: How many there are to be; None where that is not known.
        unit: What an iteration is, in the plural.
    """

    completed: int
    total: int | None = None
    unit: str = "iterations"

    def __str__(self) -> str:
        total = "" if self.total is None else f"/{self.total}"
        return f"{self.completed}{total} {self.unit}"
