"""What a fit returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, cast

from typing_extensions import TypeVar

from typedloops.loops.fit.stopping import StopReason
from typedloops.loops.run.hidden import cut

S = TypeVar("S", default=object)


@dataclass(frozen=True)
class FitResult(Generic[S]):
    """What a fit returns; its size does not grow with the steps.

    Args:
        stop_reason: Why it ended.
        epochs: How many epochs were run, one that was left early included.
        batches: How many batches were trained on.
        optimizer_steps: How many steps the optimizers took.
        metrics: The newest value of every metric: the training loss as `train_loss`, the
            other scalars of the training step, everything logged, and the means of the
            last validation.
        skipped_steps: How many steps were left out because a gradient was not finite (`16-mixed`).
        last_output: What the last training step returned, detached; None when none ran.
        steps_by_optimizer: How many steps each optimizer took.
    """

    stop_reason: StopReason
    epochs: int
    batches: int
    optimizer_steps: int
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    last_output: S | None = None
    skipped_steps: int = 0
    steps_by_optimizer: tuple[int, ...] = ()


def detached(output: S) -> S:
    """`output` without its graph: a tensor, or lists, tuples and mappings of such."""
    return cast("S", cut(output))
