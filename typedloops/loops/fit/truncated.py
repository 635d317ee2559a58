"""Truncated backpropagation through time: a batch in pieces along its time, and what is remembered between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, cast

from torch import Tensor
from typing_extensions import TypeVar

from typedloops._core.escape import call, name_of
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import ConfigurationError, LoaderError, StepOutputError
from typedloops.loops.run.hidden import SWITCH, HiddenStates, like

B = TypeVar("B", default=object)
S = TypeVar("S", default=object)


def split_size(own: int | None, model: object) -> int:
    """How many time steps a piece of a batch has; 0 is whole batches.

    Args:
        own: What the loop says, or None.
        model: What has the attribute `truncated_bptt_steps`, or has not.

    Raises:
        ConfigurationError: It is no number of steps.
    """
    if own is not None:
        return own
    return checked_steps(f"{type(model).__name__}.{SWITCH}", getattr(model, SWITCH, 0))


def checked_steps(where: str, steps: object) -> int:
    """Raise `ConfigurationError` unless `steps` is a number of time steps, or 0."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigurationError(where, f"{steps!r} is no number of time steps", "Give an int; 0 is whole batches.")
    return steps


class TruncatedSteps(Generic[B, S]):
    """One batch of truncated backpropagation through time; called with a batch and its index.

    ```
    for each piece of the batch:
        step(piece, batch_idx)        # whose training_step is given `hiddens`: None for the first piece,
                                      # then what it returned under this key, detached
    ```

    Its output is that of the last piece.

    Args:
        step: What to do with a piece.
        pieces: Splits a batch.
        hidden: What goes from piece to piece.
        between: Called between two pieces.
        done: Asked for the number of pieces of this batch that were done in an earlier process.

    Source: https://doi.org/10.1162/neco.1990.2.4.490 (Williams and Peng)
    """

    def __init__(
        self,
        step: Callable[[B, int], S],
        pieces: Callable[[B], Sequence[B]],
        hidden: HiddenStates,
        *,
        between: Callable[[], None],
        done: Callable[[], int],
    ) -> None:
        self.__wrapped__ = step
        self._pieces = pieces
        self._hidden = hidden
        self._between = between
        self._done = done
        self.batch: B | None = None
        """The batch at hand, as a whole."""

    def __call__(self, batch: B, batch_idx: int) -> S:
        output: S | None = None
        self.batch = batch
        self._hidden.forget()
        pieces, done = self._pieces(batch), self._done()
        for split_idx in range(done, len(pieces)):
            self._hidden.go_on(split_idx)
            output = None  # two graphs at a time are one too many
            output = self.__wrapped__(pieces[split_idx], batch_idx)
            if split_idx + 1 < len(pieces):
                self._between()
        self.batch = None
        return cast("S", output)


def split_along_time(batch: B, steps: int, where: str) -> list[B]:
    """Pieces of a batch along its time, which is the second axis of its tensors; the last may be shorter.

    Args:
        batch: A tensor of shape (batch, time, ...), or lists, tuples and mappings with such tensors.
            What has no second axis is in each piece.
        steps: The time steps of a piece.
        where: What to call the batch in an error.

    Raises:
        LoaderError: It has no time, or no steps of it, or its tensors do not agree in it.
    """
    lengths = dict(_times(batch, "batch"))
    if not lengths:
        raise LoaderError(
            where, "no tensor in it has a second axis, which is its time", "Give the module a `tbptt_split_batch`."
        )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise LoaderError(
            where, f"its tensors do not agree in their time steps: {told}", "Give the module a `tbptt_split_batch`."
        )
    (length,) = set(lengths.values())
    if length == 0:
        raise LoaderError(where, "it has no time steps", "Leave such batches out of the loader.")
    return [cast("B", _piece(batch, start, start + steps)) for start in range(0, length, steps)]


def _times(value: object, name: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, Tensor):
        if value.ndim > 1:
            yield name, value.shape[1]
    elif is_mapping(value):
        for key, item in value.items():
            yield from _times(item, f"{name}[{key!r}]")
    elif is_list_or_tuple(value):
        for place, item in enumerate(value):
            yield from _times(item, f"{name}[{place}]")


def _piece(value: object, start: int, stop: int) -> object:
    if isinstance(value, Tensor):
        return value[:, start:stop] if value.ndim > 1 else value
    if is_mapping(value):
        return {key: _piece(item, start, stop) for key, item in value.items()}
    if is_list_or_tuple(value):
        return like(value, [_piece(item, start, stop) for item in value])
    return value


def pieces_of(model: object, steps: int) -> Callable[[B], Sequence[B]]:
    """What splits a batch: the module's own `tbptt_split_batch(batch, split_size)`, or `split_along_time`."""
    own: object = getattr(model, "tbptt_split_batch", None)
    if not callable(own):
        return lambda batch: split_along_time(batch, steps, "a batch of the train dataloader")

    def pieces(batch: B) -> Sequence[B]:
        found: object = call(own, batch, steps)
        if not is_list_or_tuple(found) or not found:
            raise StepOutputError(
                name_of(own), f"it returned {found!r:.60}", "Return a list of one or more pieces of the batch."
            )
        return cast("Sequence[B]", found)

    return pieces
