"""A `connect` with a signature."""

from __future__ import annotations

import functools
import inspect
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
        def connect(self, *, fit_loop: FitLoop | None = None) -> None: ...
    ```

    Every loop can be connected without this; only a type checker does not know its slots.

    Args:
        declared: A method that does nothing, whose keywords are the names of slots.

    Returns:
        The method that fills those slots.  It raises `LoopTreeError` for a name that is none,
        and TypeError for other arguments that the signature does not take.
    """
    signature = inspect.signature(declared)

    @functools.wraps(declared)
    def connect(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = cast("LoopNode", args[0])
        loop.check_slot_names("connect", kwargs)
        given = signature.bind(*args, **kwargs).arguments
        loop.put_in_slots({name: child for name, child in given.items() if name in loop.slots()})

    return connect
