"""A batch that had been fetched ahead of its turn and could not be saved."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import TypeVar

from typedloops.errors import CheckpointError, LoaderError
from typedloops.loops.run.passes.generators import differ, own, restore, shared, states_of
from typedloops.loops.run.passes.saved import ANEW, inexact

B = TypeVar("B")

AS_DATA = "Let its batches be made of tensors, numbers and strings in lists, tuples and dicts"


def fetched_again(where: str, loader: object, batches: Iterator[B], *, exact: bool) -> B:
    """The batch that had been fetched ahead, from a pass that was begun again before it.

    Whoever resumes the run restores the generators that everybody draws from; its own are left as they were.

    Args:
        where: What to call the loader in an error.
        loader: Where the batches come from.
        batches: The pass.
        exact: Whether to refuse a batch that is random.

    Raises:
        LoaderError: There is no such batch, or it is random and `exact`.
    """
    owned = states_of(own(loader))
    before = states_of(shared()) | owned
    batch = next(batches, None)
    if batch is None:
        raise LoaderError(where, "it ended where it had given one more batch when its position was saved", ANEW)
    if differ(before, states_of(shared() | own(loader))):
        inexact(where, "the batch that was fetched ahead is fetched again, and it is random", f"{AS_DATA}.", exact)
    restore(where, own(loader), owned)
    return batch


def lost(where: str, batch: object) -> CheckpointError:
    """What to say where a batch can neither be saved nor be fetched again."""
    return CheckpointError(
        where,
        f"the batch that was fetched ahead, an object of type {type(batch).__qualname__}, cannot be saved, and the "
        "loader cannot go back before it",
        f"{AS_DATA}, or give the loader a length: none is fetched ahead then.",
    )
