# mypy: disable-error-code=explicit-any
"""What every place that takes a loop asks for."""

from __future__ import annotations

from typing import TypeAlias

from typing_extensions import ParamSpec, Protocol, TypeVar, runtime_checkable

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class LoopProtocol(Protocol[P, R_co]):
    """A loop, by its shape: `P` are the inputs of a run, `R_co` is its output.

    `typedloops.Loop` is the base class for those who write one; a loop that has
    these members needs no base class.  `isinstance` looks for the members and
    evaluates none of them.
    """

    @property
    def done(self) -> bool:
        """Whether the run is over; reading it changes nothing."""
        ...

    def reset(self) -> None:
        """Make ready for a run."""
        ...

    def advance(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do one iteration; `StopIteration` ends the run."""
        ...

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run from the beginning to the end."""
        ...


AnyLoop: TypeAlias = LoopProtocol[..., object]
"""A loop with any inputs, whose `...` counts as explicit Any, and any output."""
