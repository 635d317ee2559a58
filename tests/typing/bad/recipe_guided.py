# pyright: reportUnknownMemberType=false
"""Modules and loaders that do not go with a guided step."""

from __future__ import annotations

from torch import Tensor

from tests.typing.good.models import Batch, Classifier, batches
from tests.typing.good.recipe_guided import Clean, Guided, pairs, trainer
from typedloops import CombinedLoader, FitLoopOf, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.guided import GuidedLoop

model, data = Guided(), batches()


class Unguided(Guided):
    def guiding_loss(self, batch: int, batch_idx: int) -> Tensor:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.net.weight.sum()


trainer.fit(Classifier(), pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(Unguided(), pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(model, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(model, CombinedLoader((data, data), "max_size_cycle"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
output: Tensor | None = trainer.fit(model, pairs).last_output  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
GuidedLoop[Batch, Clean](1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
other = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(GuidedLoop[Batch, int]())))
other.run(model, CombinedLoader((data, [1]), "max_size_cycle"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
