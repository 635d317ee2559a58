"""How an entry point of the trainer gets the type of its loop's `run`."""

from __future__ import annotations

from typing import TypeAlias

from typing_extensions import Protocol, TypeVar

from typedloops._core.calls import AnyCallable

F_co = TypeVar("F_co", bound=AnyCallable, covariant=True)


class EntryLoop(Protocol[F_co]):
    """Any loop: the type of its `run` becomes the type of the trainer's entry point.

    That it is an instance is known by `reset`: on a class it would want a `self`.
    """

    @property
    def run(self) -> F_co: ...
    def reset(self) -> None: ...


class HasFitLoop(Protocol[F_co]):
    @property
    def fit_loop(self) -> EntryLoop[F_co]: ...


class HasValidateLoop(Protocol[F_co]):
    @property
    def validate_loop(self) -> EntryLoop[F_co]: ...


class HasTestLoop(Protocol[F_co]):
    @property
    def test_loop(self) -> EntryLoop[F_co]: ...


class HasPredictLoop(Protocol[F_co]):
    @property
    def predict_loop(self) -> EntryLoop[F_co]: ...


AnyEntryLoop: TypeAlias = EntryLoop[AnyCallable]
