"""Two sets of parameters that learn on two loaders."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, batches
from typedloops import CombinedLoader, FitLoopOf, FitResult, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.bilevel import BilevelLoop, BilevelModule

Other = list[Tensor]
others: list[Other] = [[batch[0], batch[1]] for batch in batches()]


class Decayed(nn.Module):
    """A weight decay that is learnt on batches of another type."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.log_decay = nn.Parameter(torch.zeros(()))

    def inner_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        decay: Tensor = self.log_decay.exp() * self.net.weight.square().sum()
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1]) + decay

    def outer_loss(self, batch: Other, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> list[Optimizer]:
        return [SGD(self.net.parameters(), lr=0.1), SGD([self.log_decay], lr=0.1)]


pairs = CombinedLoader((batches(), others), "max_size_cycle")
leaf = BilevelLoop[Batch, Other](inner_steps=2, unrolled_steps=2, rate=0.1)
tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf)), max_epochs=1)
assert_type(tree, FitLoopOf[BilevelModule[Batch, Other], tuple[Batch, Other], Tensor])
trainer = Trainer(fit_loop=tree)
assert_type(trainer.fit(Decayed(), pairs), FitResult[Tensor])
assert_type(leaf.optim_progress.optimizer_steps, int)
