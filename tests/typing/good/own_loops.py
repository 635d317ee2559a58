"""Loops of one's own: inputs, output, children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from typing_extensions import ParamSpec, TypeVar

from typedloops import Loop, LoopProtocol, Slot, SlotList, typed_connect
from typedloops.loops.base.slot import LoopList

P = ParamSpec("P")
R = TypeVar("R")


class Countdown(Loop[[int], int]):
    """One positional input, and an output."""

    left = 0
    ran = 0
    state_fields = ("left", "ran")

    @property
    def done(self) -> bool:
        return self.left == 0

    def on_run_start(self, n: int) -> None:
        self.left = n

    def advance(self, n: int) -> None:
        self.left -= 1
        self.ran += 1

    def on_run_end(self) -> int:
        return self.ran


assert_type(Countdown().run(5), int)
assert Countdown().run(5) == 5


class Repeat(Loop[[str, int], str]):
    """Inputs that may be given by keyword, with a default: `run` says so itself."""

    def __init__(self) -> None:
        self.text = ""

    @property
    def done(self) -> bool:
        return False

    def on_run_start(self, word: str, times: int) -> None:
        self.text = ""

    def advance(self, word: str, times: int) -> None:
        if len(self.text) == len(word) * times:
            raise StopIteration
        self.text += word

    def on_run_end(self) -> str:
        return self.text

    def run(self, word: str, times: int = 2) -> str:
        return super().run(word, times)


assert_type(Repeat().run("ab"), str)
assert Repeat().run("ab", times=3) == "ababab"
repeat: LoopProtocol[[str, int], str] = Repeat()


class Nested(Countdown):
    """A loop derived from a loop."""

    def on_run_end(self) -> int:
        return super().on_run_end() + 1


assert_type(Nested().run(1), int)


class Quiet(Loop[[]]):
    """No inputs and no output; every optional method."""

    ran = 0

    @property
    def done(self) -> bool:
        return self.ran == 2

    @property
    def skip(self) -> bool:
        return False

    def on_skip(self) -> None:
        return None

    def reset(self) -> None:
        self.ran = 0

    def on_run_start(self) -> None:
        assert not self.restarting

    def on_advance_start(self) -> None: ...

    def advance(self) -> None:
        self.ran += 1

    def on_advance_end(self) -> None: ...

    def teardown(self) -> None: ...

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"ran": self.ran}

    def on_load_checkpoint(self, state: object) -> None: ...


quiet = Quiet()
quiet.run()
assert_type(quiet.state_dict(), dict[str, object])
quiet.load_state_dict(quiet.state_dict())
assert_type(quiet.restarting, bool)
assert quiet.restarting


class Shaped:
    """A loop by its shape: no base class."""

    def __init__(self) -> None:
        self.total = 0

    @property
    def done(self) -> bool:
        return self.total > 3

    def reset(self) -> None:
        self.total = 0

    def advance(self, n: int, /) -> None:
        self.total += n

    def run(self, n: int, /) -> int:
        self.reset()
        while not self.done:
            self.advance(n)
        return self.total


class Twice(Loop[[int], list[int]]):
    """One required child, one that may be missing, and any number of further ones."""

    inner: Slot[LoopProtocol[[int], int]] = Slot()
    spare: Slot[LoopProtocol[[int], int] | None] = Slot(required=False)
    more: SlotList[LoopProtocol[[int], int]] = SlotList()

    def __init__(self, inner: LoopProtocol[[int], int], more: Sequence[LoopProtocol[[int], int]] = ()) -> None:
        self.inner = inner
        self.more = more
        self.results: list[int] = []

    @typed_connect
    def connect(
        self, *, inner: LoopProtocol[[int], int] | None = None, spare: LoopProtocol[[int], int] | None = None
    ) -> None: ...

    @property
    def done(self) -> bool:
        return len(self.results) == 2 + len(self.more)

    def reset(self) -> None:
        self.results = []

    def advance(self, n: int) -> None:
        ran = len(self.results)
        self.results.append((self.inner if ran < 2 else self.more[ran - 2]).run(n))

    def on_run_end(self) -> list[int]:
        return self.results


twice = Twice(Shaped(), [Countdown()])
assert_type(Twice.inner, Slot[LoopProtocol[[int], int]])
assert_type(twice.inner, LoopProtocol[[int], int])
assert_type(twice.spare, LoopProtocol[[int], int] | None)
assert_type(twice.more, LoopList[LoopProtocol[[int], int]])
assert_type(twice.more[0], LoopProtocol[[int], int])
assert_type([child.run(1) for child in twice.more], list[int])
assert_type(twice.run(2), list[int])
twice.connect(inner=Countdown(), spare=Shaped())
twice.spare = None
twice.more = [Countdown(), Shaped()]
twice.more.append(Shaped())
twice.more[0] = Countdown()
del twice.more[1]
twice.replace(inner=Countdown)
twice.replace(inner=Shaped())
assert_type(str(twice.tree()), str)
assert_type(twice.path, str)


def run_all(loops: Sequence[LoopProtocol[P, R]], *args: P.args, **kwargs: P.kwargs) -> list[R]:
    """Any loops of one kind; their inputs and output are taken over."""
    return [loop.run(*args, **kwargs) for loop in loops]


counts: list[LoopProtocol[[int], int]] = [Countdown(), Shaped()]
assert_type(run_all(counts, 2), list[int])
assert_type(run_all([Countdown(), Countdown()], 2), list[int])
assert isinstance(Shaped(), LoopProtocol)
