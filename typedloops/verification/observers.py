"""What is looked at in an uninterrupted run, in one that is left, and in one that goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from typing_extensions import override

from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.saving.requests import SaveRequest
from typedloops.loops.run.saving.saver import Saver
from typedloops.verification.attributes import attributes_of
from typedloops.verification.flattening import leaves_of
from typedloops.verification.journal import NOTHING, Event, drawn_otherwise, first_difference
from typedloops.verification.places import Place, is_over
from typedloops.verification.recorder import AnyTrainer, others
from typedloops.verification.state import State, differences, kept_state, state_of
from typedloops.verification.values import Mismatch


class Left(BaseException):
    """Ends a run that was saved.  No Exception: code that goes on after any of those is to end as well."""


class Observing:
    """What all observers do: nothing yet.

    Args:
        trainer: Whose run it is.
        loaders: Loaders that can be looked at, by their names.
    """

    def __init__(self, trainer: AnyTrainer, loaders: Mapping[str, object]) -> None:
        self._callbacks = others(trainer)
        self._loaders: Mapping[str, object] = loaders

    def let_go(self) -> None:
        """Keep nothing of the run alive."""
        self._callbacks, self._loaders = [], {}

    def began(self, runs: Sequence[RunContext]) -> None:
        """Nothing is to be done."""

    def preparing(self, hook: str, runs: Sequence[RunContext]) -> None:
        """Nothing is to be done."""

    def happened(self, event: Event, runs: Sequence[RunContext]) -> None:
        """Nothing is to be done."""

    def ended(self, runs: Sequence[RunContext]) -> None:
        """Nothing is to be done."""

    def now(self, runs: Sequence[RunContext]) -> list[tuple[str, object]]:
        """All that is known of the runs, what is not saved last."""
        return [*state_of(runs), *attributes_of(runs, self._callbacks, self._loaders)]


class AtBoundaries(Observing):
    """Is called at each boundary of the run."""

    def __init__(self, trainer: AnyTrainer, loaders: Mapping[str, object]) -> None:
        super().__init__(trainer, loaders)
        self.boundaries: int = 0

    @override
    def began(self, runs: Sequence[RunContext]) -> None:
        runs[0].requests.call(partial(self._boundary, runs[0]))

    def at_boundary(self, place: Place, run: RunContext, loop: LoopNode) -> None:
        """The run is at a boundary.

        Args:
            place: Which one.
            run: The run that is the whole.
            loop: The loop that is there.
        """

    def _boundary(self, run: RunContext, loop: LoopNode | None, note: str) -> None:
        if note:  # the run has failed, and is not at one
            return
        if loop is not None and not is_over(loop):  # otherwise it is between two runs within this one, or after it
            self.at_boundary(Place.of(self.boundaries, loop), run, loop)
            self.boundaries += 1
        run.requests.call(partial(self._boundary, run))


class Uninterrupted(AtBoundaries):
    """Keeps what a run does, and its state when it ends."""

    def __init__(self, trainer: AnyTrainer, loaders: Mapping[str, object]) -> None:
        super().__init__(trainer, loaders)
        self.events: list[Event] = []
        self.end: State = {}

    @override
    def happened(self, event: Event, runs: Sequence[RunContext]) -> None:
        self.events.append(event)

    @override
    def ended(self, runs: Sequence[RunContext]) -> None:
        self.end = kept_state(self.now(runs))

    def take_result(self, result: object) -> None:
        """Keep what the run gave."""
        self.end = {**self.end, **kept_state(_result(result))}


class Comparing(Observing):
    """Compares a run with the uninterrupted one, event by event.

    Args:
        trainer: Whose run it is.
        loaders: Loaders that can be looked at, by their names.
        reference: The uninterrupted run.
        position: The number of the first event there.
    """

    def __init__(
        self, trainer: AnyTrainer, loaders: Mapping[str, object], reference: Uninterrupted, position: int = 0
    ) -> None:
        super().__init__(trainer, loaders)
        self.position: int = position
        self.event: Mismatch | None = None
        self.drawn: Mismatch | None = None
        """The first generator that is not where it was, if nothing else was seen before."""
        self.reference: Uninterrupted = reference
        self.end: list[Mismatch] = []

    @override
    def happened(self, event: Event, runs: Sequence[RunContext]) -> None:
        self.compare(event)

    def compare(self, event: Event) -> None:
        """Compare the next event."""
        events = self.reference.events
        expected = events[self.position] if self.position < len(events) else NOTHING
        if self.event is None:
            self.event = first_difference(expected, event, events)
            if self.drawn is None and (self.event is None or not self.event.path.startswith(("batch", "hooks"))):
                self.drawn = drawn_otherwise(expected, event)
        self.position += 1

    @override
    def ended(self, runs: Sequence[RunContext]) -> None:
        if self.event is None and self.position < len(self.reference.events):
            self.compare(NOTHING)
        expected = {path: value for path, value in self.reference.end.items() if not path.startswith(RESULT)}
        self.end += differences(expected, self.now(runs))

    def take_result(self, result: object) -> None:
        """Compare what the run gave."""
        expected = {path: value for path, value in self.reference.end.items() if path.startswith(RESULT)}
        self.end += differences(expected, _result(result))


@dataclass
class Departure:
    """Where a run was left.

    Args:
        place: At which boundary it was saved.
        position: How many events there were before.
        state: All that was known of it when it was left.
    """

    place: Place
    position: int
    state: State | None


class Interrupted(AtBoundaries):
    """Saves a run at a boundary, and leaves it when the next hook is called.

    Args:
        trainer: Whose run it is.
        loaders: Loaders that can be looked at, by their names.
        reference: The uninterrupted run.
        at: The number of the boundary.
        path: Where the checkpoint is to be.
    """

    def __init__(
        self, trainer: AnyTrainer, loaders: Mapping[str, object], reference: Uninterrupted, at: int, path: Path
    ) -> None:
        super().__init__(trainer, loaders)
        self.place: Place = Place(at)
        self.saved: bool = False
        self.left: State = {}
        self._events = Comparing(trainer, loaders, reference)
        self._path = path

    @property
    def event(self) -> Mismatch | None:
        """What was not as in the uninterrupted run although nothing was interrupted."""
        return self._events.event

    @property
    def departure(self) -> Departure:
        """Where it was left."""
        return Departure(self.place, self._events.position, self.left)

    @override
    def at_boundary(self, place: Place, run: RunContext, loop: LoopNode) -> None:
        if place.index == self.place.index and isinstance(run.saver, Saver):
            run.saver.save(SaveRequest(self._path), loop)
            self.place, self.saved = place, True

    @override
    def happened(self, event: Event, runs: Sequence[RunContext]) -> None:
        if self.saved:
            self.ended(runs)
            raise Left
        self._events.compare(event)

    @override
    def ended(self, runs: Sequence[RunContext]) -> None:
        self.left = kept_state(self.now(runs))


class Resumed(Comparing):
    """Compares a run that goes on from a checkpoint with the uninterrupted one.

    Args:
        trainer: Whose run it is.
        loaders: Loaders that can be looked at, by their names.
        reference: The uninterrupted run.
        departure: Where the run was left that goes on; its state is let go as soon as that has been compared.
    """

    def __init__(
        self, trainer: AnyTrainer, loaders: Mapping[str, object], reference: Uninterrupted, departure: Departure
    ) -> None:
        super().__init__(trainer, loaders, reference, departure.position)
        self.start: list[Mismatch] = []
        """What is not, when the run goes on, as it was when it was left."""
        self.prepared: dict[str, set[str]] = {}
        """What was not as it was, by the hook before which it was looked at."""
        self._left = departure.state
        departure.state = None

    @override
    def preparing(self, hook: str, runs: Sequence[RunContext]) -> None:
        if self._left is not None and len(runs) == 1:
            self.prepared[hook] = {each.path for each in differences(self._left, self.now(runs))}

    @override
    def happened(self, event: Event, runs: Sequence[RunContext]) -> None:
        self._goes_on(runs)
        super().happened(event, runs)

    @override
    def ended(self, runs: Sequence[RunContext]) -> None:
        self._goes_on(runs)
        super().ended(runs)

    def _goes_on(self, runs: Sequence[RunContext]) -> None:
        if self._left is not None:
            self.start, self._left = differences(self._left, self.now(runs)), None


RESULT = "result: "


def _result(result: object) -> list[tuple[str, object]]:
    return [(RESULT + path, value) for path, value in leaves_of(result)]
