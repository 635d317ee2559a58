"""The states of callbacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Final

from typedloops._core.shapes import is_mapping
from typedloops.errors import CheckpointError
from typedloops.protocols.state import Stateful

SHOWN: Final = 40
"""How much of what a key has besides the name of a class is shown."""


def states_of(callbacks: Iterable[object]) -> dict[str, object]:
    """The state of each callback that has one, by its key.

    Raises:
        CheckpointError: Two have the same key.
    """
    return {key: dict(callback.state_dict()) for key, callback in _keyed(callbacks).items()}


def load_states_into(where: str, callbacks: Iterable[object], states: Mapping[str, object], *, exact: bool) -> None:
    """Load what `states_of` gave; warns of a state that nobody takes.

    Args:
        where: The checkpoint.
        callbacks: Those that are here.
        states: What it has.
        exact: Whether a state that nobody takes is an error.

    Raises:
        CheckpointError: A state is none, two callbacks have the same key, or exactly it cannot be.
    """
    keyed = _keyed(callbacks)
    if left := [shortened(key) for key in states if key not in keyed]:
        _tell_of(where, left, exact=exact)
    for key, callback in keyed.items():
        if key in states:
            state = states[key]
            if not is_mapping(state):
                raise CheckpointError(
                    f"callback {shortened(key)}", f"its state is {state!r:.60}", "Load an older checkpoint."
                )
            callback.load_state_dict(state)


def shortened(key: str) -> str:
    """A key for people: that of a `ModelCheckpoint` has all its settings after the name of the class."""
    name, brace, settings = key.partition("{")
    return key if len(settings) <= SHOWN else f"{name}{brace}{settings[:SHOWN]}...}}"


def _tell_of(where: str, left: Iterable[str], *, exact: bool) -> None:
    problem = f"it has the states of callbacks that are not here: {', '.join(left)}"
    remedy = "Give the trainer the same callbacks to go on as before."
    if exact:
        raise CheckpointError(where, problem, remedy)
    warnings.warn(f"{where}: {problem}. {remedy}", UserWarning, stacklevel=2)


def _keyed(callbacks: Iterable[object]) -> dict[str, Stateful]:
    found: dict[str, Stateful] = {}
    for callback in callbacks:
        if isinstance(callback, Stateful):
            own: object = getattr(callback, "state_key", None)
            key = own if isinstance(own, str) else f"{type(callback).__module__}.{type(callback).__qualname__}"
            if key in found:
                raise CheckpointError(
                    f"callback {type(callback).__qualname__}",
                    f"another one has the same key, {shortened(key)}, so that their states could be mistaken",
                    "Give each a `state_key`, an attribute or a property: a string of its own.",
                )
            found[key] = callback
    return found
