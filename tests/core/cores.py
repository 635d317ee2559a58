"""A core as one object, typed by the compiled core's stubs: the tests are checked against those too."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from typing_extensions import ParamSpec, TypeVar

if TYPE_CHECKING:
    from typedloops._core.compiled import batches, hooks, progress, transfer
    from typedloops._core.contract import DrivenLoop

P = ParamSpec("P")
R = TypeVar("R")

MODULES = ("progress", "hooks", "driver", "batches", "transfer")


class Core:
    """What the modules of a core offer.

    Args:
        name: Which core: `compiled` or `reference`.
    """

    if TYPE_CHECKING:
        Hook = hooks.Hook
        StopFlag = hooks.StopFlag
        BatchDriver = batches.BatchDriver
        OptimizerStep = batches.OptimizerStep
        BatchTransfer = transfer.BatchTransfer
        ReadyCompleted = progress.ReadyCompleted
        Started = progress.Started
        Processed = progress.Processed
        Progress = progress.Progress
        BatchProgress = progress.BatchProgress
        CallCounter = progress.CallCounter
        DataLoaderProgress = progress.DataLoaderProgress
        SchedulerProgress = progress.SchedulerProgress

        @staticmethod
        def run_loop(loop: DrivenLoop[P, R], base: type[object], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def __init__(self, name: str) -> None:
        self.name = name
        for module in MODULES:
            offered = vars(import_module(f"typedloops._core.{name}.{module}"))
            vars(self).update({key: value for key, value in offered.items() if not key.startswith("_")})
