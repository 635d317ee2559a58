"""The index of a loader among several, given to the steps and hooks that ask for it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial

from typedloops._core.calls import AnyCallable

LOADER_INDEX = "dataloader_idx"
"""The parameter by which a step or a hook asks which of the loaders its batch is from."""

MAY_ASK = frozenset(
    {
        *(f"{phase}_step" for phase in ("validation", "test", "predict")),
        *(f"on_{phase}_batch_{edge}" for phase in ("validation", "test", "predict") for edge in ("start", "end")),
    }
)
"""The steps and hooks that may ask."""


def check_call(name: str, signature: inspect.Signature, arguments: Sequence[str]) -> None:
    """Raise TypeError unless what has this signature can be called with `arguments`, and the index if it asks.

    Args:
        name: The step or hook.
        signature: Its signature.
        arguments: The names of what it is given besides.
    """
    parameter = signature.parameters.get(LOADER_INDEX) if name in MAY_ASK else None
    if parameter is None:
        signature.bind(*arguments)
    elif parameter.kind is parameter.POSITIONAL_ONLY:
        signature.bind(*arguments, 0)
    else:
        signature.bind(*arguments, **{LOADER_INDEX: 0})


def given_index(function: AnyCallable, index: int, *, several: bool) -> AnyCallable:
    """`function` with the index filled in if it asks for it.

    With one loader only a function that cannot be called without the index is given it.
    """
    parameter = _parameter_of(function)
    if parameter is None or not (several or parameter.default is parameter.empty):
        return function
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return lambda *args: function(*args, index)
    return partial(function, **{LOADER_INDEX: index})


def _parameter_of(function: AnyCallable) -> inspect.Parameter | None:
    try:
        return inspect.signature(function).parameters.get(LOADER_INDEX)
    except (TypeError, ValueError):  # written in C: it cannot be asked
        return None
