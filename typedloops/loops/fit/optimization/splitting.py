"""Smaller batches of one, along the axis of its items."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from typing_extensions import TypeVar

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import LoaderError
from typedloops.loops.run.hidden import like
from typedloops.loops.run.metrics import batch_size_of

B = TypeVar("B")

REMEDY = "Give MicroBatchOptimization a `split` and a `count`."


def count_items(batch: object) -> int:
    """The length of the first tensor in a batch.

    Raises:
        LoaderError: There is none.
    """
    items = batch_size_of(batch)
    if items is None:
        raise LoaderError("a batch", "there is no tensor in it by which its items could be counted", REMEDY)
    return items


def split_along_items(batch: B, size: int) -> Iterator[B]:
    """Smaller batches of at most `size` items each.

    Args:
        batch: A tensor of shape (items, ...), or lists, tuples and mappings with such tensors; a list
            without tensors that is as long has an element for each item, and whatever else there is
            goes with each.
        size: The items of one.

    Raises:
        LoaderError: It has no tensors, or they do not agree in the number of items.
    """
    items = count_items(batch)
    for start in range(0, items, size):
        yield _part(batch, start, start + size, items)


def _part(value: B, start: int, stop: int, items: int) -> B:
    part: object = value
    if isinstance(value, Tensor):
        if value.ndim and value.shape[0] != items:
            raise LoaderError("a batch", f"its tensors have {items} and {value.shape[0]} items", REMEDY)
        part = value[start:stop] if value.ndim else value
    elif is_mapping(value):
        part = {key: _part(item, start, stop, items) for key, item in value.items()}
    elif is_list_or_tuple(value):
        one_by_one = len(value) == items and batch_size_of(value) is None
        parts = value[start:stop] if one_by_one else [_part(item, start, stop, items) for item in value]
        part = like(value, list(parts))
    return part  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # of the kind of `value`
