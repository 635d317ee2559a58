"""The two cores by name, whichever `TYPEDLOOPS_PURE` has chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from benchmarks.workloads import Counting, Loader, NullBatch
from typedloops import Loop

CoreName: TypeAlias = Literal["compiled", "reference"]
Step: TypeAlias = Callable[[NullBatch, int], object]


def run_loop(core: CoreName, loop: Counting) -> int:
    """Run a loop of one's own."""
    if core == "compiled":
        from typedloops._core.compiled.driver import run_loop as compiled_run_loop

        return compiled_run_loop(loop, Loop)
    from typedloops._core.reference.driver import run_loop as reference_run_loop

    return reference_run_loop(loop, Loop)


def drive_batches(core: CoreName, step: Step, loader: Loader[NullBatch]) -> object:
    """Drive the batches of a loader through a step, with every counter and nobody listening."""
    if core == "compiled":
        from typedloops._core.compiled import batches, hooks, progress

        driver = batches.BatchDriver(
            loader, step, progress.BatchProgress(), hooks.StopFlag(), source="loader", length=len(loader)
        )
        return driver.run()
    from typedloops._core.reference import batches as batches_
    from typedloops._core.reference import hooks as hooks_
    from typedloops._core.reference import progress as progress_

    reference_driver = batches_.BatchDriver(
        loader, step, progress_.BatchProgress(), hooks_.StopFlag(), source="loader", length=len(loader)
    )
    return reference_driver.run()
