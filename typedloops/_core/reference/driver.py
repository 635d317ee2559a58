"""`run_loop`: the contract of a loop, for any loop."""

from __future__ import annotations

from typing_extensions import ParamSpec, TypeVar

from typedloops._core.contract import ITERATION, DrivenLoop
from typedloops._core.escape import escaped_from

P = ParamSpec("P")
R = TypeVar("R")


class Iterations:
    """How often a loop has come round.

    Args:
        completed: How many iterations of the present or last run are completed.
        unfinished: Whether that run has not come to its end: it is under way, or was left by an error.
    """

    def __init__(self, completed: int = 0, unfinished: bool = False) -> None:
        self.completed = completed
        self.unfinished = unfinished
        self.running: bool = False
        """Whether the loop is in the middle of a run."""

    def __reduce__(self) -> tuple[type[Iterations], tuple[int, bool]]:
        return Iterations, (self.completed, self.unfinished)


def run_loop(loop: DrivenLoop[P, R], base: type[object], /, *args: P.args, **kwargs: P.kwargs) -> R:
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
    current: object = "skip"
    iterations: Iterations | None = None
    try:
        if loop.skip:
            current = loop.on_skip
            return loop.on_skip()
        iterations = _begin(loop)
        current = loop.reset
        loop.reset()
        current = loop.on_run_start
        loop.on_run_start(*args, **kwargs)
        if loop.fused and ITERATION.isdisjoint(vars(loop)):
            current = loop.advance_all
            loop.advance_all(*args, **kwargs)
        else:
            current = "done"
            _iterate(loop, iterations, *args, **kwargs)
        loop.restarting = False
        current = loop.on_run_end
        result = loop.on_run_end()
        iterations.unfinished = False
        return result
    except StopIteration as stop:
        escaped = escaped_from(_Property(loop, current) if isinstance(current, str) else current)
        loop.tell_where(escaped)
        raise escaped from stop
    except Exception as error:
        loop.tell_where(error)
        raise
    finally:
        if iterations is not None:
            iterations.running = False


def _begin(loop: DrivenLoop[P, object]) -> Iterations:
    """The count of a run that begins, at 0 unless one was loaded."""
    # Protected from loops of one's own, not from what drives them.
    held: object = loop._iterations  # pyright: ignore[reportPrivateUsage]
    if not isinstance(held, Iterations):
        held = loop._iterations = Iterations()  # pyright: ignore[reportPrivateUsage]
    elif not loop.restarting:
        held.completed = 0
    held.running = held.unfinished = True
    return held


def _iterate(loop: DrivenLoop[P, object], iterations: Iterations, /, *args: P.args, **kwargs: P.kwargs) -> None:
    on_advance_start, advance, on_advance_end = loop.on_advance_start, loop.advance, loop.on_advance_end
    iterated = False
    while not loop.done:
        try:
            on_advance_start(*args, **kwargs)
            advance(*args, **kwargs)
            on_advance_end()
        except StopIteration:
            return
        iterations.completed += 1
        if not iterated:
            iterated = True
            loop.restarting = False


class _Property:
    """Lets a property be named as a bound method is."""

    def __init__(self, loop: object, name: str) -> None:
        self.__self__ = loop
        self.__name__ = name
