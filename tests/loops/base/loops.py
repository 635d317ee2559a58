"""Small loops of several shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from typedloops import Loop, LoopProtocol, Progress, ReadyCompleted, Slot, SlotList, TrainerView


class Countdown(Loop[[int], int]):
    """Counts down from its input and says how many iterations that took."""

    left = 0
    ran = 0

    @property
    def done(self) -> bool:
        return self.left <= 0

    def reset(self) -> None:
        self.ran = 0

    def on_run_start(self, start: int) -> None:
        self.left = start

    def advance(self, start: int) -> None:
        self.left -= 1
        self.ran += 1

    def on_run_end(self) -> int:
        return self.ran


class Leaf(Loop[[], None]):
    """Runs once; it has a value, so that two of them can be told apart."""

    state_fields: ClassVar[tuple[str, ...]] = ("value", "progress")
    done = False

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.progress: Progress[ReadyCompleted] = Progress(ReadyCompleted())

    def reset(self) -> None:
        self.done = False

    def advance(self) -> None:
        self.progress.increment_ready()
        self.value += 1
        self.progress.increment_completed()
        self.done = True


class Pair(Loop[[], None]):
    """Runs its two children; the second need not be there."""

    first: Slot[LoopProtocol[[], None]] = Slot()
    second: Slot[LoopProtocol[[], None] | None] = Slot(required=False)
    state_fields: ClassVar[tuple[str, ...]] = ("rounds",)

    def __init__(
        self, first: LoopProtocol[[], None], second: LoopProtocol[[], None] | None = None, *, rounds: int = 1
    ) -> None:
        self.first = first
        self.second = second
        self.rounds = rounds
        self.ran = 0

    @property
    def done(self) -> bool:
        return self.ran >= self.rounds

    def reset(self) -> None:
        self.ran = 0

    def advance(self) -> None:
        self.first.run()
        if self.second is not None:
            self.second.run()
        self.ran += 1


class Stages(Loop[[], None]):
    """Runs any number of children."""

    stages: SlotList[LoopProtocol[[], None]] = SlotList()
    done = False

    def __init__(self, *stages: LoopProtocol[[], None]) -> None:
        self.stages = stages

    def reset(self) -> None:
        self.done = False

    def advance(self) -> None:
        for stage in self.stages:
            stage.run()
        self.done = True


class Foreign:
    """A loop that has no base class: only the shape."""

    done = False

    def reset(self) -> None:
        self.done = False

    def advance(self) -> None:
        self.done = True

    def run(self) -> None:
        self.reset()
        while not self.done:
            self.advance()


class StatefulForeign(Foreign):
    """A loop of somebody else's that saves itself."""

    count = 0

    def state_dict(self) -> dict[str, object]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: Mapping[str, object], /) -> None:
        self.count = cast("int", state_dict["count"])


def a_trainer() -> TrainerView:
    """Stands for a trainer: attaching looks at none of its members."""
    return cast("TrainerView", object())
