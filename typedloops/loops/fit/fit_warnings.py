"""What a fit says of a run in which something seems to be forgotten."""

from __future__ import annotations

import warnings

from typedloops.loops.run.context import RunContext


def warn_of_precision(context: RunContext, batches: int) -> None:
    """Say that a precision was asked for that the loop which trains knows nothing of.

    Args:
        context: The fit.
        batches: How many batches it has trained on.
    """
    if context.number_type.mixed and not context.asked_for_precision and batches:
        warnings.warn(
            f"precision is {context.number_type.name!r}, and the loop that trains did not ask for it. Let it call "
            "`self.in_precision(model.training_step)`.",
            UserWarning,
            stacklevel=2,
        )


def warn_of_idleness(where: str, context: RunContext, batches: int, *, loops_step: bool) -> None:
    """Say that an epoch took no optimizer step, where the loops take them.

    Args:
        where: What to call the fit.
        context: The fit.
        batches: How many batches the epoch had.
        loops_step: Whether a loop is there that takes steps.
    """
    optimization = context.optimization
    loops_step = loops_step and optimization.automatic
    if loops_step and optimization.optimizers and batches and not context.stop.flag.requested:
        skipped = optimization.skipped.total.completed > 0
        warnings.warn(
            f"{where}: an epoch of {batches} batches took no optimizer step. "
            + ("Every gradient overflowed." if skipped else "Does the training step return its loss?"),
            UserWarning,
            stacklevel=2,
        )
