"""The validations within one epoch."""

from __future__ import annotations

from time import monotonic

from typedloops._core import BatchProgress
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.settings.cadence import Cadence


class Validations:
    """When to validate within an epoch.

    Args:
        context: The fit, which knows when it last validated.
        cadence: What the settings say.
        every: After how many batches, or None for by time.
        progress: The batches; a cadence across epochs looks at all of them.
    """

    def __init__(self, context: RunContext, cadence: Cadence, every: int | None, progress: BatchProgress) -> None:
        self._context = context
        self._every = every
        self._seconds = cadence.seconds
        self._counter = progress.total if cadence.epochs is None else progress.current

    @property
    def batches_to_go(self) -> int:
        """After how many batches it is to be asked next whether a validation is due."""
        return 1 if self._every is None else self._every - self._counter.completed % self._every

    @property
    def due(self) -> bool:
        """Whether to validate after the batch that was just completed."""
        if self._seconds is not None:
            return monotonic() - self._context.validated_at >= self._seconds
        return self._every is not None and self._counter.completed % self._every == 0

    @property
    def comes_next(self) -> bool:
        """Whether to validate after the batch that is about to be completed."""
        return self.due if self._every is None else self.batches_to_go == 1
