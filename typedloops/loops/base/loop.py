"""The base class of those who write a loop."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from inspect import isfunction
from types import MappingProxyType
from typing import ClassVar, Generic, cast

from typing_extensions import ParamSpec, TypeVar

from typedloops._core import Iterations, run_loop
from typedloops._core.contract import ITERATION
from typedloops._core.shapes import Items
from typedloops.errors import ConfigurationError
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.promise import may_be_none, name_of_type, promised_result
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.base.state import collect_state, load_state

P = ParamSpec("P")
R = TypeVar("R", default=None)

CONTRACT = frozenset({*ITERATION, "done", "run", "skip", "on_skip", "reset", "on_run_start", "on_run_end"})


class Loop(LoopNode, Generic[P, R], metaclass=ABCMeta):
    """A loop: `P` are the inputs of a run, `R` is its output.

    ```
    run(*args, **kwargs) -> R:
        if skip: return on_skip()
        reset()
        on_run_start(*args, **kwargs)
        while not done:
            on_advance_start(*args, **kwargs)
            advance(*args, **kwargs)          # StopIteration here = break (on_advance_end is not called)
            on_advance_end()
            restarting = False               # after the first iteration
        restarting = False
        return on_run_end()
    ```

    `done` and `advance` must be written, and `on_run_end` where `R` is not None; the
    rest is there to be overridden.  Children are declared as `Slot`s, values to save
    in `state_fields`.

    A loop may have `advance_all(*args, **kwargs)`, which does in one call what the
    `while` does in many.  It is used as long as no subclass changes `done`, `advance`,
    `on_advance_start` or `on_advance_end`.

    `StopIteration` ends the loop whose `on_advance_start`, `advance` or
    `on_advance_end` raises it.  `run` never lets one out: from any other method it
    becomes an `EscapedStopIteration`.
    """

    state_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes to save: plain values, or objects with `state_dict` and `load_state_dict`."""

    requires: ClassVar[type[object] | None] = None
    """The Protocol that a module must satisfy to be run by this loop."""

    gives: ClassVar[Mapping[str, Collection[str]]] = MappingProxyType({})
    """By method of the module, what this loop gives it besides if it has a parameter of that name."""

    opens_run: ClassVar[bool] = False
    """Whether `run` itself opens the run of a module, with its setup and teardown; otherwise the trainer does."""

    iteration_unit: ClassVar[str] = "iterations"
    """What an iteration is called where progress is shown, in the plural: `folds`, say."""

    total_iterations: int | None = None
    """How many iterations a run is to have, to be shown; None where that is not known.  It is `done` that ends it."""

    restarting: bool = False
    """Whether state was loaded and no iteration has been completed since; loaded during a run, until that ends."""

    _iterations: object = None

    fused: ClassVar[bool] = False
    """Whether `advance_all` stands for the `while`; worked out for each class."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.fused = _is_fused(cls)
        _check_fields(cls)
        _check_done(cls)
        _check_promise(cls)

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether the run is over.  Reading it changes nothing."""

    @abstractmethod
    def advance(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do one iteration."""

    def advance_all(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do every iteration; only called where a subclass defines it."""
        raise NotImplementedError

    @property
    def completed_iterations(self) -> int:
        """How many iterations of the present or last run are completed.

        It is 0 when a run begins, and what was saved when a run goes on.  A loop with an `advance_all`
        counts by itself: here it is 0.
        """
        held = self._iterations
        return held.completed if isinstance(held, Iterations) and not _counts_itself(self) else 0

    @property
    def run_progress(self) -> RunProgress | None:
        """How far the present or last run has come, as `tree()` and the progress bar show it; None shows nothing."""
        return RunProgress(self.completed_iterations, self.total_iterations, self.iteration_unit)

    def _progress_to_show(self) -> RunProgress | None:
        return None if self._iterations is None or _counts_itself(self) else self.run_progress

    def tell_where(self, error: Exception) -> None:
        """Let an error that leaves this loop say which loops were under way, each with how far it had come."""
        from typedloops.loops.base.whereabouts import add_whereabouts  # where nothing fails, nobody needs it

        add_whereabouts(error, self)

    @property
    def whereabouts(self) -> str:
        """How far the run under way has come, to be told with an error."""
        return "" if self.run_progress is None else f": {self.run_progress} completed"

    @property
    def under_way(self) -> bool:
        """Whether this loop is in the middle of a run."""
        return isinstance(self._iterations, Iterations) and self._iterations.running

    @property
    def unfinished(self) -> bool:
        """Whether the last run has not come to its end: it is under way, or was left by an error."""
        return isinstance(self._iterations, Iterations) and self._iterations.unfinished

    @property
    def skip(self) -> bool:
        """Whether to run at all.  Reading it changes nothing."""
        return False

    def on_skip(self) -> R:
        """What a skipped run returns."""
        return cast("R", None)

    def reset(self) -> None:
        """Make ready for a run."""

    def on_run_start(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Called once, after `reset`."""

    def on_advance_start(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Called before each iteration."""

    def on_advance_end(self) -> None:
        """Called after each iteration that was not left with `StopIteration`."""

    def on_run_end(self) -> R:
        """Called once at the end; what it returns is the output of the run."""
        return cast("R", None)

    def teardown(self) -> None:
        """Called by the trainer when the run has ended, with or without an error."""

    @property
    def run_name(self) -> str:
        """What runs that loops below this one open are called where metrics go.

        Loggers get `val_loss` of a run called `fold_0` as `fold_0/val_loss`; the names of several loops
        above a run are joined.  Everybody else knows metrics by their own names.
        """
        return ""

    def configure_callbacks(self) -> Iterable[object]:
        """Further callbacks for a run that a loop below this one opens.

        Asked for when such a run begins, unless it is within another that has them: they hear the run
        and those within it, after the trainer's own and before the module's, and their states are saved
        with it.
        """
        return ()

    def on_save_checkpoint(self) -> dict[str, object]:
        """Further values to save, under names of your own."""
        return {}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        """Take back what `on_save_checkpoint` returned."""

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run from the beginning, or from where the loaded state says, to the end."""
        return run_loop(self, Loop, *args, **kwargs)

    def state_dict(self) -> dict[str, object]:
        """The state of this loop and of the loops below it.

        Returns:
            `{"version": 1, "loops": {path: {"iterations": n, "fields": {...}, "custom": {...}}}}`,
            with paths relative to this loop, which itself is ".".

        Raises:
            StateError: A field is missing on the loop or holds what cannot be saved.
        """
        return collect_state(self)

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Load what `state_dict` returned; every loop of the tree is `restarting` afterwards.

        Raises:
            StateError: The state has another version, tree or fields.  Nothing is changed then.
        """
        load_state(self, state_dict)


def _counts_itself(loop: LoopNode) -> bool:
    return getattr(type(loop), "advance_all", None) is not Loop.advance_all


def _is_fused(cls: type[object]) -> bool:
    """Whether the class that defines `advance_all` also is the last to define the iteration."""
    mro = cls.__mro__
    owner = {
        name: next(i for i, kind in enumerate(mro) if name in vars(kind))
        for name in (*ITERATION, "done", "advance_all")
    }
    fused = owner.pop("advance_all")
    return mro[fused] is not Loop and all(position >= fused for position in owner.values())


def _check_done(cls: type[object]) -> None:
    if isfunction(vars(cls).get("done")):
        raise ConfigurationError(
            f"{cls.__name__}.done", "it is a method, which is always true", "Write `@property` above it."
        )


def _check_fields(cls: type[object]) -> None:
    for name in ("state_fields", "transient_fields"):
        fields: object = getattr(cls, name, ())
        if not isinstance(fields, tuple) or not all(isinstance(field, str) for field in cast("Items", fields)):
            raise ConfigurationError(
                f"{cls.__name__}.{name}", f"{fields!r} is no tuple of names", f'Write `{name} = ("...",)`.'
            )


def _check_promise(cls: type[object]) -> None:
    promised = promised_result(cls, Loop)
    writes = any(getattr(cls, name, None) is not getattr(Loop, name) for name in ("on_run_end", "run"))
    kept = writes or may_be_none(promised)
    unfinished = any(getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in dir(cls))
    if not kept and not unfinished:
        name = name_of_type(promised)
        raise ConfigurationError(
            cls.__name__,
            f"it promises a result of type {name} and never produces one",
            f"Define `on_run_end(self) -> {name}`, or declare a Loop[..., None].",
        )
