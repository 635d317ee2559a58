"""A state as JSON and tensors by name, and back: nothing in it is ever code.

JSON has no tuples, no bytes, no keys but strings, no infinity.  What it lacks is written as
an object whose first key is `$`, the name of what it stands for.
"""

from __future__ import annotations

import base64
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Final, TypeAlias, cast

from torch import Tensor

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.checkpoint.layout import METADATA
from typedloops.errors import CheckpointError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

TAG: Final = "$"

DEEPEST: Final = 100
"""How deep a state may be: as deep as it can be read again, wherever that is called."""

EXACT: Final = 64
"""The bits of the largest whole number that is written as one."""


def encode(where: str, state: object) -> tuple[Json, dict[str, Tensor]]:
    """Take a state apart.

    Args:
        where: What to call it in an error, and the beginning of no tensor's name.
        state: Made of None, booleans, numbers, strings, bytes, tensors, and lists, tuples, mappings
            and counters of them.  Numbers of other kinds, those of NumPy, become Python's.

    Returns:
        The state with a reference in place of each tensor, and the tensors by name: the keys on
        the way to them, joined by `/`.

    Raises:
        CheckpointError: Something else is in it.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(where, "", state, tensors, 0), tensors


def _encode(where: str, name: str, value: object, tensors: dict[str, Tensor], depth: int) -> Json:
    if value is None or type(value) in (bool, str):
        return cast("Json", value)
    if type(value) is int:
        # JSON's numbers are read by others as doubles, and by Python up to a number of digits.
        return value if value.bit_length() <= EXACT else {TAG: "int", "value": hex(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {TAG: "float", "value": str(value)}
    if depth > DEEPEST:
        raise CheckpointError(where, f"it is nested deeper than {DEEPEST} levels, or contains itself", "Save it flat.")
    if isinstance(value, Tensor):
        return {TAG: "tensor", "name": _put(name, value, tensors)}
    if isinstance(value, bytes):
        return {TAG: "bytes", "value": base64.b64encode(value).decode()}
    if is_list_or_tuple(value):
        if is_named_tuple(value):
            raise _not_data(where, name, value, "Save its _asdict(), and make it again of that.")
        items: list[Json] = [_encode(where, _below(name, i), item, tensors, depth + 1) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {TAG: "tuple", "items": items}
    if is_mapping(value):
        return _encode_mapping(where, name, cast("Mapping[object, object]", value), tensors, depth + 1)
    number = plain_number(value)
    if number is not None:
        return _encode(where, name, number, tensors, depth)
    remedy = "Save what it is made of: numbers, strings, tensors, and lists, tuples and dicts of them."
    raise _not_data(where, name, value, remedy)


def is_named_tuple(value: object) -> bool:
    """Whether it is a tuple with names, of a class that could not be made again."""
    return issubclass(type(value), tuple) and hasattr(value, "_fields")


def plain_number(value: object) -> bool | int | float | None:
    """The number of Python that equals one of another kind; None where it is none, or there is no such number."""
    if isinstance(value, Enum):
        return None
    if "numpy" in sys.modules:
        import numpy as np

        if isinstance(value, np.bool_):
            return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if number == value or number != number else None
    return None


def _not_data(where: str, name: str, value: object, remedy: str) -> CheckpointError:
    problem = f"an object of type {type(value).__qualname__} cannot be saved"
    return CheckpointError(f"{where}: {name or 'it'}", problem, remedy)


def _encode_mapping(
    where: str, name: str, value: Mapping[object, object], tensors: dict[str, Tensor], depth: int
) -> Json:
    counts = isinstance(value, Counter)
    if not counts and all(type(key) is str for key in value) and TAG not in value:
        return {str(key): _encode(where, _below(name, key), item, tensors, depth) for key, item in value.items()}
    items: list[Json] = [
        [
            _encode(where, _below(name, f"key {key}"), key, tensors, depth),
            _encode(where, _below(name, key), item, tensors, depth),
        ]
        for key, item in value.items()
    ]
    return {TAG: "counter" if counts else "mapping", "items": items}


def _below(name: str, key: object) -> str:
    return f"{name}/{key}" if name else str(key)


def _put(name: str, tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    name = (name or "tensor").encode(errors="backslashreplace").decode()
    # Two keys may look alike: 1 and "1".
    unique, count = name, 1
    while unique in tensors or unique == METADATA:
        count += 1
        unique = f"{name}#{count}"
    tensors[unique] = tensor
    return unique


def decode(where: str, state: Json, tensors: Mapping[str, Tensor]) -> object:
    """Put a state together again.

    Args:
        where: What to call it in an error.
        state: What `encode` gave.
        tensors: The tensors that it refers to.

    Raises:
        CheckpointError: It refers to a tensor that is not there, or is not what `encode` gives.
    """
    if isinstance(state, list):
        return [decode(where, item, tensors) for item in state]
    if not isinstance(state, dict):
        return state
    if TAG not in state:
        return {key: decode(where, item, tensors) for key, item in state.items()}
    kind = state[TAG]
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    try:
        if decoder is None:
            raise ValueError(f"there is no kind {kind!r}")
        return decoder(where, state, tensors)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            where, f"it is damaged or of a later version: {error}", "Load another checkpoint, or a newer release."
        ) from error


def _float(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> float:
    return float(str(state["value"]))


def _int(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> int:
    return int(str(state["value"]), 16)


def _bytes(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> bytes:
    return base64.b64decode(str(state["value"]), validate=True)


def _tensor(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> Tensor:
    return tensors[str(state["name"])]


def _tuple(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> tuple[object, ...]:
    return tuple(decode(where, item, tensors) for item in _items(state))


def _mapping(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> dict[object, object]:
    pairs: dict[object, object] = {}
    for item in _items(state):
        if not isinstance(item, list) or len(item) != 2:
            raise ValueError("an item of a mapping is no pair")
        pairs[decode(where, item[0], tensors)] = decode(where, item[1], tensors)
    return pairs


def _counter(where: str, state: Mapping[str, Json], tensors: Mapping[str, Tensor]) -> Counter[object]:
    return Counter(cast("dict[object, int]", _mapping(where, state, tensors)))


def _items(state: Mapping[str, Json]) -> list[Json]:
    items = state["items"]
    if not isinstance(items, list):
        raise ValueError("its items are no list")
    return items


Decoder: TypeAlias = Callable[[str, Mapping[str, Json], Mapping[str, Tensor]], object]

_DECODERS: dict[str, Decoder] = {
    "float": _float,
    "int": _int,
    "bytes": _bytes,
    "tensor": _tensor,
    "tuple": _tuple,
    "mapping": _mapping,
    "counter": _counter,
}
