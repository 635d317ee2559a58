"""Methods that look like hooks and that nothing ever calls."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from types import FunctionType

from typedloops.loops.run.listeners import ARGUMENTS, is_placeholder

FORMER = {
    "on_epoch_start": "on_train_epoch_start",
    "on_epoch_end": "on_train_epoch_end",
    "on_batch_start": "on_train_batch_start",
    "on_batch_end": "on_train_batch_end",
    "predict_epoch_end": "on_predict_epoch_end",
}
"""Hooks of former releases of Lightning, with those that took their place."""

OTHER_WORDS = {
    "begin": "start",
    "finish": "end",
    "training": "train",
    "val": "validation",
    "validate": "validation",
    "prediction": "predict",
    "step": "batch",
}
"""What the parts of a hook's name are called elsewhere."""

SIMILARITY = 0.94
"""How alike two names are at least (`difflib`'s ratio) for one to be a slip for the other."""


def warn_of_misnamed_hooks(things: Collection[object]) -> None:
    """Warn of each method of callbacks or modules whose name is nearly that of a hook, at the place of its code.

    Args:
        things: The callbacks and the module of a run.
    """
    for thing in things:
        for owner, name, function in _methods(type(thing)):
            if meant := meant_hook(name):
                warnings.warn_explicit(
                    f"{owner.__name__}.{name}: no loop calls a hook of this name. Did you mean `{meant}`? "
                    "Rename it, or start its name with an underscore.",
                    UserWarning,
                    function.__code__.co_filename,
                    function.__code__.co_firstlineno,
                )


def _methods(kind: type[object]) -> Iterator[tuple[type[object], str, FunctionType]]:
    for owner in kind.__mro__:
        if not is_placeholder(owner):
            functions = ((name, value) for name, value in vars(owner).items() if isinstance(value, FunctionType))
            yield from ((owner, name, function) for name, function in functions)


def meant_hook(name: str) -> str | None:
    """The hook that was meant by a name that is none, or None when the name is a hook's or nothing like one."""
    if name in ARGUMENTS:
        return None
    if not name.startswith("on_"):
        return FORMER.get(name)
    in_our_words = re.sub("[a-z]+", lambda word: OTHER_WORDS.get(word[0], word[0]), name)
    close = get_close_matches(in_our_words, ARGUMENTS, n=1, cutoff=SIMILARITY)
    return FORMER.get(name) or (close[0] if close else None)
