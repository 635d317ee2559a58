"""Examples weighted by a loss on clean data."""

from __future__ import annotations

from typing import assert_type

from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, batches
from typedloops import CombinedLoader, FitLoopOf, FitResult, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.guided import GuidedLoop, GuidedModule, GuidedOutput

Clean = list[Tensor]
clean: list[Clean] = [[batch[0], batch[1]] for batch in batches()]


class Guided(nn.Module):
    """Its clean batches are of another type than the noisy ones."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_losses(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1], reduction="none")

    def guiding_loss(self, batch: Clean, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


pairs = CombinedLoader((batches(), clean), "max_size_cycle")
assert_type(pairs, CombinedLoader[tuple[Batch, Clean]])
tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(GuidedLoop[Batch, Clean]())), max_epochs=1)
assert_type(tree, FitLoopOf[GuidedModule[Batch, Clean], tuple[Batch, Clean], GuidedOutput])
trainer = Trainer(fit_loop=tree)
result = trainer.fit(Guided(), pairs)
assert_type(result, FitResult[GuidedOutput])
assert result.last_output is not None
assert_type(result.last_output["weights"], Tensor)
