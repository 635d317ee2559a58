# pyright: reportUnknownMemberType=false
"""Loops of one's own that break the contract, and runs with other inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

from typedloops import Loop, LoopProtocol, Slot, SlotList, typed_connect


class Countdown(Loop[[int], int]):
    left = 0

    @property
    def done(self) -> bool:
        return self.left == 0

    def on_run_start(self, n: int) -> None:
        self.left = n

    def advance(self, n: int) -> None:
        self.left -= 1

    def on_run_end(self) -> int:
        return self.left


Countdown().run("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Countdown().run()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Countdown().run(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Countdown().run(n=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
wrong: str = Countdown().run(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
Countdown().advance("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Countdown().done()  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
Countdown().done = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Countdown().trainer = None  # type: ignore[assignment, misc]  # pyright: ignore[reportAttributeAccessIssue]
Loop[[int], int]()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


class NoDone(Loop[[int]]):
    def advance(self, n: int) -> None: ...


class NoAdvance(Loop[[int]]):
    @property
    def done(self) -> bool:
        return True


NoDone()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
NoAdvance().run(1)  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


class WrongSignatures(Loop[[Iterator[int]], float]):
    @property
    def done(self) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1

    @property
    def skip(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return ""

    def reset(self, hard: bool) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_run_start(self, source: Iterator[str]) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_advance_start(self) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def advance(self, source: Iterator[str]) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_advance_end(self, source: Iterator[int]) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_skip(self) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_run_end(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return ""

    def on_save_checkpoint(self) -> list[int]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return []

    def on_load_checkpoint(self, state: dict[str, int]) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class AdvanceReturns(Loop[[int]]):
    @property
    def done(self) -> bool:
        return True

    def advance(self, n: int) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return n

    def on_run_end(self) -> float:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 0.0


class Shaped:
    """Has no `reset`."""

    done = True

    def advance(self, n: int, /) -> None: ...
    def run(self, n: int, /) -> int:
        return n


class Parent(Loop[[int], int]):
    child: Slot[LoopProtocol[[int], int]] = Slot()
    spare: Slot[LoopProtocol[[int], int] | None] = Slot(required=False)
    more: SlotList[LoopProtocol[[int], int]] = SlotList()

    @property
    def done(self) -> bool:
        return True

    def advance(self, n: int) -> None:
        self.child.run("n")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.spare.run(n)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]

    def on_run_end(self) -> int:
        return 0

    @typed_connect
    def connect(self, *, child: LoopProtocol[[int], int] | None = None) -> None: ...


class ByName(Loop[[str], str]):
    @property
    def done(self) -> bool:
        return True

    def advance(self, name: str) -> None: ...
    def on_run_end(self) -> str:
        return ""


parent = Parent()
parent.child = ByName()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
parent.child = Countdown  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
parent.child = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
parent.child = Shaped()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
parent.spare = ByName()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
parent.connect(child=ByName())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
parent.connect(chidl=Countdown())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
parent.connect(Countdown())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
parent.replace(child=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
parent.more = [ByName()]  # type: ignore[list-item]  # pyright: ignore[reportAttributeAccessIssue]
parent.more = Countdown()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
parent.more.append(ByName())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
parent.more[0] = ByName()  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
parent.more[0].run("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
print(parent.more["first"])  # type: ignore[index]  # pyright: ignore[reportArgumentType]
parent.more.extend([Countdown()])  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
for child in parent.more:
    print(child.left)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
assert_type(parent.more[0].run(1), str)  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]
parent.attach(None, "fit_loop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
count: LoopProtocol[[str], int] = Countdown()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
parent.load_state_dict([1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Slot(required="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
