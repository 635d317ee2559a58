"""What `run_loop` asks of a loop."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


ITERATION = frozenset({"on_advance_start", "advance", "on_advance_end"})
"""What `advance_all` does in one call; an instance that has one of its own is iterated."""


class DrivenLoop(Protocol[P, R_co]):
    """Every method of the contract, present: `typedloops.Loop` supplies the optional ones."""

    fused: ClassVar[bool]
    restarting: bool

    @property
    def skip(self) -> bool: ...
    @property
    def done(self) -> bool: ...
    def on_skip(self) -> R_co: ...
    def reset(self) -> None: ...
    def on_run_start(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def on_advance_start(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def advance(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def advance_all(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def on_advance_end(self) -> None: ...
    def on_run_end(self) -> R_co: ...
