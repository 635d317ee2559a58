"""A `connect` with a signature."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

from typing_extensions import ParamSpec

from typedloops.loops.base.node import LoopNode

P = ParamSpec("P")


def typed_connect(declared: Callable[P, None]) -> Callable[P, None]:
    """Makes the `connect` of a loop class out of its signature.

    ```
    class Folds(Loop[[Data], Score]):
        fit_loop: Slot[FitLoop] = Slot()

        @typed_connect
        def connect(self, *, fit_loop: FitLoop | None = None) -> None:
            \"""Put loops into the slots; None leaves a slot as it is.\"""
    ```

    Every loop can be connected without this; only a type checker does not know its slots.

    Args:
        declared: A method that does nothing, whose keywords are the names of slots.

    Returns:
        The method that fills those slots.  It raises `LoopTreeError` for a name that is none.
    """

    @functools.wraps(declared)
    def connect(*args: P.args, **kwargs: P.kwargs) -> None:
        (loop,) = args
        cast("LoopNode", loop).put_in_slots(kwargs)

    return connect
