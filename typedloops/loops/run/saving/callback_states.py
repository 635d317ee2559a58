"""The states of callbacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping

from typedloops._core.shapes import is_mapping
from typedloops.errors import CheckpointError
from typedloops.protocols.state import Stateful


def states_of(callbacks: Iterable[object]) -> dict[str, object]:
    """The state of each callback that has one, by its key."""
    return {key: dict(callback.state_dict()) for key, callback in _keyed(callbacks)}


def load_states_into(callbacks: Iterable[object], states: Mapping[str, object]) -> None:
    """Load what `states_of` gave; warns of a state that nobody takes.

    Raises:
        CheckpointError: A state is none.
    """
    left = dict(states)
    for key, callback in _keyed(callbacks):
        if key in left:
            state = left.pop(key)
            if not is_mapping(state):
                raise CheckpointError(f"callback {key}", f"its state is {state!r:.60}", "Load an older checkpoint.")
            callback.load_state_dict(state)
    if left:
        warnings.warn(
            f"the checkpoint has the states of callbacks that are not here: {', '.join(left)}. Give the trainer the "
            "same callbacks to go on as before.",
            UserWarning,
            stacklevel=2,
        )


def _keyed(callbacks: Iterable[object]) -> Iterator[tuple[str, Stateful]]:
    counts: dict[str, int] = {}
    for callback in callbacks:
        if isinstance(callback, Stateful):
            own: object = getattr(callback, "state_key", None)
            key = own if isinstance(own, str) else f"{type(callback).__module__}.{type(callback).__qualname__}"
            counts[key] = counts.get(key, 0) + 1
            yield key if counts[key] == 1 else f"{key}#{counts[key]}", callback
