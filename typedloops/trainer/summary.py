"""What a trainer remembers of a run that is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from typing_extensions import Self

from typedloops.loops.run.context import RunContext


@dataclass(frozen=True)
class RunSummary:
    """Figures only: neither the module nor anything else of the run is kept alive."""

    epoch: int = 0
    max_epochs: int | None = None
    steps: int = 0
    skipped_steps: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, context: RunContext) -> Self:
        return cls(
            context.epoch,
            context.max_epochs,
            context.optimization.steps.total.completed,
            context.optimization.skipped.total.completed,
            context.current_metrics(),
        )
