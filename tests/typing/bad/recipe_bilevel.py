# pyright: reportUnknownMemberType=false
"""Modules and loaders that do not go with two levels."""

from __future__ import annotations

from tests.typing.good.models import Batch, Classifier, batches
from tests.typing.good.recipe_bilevel import Decayed, Other, pairs, trainer
from typedloops import CombinedLoader, FitLoopOf, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.bilevel import BilevelLoop

model, data = Decayed(), batches()


class Shapeless(Decayed):
    def inner_loss(self, batch: Batch, batch_idx: int) -> float:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 0.0


trainer.fit(Classifier(), pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(Shapeless(), pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(model, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(model, CombinedLoader((data, data), "max_size_cycle"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
loss: float | None = trainer.fit(model, pairs).last_output  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
BilevelLoop[Batch, Other]("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
BilevelLoop[Batch, Other](accumulate_grad_batches=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
other = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(BilevelLoop[Batch, int]())))
other.run(model, CombinedLoader((data, [1]), "max_size_cycle"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
