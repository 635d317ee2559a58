
from typing_extensions import ParamSpec, TypeVar, disjoint_base

from typedloops._core.contract import DrivenLoop

_P = ParamSpec("_P")
_R = TypeVar("_R")

@disjoint_base
class Iterations:
    """How often a loop has come round.

    Args:
        completed: How many iterations of the present or last run are completed.
        unfinished: Whether that run has not come to its end: it is under way, or was left by an error.
    """

    completed: int
    unfinished: bool
    running: bool
    """Whether the loop is in the middle of a run."""

    def __init__(self, completed: int = 0, unfinished: bool = False) -> None: ...
    def __reduce__(self) -> tuple[type[Iterations], tuple[int, bool]]: ...

def run_loop(loop: DrivenLoop[_P, _R], base: type[object], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Run `loop` once and return what its `on_run_end` returns.

    ```
    if skip: return on_skip()
    reset()
    on_run_start(*args, **kwargs)
    while not done:
        on_advance_start(*args, **kwargs)
        advance(*args, **kwargs)        # StopIteration here = break (on_advance_end is not called)
        on_advance_end()
        restarting = False               # after the first iteration
    restarting = False
    return on_run_end()
    ```

    The three methods of an iteration are looked up once.  A loop that is `fused`
    runs `advance_all(*args, **kwargs)` in place of the `while`.

    Args:
        loop: What to run.
        base: The class whose `skip`, `on_advance_start` and `on_advance_end` do nothing.
        args: The run's positional inputs, given to every method that takes inputs.
        kwargs: The run's keyword inputs, likewise.

    Raises:
        EscapedStopIteration: A method that is not part of an iteration raised `StopIteration`.
    """
