"""What the library raises.

Two families.  A `MisuseError` is about the caller's code: its message names the
thing, the place and the remedy.  An `InternalError` is a defect of the library.
"""

from __future__ import annotations

from contextlib import suppress

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "EscapedStopIteration",
    "HookError",
    "InternalError",
    "LoaderError",
    "LoopTreeError",
    "MissingCounterError",
    "MissingExtraError",
    "MisuseError",
    "ModuleError",
    "NonFiniteError",
    "OptimizerError",
    "ResumeError",
    "StateError",
    "StepOutputError",
    "TypedLoopsError",
    "UnattachedLoopError",
]


class TypedLoopsError(Exception):
    """The root of everything that the library raises on purpose."""


class InternalError(TypedLoopsError):
    """A defect of the library itself: please report it with the traceback."""


class MisuseError(TypedLoopsError):
    """Something was asked for that cannot be done.

    Args:
        where: The thing or the place, as the reader knows it (`Classifier.training_step`).
        problem: What is wrong with it.
        remedy: What to do about it.
    """

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(where, problem, remedy)
        self.where = where
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.remedy}"


class ConfigurationError(MisuseError, ValueError):
    """A setting of a loop, a tracker or a trainer that can never work."""


class CheckpointError(MisuseError, ValueError):
    """A checkpoint that cannot be written, or is not what was written."""


class HookError(MisuseError, TypeError):
    """A callback or a hook that cannot be called as the loops call it."""


class LoaderError(MisuseError, ValueError):
    """A source of batches that does not give batches."""


class LoopTreeError(MisuseError, ValueError):
    """A loop that cannot be put where it was put."""


class ModuleError(MisuseError, TypeError):
    """A module that does not fit the loops that are to run it."""


class OptimizerError(MisuseError, TypeError):
    """A `configure_optimizers` whose answer cannot be used."""


class NonFiniteError(MisuseError, ArithmeticError):
    """A loss, a gradient or an output that is infinite or not a number."""


class ResumeError(MisuseError, AssertionError):
    """A run that does not go on from a checkpoint as if nothing had happened."""


class StateError(MisuseError, ValueError):
    """A saved state that does not fit the object it is loaded into."""


class StepOutputError(MisuseError, TypeError):
    """A step whose output cannot be trained on."""


class UnattachedLoopError(MisuseError, RuntimeError):
    """A loop that was asked for its trainer and has none."""


class MissingCounterError(MisuseError, TypeError):
    """A progress that was asked for a counter that its trackers do not have."""


class MissingExtraError(MisuseError, ImportError):
    """An optional dependency that is not installed."""


class EscapedStopIteration(MisuseError, RuntimeError):
    """A `StopIteration` that left code in which it has no meaning.

    In a loop's own iteration methods `StopIteration` ends that loop.  Anywhere else
    it would end some loop further out by accident, so it becomes this error, as
    PEP 479 does for generators.
    """


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error that is on its way, unless its class lets nothing be added."""
    with suppress(Exception):
        error.add_note(note)
