"""What a loader may say of its own passes, so that they can be begun again in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeGuard

from typing_extensions import Protocol, TypeVar

B_co = TypeVar("B_co", covariant=True)


class ResumablePass(Protocol[B_co]):
    """One pass through a loader."""

    def __iter__(self) -> Iterator[B_co]:
        """Begin it; called once."""
        ...

    def state_dict(self, taken: int) -> dict[str, object]:
        """Where it is after `taken` batches, counted from its beginning."""
        ...


class ResumableLoader(Protocol[B_co]):
    """A loader that knows how to begin a pass in the middle: one made of several loaders."""

    def begin_pass(self, resumed: Mapping[str, object] | None, *, exact: bool) -> ResumablePass[B_co]:
        """A pass, from the beginning or from where `resumed` says.

        Args:
            resumed: The `state_dict` of a pass of such a loader, or None.
            exact: Whether to refuse what may not give the batches that the pass would have given.
        """
        ...


def is_resumable(loader: object) -> TypeGuard[ResumableLoader[object]]:
    # isinstance with a Protocol takes longer than the rest of a short pass.
    return callable(getattr(loader, "begin_pass", None))
