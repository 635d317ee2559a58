"""What steps and hooks are given if they ask for it, by a parameter of its name: an index among several."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from functools import partial

from typedloops._core.calls import AnyCallable

LOADER_INDEX = "dataloader_idx"
"""The parameter by which a step or a hook asks which of the loaders its batch is from."""

OPTIMIZER_INDEX = "optimizer_idx"
"""The parameter by which a step or a hook asks which of the optimizers is at work."""

MAY_ASK: dict[str, str] = {
    **{f"{phase}_step": LOADER_INDEX for phase in ("validation", "test", "predict")},
    **{
        f"on_{phase}_batch_{edge}": LOADER_INDEX
        for phase in ("validation", "test", "predict")
        for edge in ("start", "end")
    },
    "on_before_zero_grad": OPTIMIZER_INDEX,
    "on_before_optimizer_step": OPTIMIZER_INDEX,
    "optimizer_step": OPTIMIZER_INDEX,
    "optimizer_zero_grad": OPTIMIZER_INDEX,
    "configure_gradient_clipping": OPTIMIZER_INDEX,
    "lr_scheduler_step": OPTIMIZER_INDEX,
}
"""The steps and hooks that may ask, whoever calls them, and for what."""


def check_call(
    name: str, signature: inspect.Signature, arguments: Sequence[str], may_ask: Collection[str] = ()
) -> None:
    """Raise TypeError unless what has this signature can be called with `arguments`, and with what it asks for.

    Args:
        name: The step or hook.
        signature: Its signature.
        arguments: The names of what it is given besides.
        may_ask: What it may ask for here, besides what it may everywhere.
    """
    allowed = {*may_ask, MAY_ASK[name]} if name in MAY_ASK else set(may_ask)
    given, by_name = list(arguments), dict[str, object]()
    for place, parameter in enumerate(signature.parameters.values()):
        if parameter.name in allowed and _is_positional(parameter, place, len(given)):
            given.insert(place, parameter.name)
        elif parameter.name in allowed:
            by_name[parameter.name] = 0
    signature.bind(*given, **by_name)


def given_index(function: AnyCallable, name: str, index: int, count: int, *, several: bool) -> AnyCallable:
    """`function` with an index filled in if it asks for it, wherever in its signature that is.

    Args:
        function: A step or a hook.
        name: The parameter by which it asks.
        index: What it is given.
        count: How many arguments it is called with besides.
        several: Whether there are several; of one, only a function that cannot be called without the index is told.
    """
    place, parameter = _parameter_of(function, name)
    if parameter is None or not (several or parameter.default is parameter.empty):
        return function
    if _is_positional(parameter, place, count):
        return _Inserting(function, place, index)
    return partial(function, **{name: index})


def asks_for(function: AnyCallable, name: str) -> bool:
    """Whether `function` has a parameter of this name."""
    return _parameter_of(function, name)[1] is not None


def needs(function: AnyCallable, name: str) -> bool:
    """Whether `function` cannot be called without a parameter of this name."""
    parameter = _parameter_of(function, name)[1]
    return parameter is not None and parameter.default is parameter.empty


class _Inserting:
    """Calls a function with one argument more, before those that come after it in the signature."""

    def __init__(self, function: AnyCallable, place: int, value: object) -> None:
        self.__wrapped__: AnyCallable = function
        self._place = place
        self._value = value

    def __call__(self, *args: object) -> object:
        return self.__wrapped__(*args[: self._place], self._value, *args[self._place :])


def _is_positional(parameter: inspect.Parameter, place: int, count: int) -> bool:
    """Whether an argument has to be given by its place: others come after it, or it has no name."""
    if parameter.kind is parameter.KEYWORD_ONLY:
        return False
    return place < count or parameter.kind is parameter.POSITIONAL_ONLY


def _parameter_of(function: AnyCallable, name: str) -> tuple[int, inspect.Parameter | None]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C: it cannot be asked
        return 0, None
    place = next((place for place, other in enumerate(parameters) if other == name), 0)
    return place, parameters.get(name)
