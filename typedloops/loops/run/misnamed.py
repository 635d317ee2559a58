"""Methods that look like hooks and that nothing ever calls."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from typedloops.loops.run.listeners import ARGUMENTS, is_placeholder

FORMER = {
    "on_epoch_start": "on_train_epoch_start",
    "on_epoch_end": "on_train_epoch_end",
    "on_batch_start": "on_train_batch_start",
    "on_batch_end": "on_train_batch_end",
    "training_epoch_end": "on_train_epoch_end",
    "validation_epoch_end": "on_validation_epoch_end",
    "test_epoch_end": "on_test_epoch_end",
    "predict_epoch_end": "on_predict_epoch_end",
}
"""Hooks of former releases of Lightning, with those that took their place."""

SIMILARITY = 0.9
"""How alike two names are at least (`difflib`'s ratio) for one to be a slip for the other."""


def warn_of_misnamed_hooks(things: Collection[object]) -> None:
    """Warn of each method of callbacks or modules whose name is nearly that of a hook.

    Args:
        things: The callbacks and the module of a run.
    """
    for thing in things:
        for owner, name in _methods(type(thing)):
            if meant := _meant(name):
                warnings.warn(
                    f"{owner.__name__}.{name}: nothing calls a hook of this name. Did you mean `{meant}`? "
                    "Rename it, or start its name with an underscore.",
                    UserWarning,
                    stacklevel=2,
                )


def _methods(kind: type[object]) -> Iterator[tuple[type[object], str]]:
    for owner in kind.__mro__:
        if not is_placeholder(owner):
            yield from ((owner, name) for name, value in vars(owner).items() if callable(value))


def _meant(name: str) -> str | None:
    if name in ARGUMENTS or not (name.startswith("on_") or name in FORMER):
        return None
    close = get_close_matches(name, ARGUMENTS, n=1, cutoff=SIMILARITY)
    return FORMER.get(name) or (close[0] if close else None)
