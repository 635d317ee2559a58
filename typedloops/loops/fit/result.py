"""What a fit returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, cast

from torch import Tensor
from typing_extensions import TypeVar

from typedloops._core.shapes import is_list_or_tuple
from typedloops.loops.fit.stopping import StopReason

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
    """`output` without its graph: a tensor, a dict of the entries of a mapping, or a list or tuple of the items."""
    if isinstance(output, Tensor):
        return cast("S", output.detach())
    if isinstance(output, Mapping):
        entries = cast("Mapping[object, object]", output)
        return cast("S", {name: detached(value) for name, value in entries.items()})
    plain: object = output
    if is_list_or_tuple(plain) and type(plain) in (list, tuple):
        items = [detached(item) for item in plain]
        return cast("S", tuple(items) if isinstance(plain, tuple) else items)
    return output
