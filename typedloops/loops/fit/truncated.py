"""Truncated backpropagation through time: a batch in pieces along its time, and what is remembered between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, cast

from torch import Tensor
from typing_extensions import TypeVar

from typedloops._core.calls import AnyCallable
from typedloops._core.escape import call, name_of
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import ConfigurationError, LoaderError, ModuleError, StepOutputError
from typedloops.loops.run.asked import asks_for

B = TypeVar("B", default=object)
S = TypeVar("S", default=object)

HIDDENS = "hiddens"
"""The parameter of a step, and the key of its output, that a hidden state goes by."""

SWITCH = "truncated_bptt_steps"


def split_size(own: int | None, model: object) -> int:
    """How many time steps a piece of a batch has; 0 is whole batches.

    Args:
        own: What the loop says, or None.
        model: What has the attribute `truncated_bptt_steps`, or has not.

    Raises:
        ConfigurationError: It is no number of steps.
    """
    steps: object = getattr(model, SWITCH, 0) if own is None else own
    where = f"{type(model).__name__}.{SWITCH}" if own is None else SWITCH
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

    Source: https://doi.org/10.1162/neco.1990.2.4.490 (Williams and Peng)
    """

    def __init__(self, step: Callable[[B, int], S], pieces: Callable[[B], Sequence[B]], memory: Memory) -> None:
        self.__wrapped__ = step
        self._pieces = pieces
        self._memory = memory

    def __call__(self, batch: B, batch_idx: int) -> S:
        output: S | None = None
        self._memory.forget()
        for self._memory.split_idx, piece in enumerate(self._pieces(batch)):
            output = None  # two graphs at a time are one too many
            output = self.__wrapped__(piece, batch_idx)
        return cast("S", output)


class Memory:
    """What the steps of a batch's pieces remember, each its own, and which piece is at hand."""

    def __init__(self) -> None:
        self.split_idx = 0
        self.hiddens: dict[int, object] = {}

    def forget(self) -> None:
        """A new batch begins."""
        self.split_idx = 0
        self.hiddens.clear()

    def give(self, step: AnyCallable, position: int = 0) -> AnyCallable:
        """`step` given what it returned for the piece before.

        Args:
            step: The module's own.
            position: Which of several optimizers it is for.

        Raises:
            ModuleError: It has no parameter for that.
        """
        if not asks_for(step, HIDDENS):
            raise ModuleError(
                name_of(step),
                f"it has no parameter `{HIDDENS}`, and {SWITCH} is set",
                f"Take the hidden state of the piece before as `{HIDDENS}`, or leave {SWITCH} out.",
            )
        return _Remembering(step, self, position)


class _Remembering:
    def __init__(self, step: AnyCallable, memory: Memory, position: int) -> None:
        self.__wrapped__ = step
        self._memory = memory
        self._position = position

    def __call__(self, batch: object, batch_idx: int) -> object:
        hiddens = self._memory.hiddens
        output: object = self.__wrapped__(batch, batch_idx, hiddens=hiddens.get(self._position))
        if output is None:
            return None
        if not is_mapping(output) or HIDDENS not in output:
            raise StepOutputError(
                name_of(self.__wrapped__),
                f"it returned no hidden state, and {SWITCH} is set",
                f"Return {{'loss': ..., '{HIDDENS}': ...}}, or leave {SWITCH} out.",
            )
        hiddens[self._position] = cut(output[HIDDENS])
        return output


def cut(hiddens: object) -> object:
    """A hidden state without its graph: a tensor, or lists, tuples and mappings of such."""
    if isinstance(hiddens, Tensor):
        return hiddens.detach()
    if is_mapping(hiddens):
        return {key: cut(value) for key, value in hiddens.items()}
    if is_list_or_tuple(hiddens):
        return _like(hiddens, [cut(value) for value in hiddens])
    return hiddens


def split_along_time(batch: B, steps: int, where: str) -> list[B]:
    """Pieces of a batch along its time, which is the second axis of its tensors; the last may be shorter.

    Args:
        batch: A tensor of shape (batch, time, ...), or lists, tuples and mappings with such tensors.
            What has no second axis is in each piece.
        steps: The time steps of a piece.
        where: What to call the batch in an error.

    Raises:
        LoaderError: It has no time, or its tensors do not agree in it.
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
    return [cast("B", _piece(batch, slice(start, start + steps))) for start in range(0, length, steps)]


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


def _piece(value: object, part: slice) -> object:
    if isinstance(value, Tensor):
        return value[:, part] if value.ndim > 1 else value
    if is_mapping(value):
        return {key: _piece(item, part) for key, item in value.items()}
    if is_list_or_tuple(value):
        return _like(value, [_piece(item, part) for item in value])
    return value


def _like(original: Sequence[object], items: list[object]) -> object:
    """The items in a list, tuple or named tuple as the original is one."""
    make: object = getattr(original, "_make", type(original))
    return make(items) if callable(make) else items


def pieces_of(model: object, steps: int) -> Callable[[B], Sequence[B]]:
    """What splits a batch: the module's own `tbptt_split_batch(batch, split_size)`, or `split_along_time`."""
    own: AnyCallable | None = getattr(model, "tbptt_split_batch", None)
    if own is None:
        return lambda batch: split_along_time(batch, steps, "a batch of the train dataloader")

    def pieces(batch: B) -> Sequence[B]:
        found: object = call(own, batch, steps)
        if not is_list_or_tuple(found) or not found:
            raise StepOutputError(
                name_of(own), f"it returned {found!r:.60}", "Return a list of one or more pieces of the batch."
            )
        return cast("Sequence[B]", found)

    return pieces


def check_output(where: str, output: Mapping[str, object]) -> None:
    """Raise `StepOutputError` for a hidden state that nobody would give to the next piece."""
    if HIDDENS in output:
        raise StepOutputError(
            where,
            f"it returned a hidden state, and {SWITCH} is not set",
            f"Set `{SWITCH}` on the module, or leave '{HIDDENS}' out.",
        )
