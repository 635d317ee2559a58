"""What both cores say about counters that cannot be: the checks and their messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from typing_extensions import Protocol, TypeVar

from typedloops._core.shapes import is_mapping
from typedloops.errors import ConfigurationError, MissingCounterError, MisuseError, StateError


class Tracker(Protocol):
    """A tracker of either core."""

    fields: ClassVar[tuple[str, ...]]


T = TypeVar("T", bound=Tracker)

LARGEST_COUNT = 2**63 - 1


def checked_counters(where: str, fields: tuple[str, ...], values: object) -> dict[str, int]:
    """The counters of `fields`, each known, present and within 64 bits."""
    return {name: _count(f"{where}.{name}", value) for name, value in check_keys(where, fields, values).items()}


def _count(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_COUNT:
        raise StateError(where, f"{value!r} is not a count", "Give an int from 0 to 2**63 - 1.")
    return value


def check_keys(where: str, expected: tuple[str, ...], given: object) -> Mapping[str, object]:
    """`given`, once it is known to be a mapping with exactly the keys `expected`."""
    if not is_mapping(given):
        raise StateError(where, f"its state is a mapping, got {given!r}", "Load what `state_dict()` returned.")
    remedy = f"It has exactly {list(expected)}: was it saved by another class or version?"
    if unknown := sorted(map(str, given.keys() - set(expected))):
        raise StateError(where, f"the state has unknown keys {unknown}", remedy)
    if missing := sorted(set(expected) - given.keys()):
        raise StateError(where, f"the state lacks the keys {missing}", remedy)
    return {name: given[name] for name in expected}


def check_distinct(where: str, total: object, current: object) -> None:
    """Refuse one tracker in both places: everything would be counted twice."""
    if total is current:
        raise ConfigurationError(
            where, "`total` and `current` are one and the same tracker", "Give two trackers, or one of them alone."
        )


def total_and_current(where: str, tracker: type[T], state: Mapping[str, object]) -> tuple[T, T]:
    """Both trackers of a `Progress`, built from its state before anything is changed."""
    check_keys(where, ("total", "current"), state)
    return _tracker(f"{where}.total", tracker, state["total"]), _tracker(f"{where}.current", tracker, state["current"])


def _tracker(where: str, tracker: type[T], state: object) -> T:
    return tracker(*checked_counters(where, tracker.fields, state).values())


def without_last_batch(where: str, state: Mapping[str, object]) -> tuple[dict[str, object], bool]:
    """The state of a `BatchProgress`, parted into its trackers' and its flag."""
    check_keys(where, ("total", "current", "is_last_batch"), state)
    trackers = dict(state)
    is_last_batch = trackers.pop("is_last_batch")
    if not isinstance(is_last_batch, bool):
        raise StateError(f"{where}.is_last_batch", f"{is_last_batch!r} is not a bool", "Give True or False.")
    return trackers, is_last_batch


def mixed_trackers(where: str, total: object, current: object) -> MisuseError:
    return ConfigurationError(
        where,
        f"total is a {type(total).__name__} and current a {type(current).__name__}",
        "Give two trackers of one class: ReadyCompleted, Started or Processed.",
    )


def missing_counter(progress: object, tracker: object, counter: str) -> MisuseError:
    wanted = {"started": "Started or Processed", "processed": "Processed"}[counter]
    return MissingCounterError(
        type(progress).__name__,
        f"its {type(tracker).__name__} trackers have no `{counter}` counter",
        f"Build it from {wanted} trackers, or do not count `{counter}`.",
    )
