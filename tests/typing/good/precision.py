"""A leaf of one's own in the precision of its run: the step keeps its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

from torch import Tensor

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import FitLoopOf, Precision, StepLoop, Trainer, TrainingBatchLoop, TrainingEpochLoop


class Descent(StepLoop[Classifier, Batch, Tensor]):
    """Computes in mixed precision, and steps outside of it."""

    def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        step = self.in_precision(model.training_step)
        assert_type(step(batch, batch_idx), Tensor)
        self.output = self.once(step)(batch, batch_idx)

    def once(self, step: Callable[[Batch, int], Tensor]) -> Callable[[Batch, int], Tensor]:
        """Takes any step."""
        return step


precision: Precision = "bf16-mixed"
trainer = Trainer(
    max_epochs=1, precision=precision, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(Descent())))
)
assert trainer.fit(Classifier(), batches()).skipped_steps == 0
