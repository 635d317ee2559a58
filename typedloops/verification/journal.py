"""What can be seen of a run from outside: hooks in their order, batches, logged values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from typedloops.verification.values import Fingerprint, Mismatch, mismatch, same


@dataclass(frozen=True)
class Event:
    """A hook that was called.

    Args:
        hook: Its name.
        batch_idx: The index of its batch; None where it has none.
        loader: Which loader the batch is from.
        batch: What batch it was given; None where it is given none.
        metrics: What was logged by then.
    """

    hook: str
    batch_idx: int | None = None
    loader: int = 0
    batch: Fingerprint | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])

    def __str__(self) -> str:
        return self.hook if self.batch_idx is None else f"{self.hook} of batch {self.batch_idx}"

    @property
    def whereabouts(self) -> str:
        """Which batch of which loader."""
        phase = self.hook.removeprefix("on_").partition("_")[0]
        return f"{phase} batch {self.batch_idx}" + (f" of loader {self.loader}" if self.loader else "")


NOTHING = Event("nothing")


def first_difference(expected: Event, found: Event, seen: Sequence[Event] = ()) -> Mismatch | None:
    """What is not the same in two events that should be.

    Args:
        expected: The event of the uninterrupted run.
        found: That of the other.
        seen: All of the uninterrupted run, among which a batch is looked for.
    """
    if str(expected) != str(found) or expected.loader != found.loader:
        return Mismatch(f"hooks: {expected}", str(expected), str(found))
    if expected.batch is not None and found.batch is not None and expected.batch != found.batch:
        where = f"batch: {expected.whereabouts}"
        return Mismatch(where, expected.batch.text, found.batch.text + _found_as(found, seen))
    for name in dict.fromkeys((*expected.metrics, *found.metrics)):
        one, other = expected.metrics.get(name), found.metrics.get(name)
        if not same(one, other):
            return mismatch(f"logged: {name}, {expected}", one, other)
    return None


def _found_as(found: Event, seen: Sequence[Event]) -> str:
    like = next((event for event in seen if event.hook == found.hook and event.batch == found.batch), None)
    return "" if like is None else f" (that is {like.whereabouts} of the uninterrupted run)"
