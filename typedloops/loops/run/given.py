"""What the loops around a run give it: further callbacks, and a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from typing_extensions import Protocol, runtime_checkable

from typedloops._core.escape import call
from typedloops.errors import ConfigurationError, UnattachedLoopError
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.listeners import checked_callbacks
from typedloops.loops.run.saving.sources import FindsCheckpoints
from typedloops.loops.run.settings.config import RunConfig


class Around(Protocol):
    """What is asked of the run that a new one is within."""

    @property
    def name(self) -> str: ...
    @property
    def opened_by(self) -> LoopNode: ...


@runtime_checkable
class GivesToRuns(Protocol):
    """A loop that gives something to the runs below it."""

    @property
    def run_name(self) -> str: ...
    def configure_callbacks(self) -> Iterable[object]: ...


def given_callbacks(loop: LoopNode, around: Around | None, *, hosted: bool) -> tuple[object, ...]:
    """The callbacks that the loops between a new run and the one around it give.

    Args:
        loop: The loop that opens the new one.
        around: The run around it, or None.
        hosted: Whether there is a trainer.

    Raises:
        UnattachedLoopError: There are some, and no trainer for them to be called with.
        HookError: One of them is none.
    """
    given: list[object] = []
    for giver in _givers(loop, around):
        callbacks = checked_callbacks(call(giver.configure_callbacks))
        if callbacks and not hosted:
            raise UnattachedLoopError(
                f"{type(giver).__name__}.configure_callbacks",
                "callbacks are called with a trainer, and there is none",
                f"Give its tree to one: Trainer(fit_loop={type(loop.root).__name__}(...)), or give no callbacks.",
            )
        given += callbacks
    return tuple(given)


def given_name(loop: LoopNode, around: Around | None) -> str:
    """What a new run is called where metrics go; empty where no loop around it gives it a name."""
    own = [str(giver.run_name or "") for giver in _givers(loop, around)]
    return "/".join(filter(None, ["" if around is None else around.name, *own]))


def _givers(loop: LoopNode, around: Around | None) -> Iterator[GivesToRuns]:
    """The loops above `loop` from the one that opened the run around it on, that one first."""
    above: list[LoopNode] = []
    node = loop.parent
    while node is not None:
        above.append(node)
        node = None if around is not None and node is around.opened_by else node.parent
    return (node for node in reversed(above) if isinstance(node, GivesToRuns))


def without_savers(callbacks: Sequence[object], config: RunConfig) -> tuple[object, ...]:
    """The callbacks; in a rehearsal without those that save it."""
    return tuple(
        callback for callback in callbacks if not (config.fast_dev_run and isinstance(callback, FindsCheckpoints))
    )


def check_savers(callbacks: Sequence[object]) -> None:
    """Refuse two of those that save a run whose states could be mistaken.

    Raises:
        ConfigurationError: There are two with one key.
    """
    keys: set[str] = set()
    for callback in callbacks:
        key: object = getattr(callback, "state_key", None) if isinstance(callback, FindsCheckpoints) else None
        if isinstance(key, str) and key in keys:
            raise ConfigurationError(
                "callbacks",
                f"two of them are the same: {key}",
                "Give one of them another `filename`: what is known of each is saved by its settings.",
            )
        keys |= {key} if isinstance(key, str) else set()
