"""What a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor

from typedloops._core.shapes import is_list_or_tuple


def is_data(value: object) -> bool:
    """Whether a checkpoint can hold it: numbers, strings, bytes and tensors, in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        from typedloops.checkpoint.layout import CODES  # only now: a run that is not saved needs none of it
        from typedloops.checkpoint.own import has_numbers

        return has_numbers(value) and value.dtype in CODES
    if value is None or type(value) in (bool, int, float, str, bytes):
        return True
    if is_list_or_tuple(value):
        return type(value) in (list, tuple) and all(map(is_data, value))
    if type(value) is dict:
        items = cast("Mapping[object, object]", value)
        return all(is_data(key) and is_data(item) for key, item in items.items())
    return False
