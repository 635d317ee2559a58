"""How long something goes on: counts with their unit, and times."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from typing_extensions import Self, TypeVar

from typedloops.errors import ConfigurationError

T = TypeVar("T")

ROUNDING = 1e-9
"""0.29 of 100 batches are 29, which the product of the two floats just misses."""


def share_of(batches: int, share: float) -> int:
    """How many whole batches are in a share of so many."""
    return math.floor(batches * share + ROUNDING)


class Unit(StrEnum):
    """What a count counts."""

    EPOCHS = "ep"
    BATCHES = "ba"
    STEPS = "st"

    @property
    def things(self) -> str:
        """What to call so many of them."""
        return {Unit.EPOCHS: "epochs", Unit.BATCHES: "batches", Unit.STEPS: "optimizer steps"}[self]


@dataclass(frozen=True)
class Duration:
    """A count that says what it counts; `str` writes it as settings take it, `10ep` say.

    Args:
        count: How many, from 0.
        unit: Of what.

    Raises:
        ConfigurationError: The count is none.
    """

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        count: object = self.count
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ConfigurationError("Duration", f"{count!r} is no count", "Give an int from 0.")
        object.__setattr__(self, "unit", Unit(self.unit))  # for callers who check no types: 'ep' is one, too

    @classmethod
    def epochs(cls, count: int) -> Self:
        return cls(count, Unit.EPOCHS)

    @classmethod
    def batches(cls, count: int) -> Self:
        return cls(count, Unit.BATCHES)

    @classmethod
    def steps(cls, count: int) -> Self:
        return cls(count, Unit.STEPS)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `10ep`, `1000ba` or `500st` says, or None."""
        found = re.fullmatch(r"(\d+)(ep|ba|st)", text)
        return None if found is None else cls(int(found[1]), Unit(found[2]))

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


Count: TypeAlias = int | str | Duration
"""A number of what a setting counts, or that with its unit: `10`, `"10ep"`, `Duration.epochs(10)`."""

Time: TypeAlias = timedelta | str
"""A `timedelta`, or `"DD:HH:MM:SS"`."""


def counted(where: str, value: T | str | Duration, unit: Unit) -> T | int:
    """The count in a duration of this unit; what is no duration is left as it is, for its own check.

    Args:
        where: The setting.
        value: What it was given.
        unit: What it counts.

    Raises:
        ConfigurationError: It is a duration in another unit, or a string that is none.
    """
    remedy = f"Give an int, or a string as in '10{unit}'."
    if isinstance(value, timedelta) or (isinstance(value, str) and time_in(value) is not None):
        raise ConfigurationError(where, f"{value!s} is a time, and {where} counts {unit.things}", remedy)
    duration = Duration.parse(value) if isinstance(value, str) else value
    if duration is None and value is not None:
        raise ConfigurationError(where, f"{value!r} is no number of {unit.things}", remedy)
    if not isinstance(duration, Duration):
        return duration  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
    if duration.unit is not unit:
        raise ConfigurationError(where, f"{duration} counts {duration.unit.things}, and {where} {unit.things}", remedy)
    return duration.count


def time_in(text: str) -> timedelta | None:
    """What `DD:HH:MM:SS` says, or None."""
    if re.fullmatch(r"\d+:\d+:\d+:\d+", text) is None:
        return None
    days, hours, minutes, seconds = map(int, text.split(":"))
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def seconds_of(max_time: object, where: str = "max_time") -> float | None:
    """How many seconds a time has; None is no limit.

    Raises:
        ConfigurationError: It is none, or none that ends.
    """
    if max_time is None:
        return None
    remedy = "Give a timedelta, or a string as in '00:12:30:00', which is 12 hours and a half."
    counts = Duration.parse(max_time) if isinstance(max_time, str) else max_time
    if isinstance(counts, Duration):
        raise ConfigurationError(where, f"{counts} counts {counts.unit.things}, and {where} is a time", remedy)
    time = time_in(max_time) if isinstance(max_time, str) else max_time
    if not isinstance(time, timedelta):
        raise ConfigurationError(where, f"{max_time!r} is no duration", remedy)
    if time <= timedelta(0):
        raise ConfigurationError(where, f"{time} is no time at all", remedy)
    return time.total_seconds()
