"""A module that optimizes by itself, with the helpers of `ManualModule`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, batches
from typedloops import FitResult, ManualModule, ManualOptimizer, Trainer
from typedloops.protocols import Scheduler, TrainingModule


class Manual(nn.Module, ManualModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        (first,) = self.optimizers()
        assert_type(self.optimizers(), list[ManualOptimizer])
        assert_type(self.optimizer(0), ManualOptimizer)
        assert_type(first.optimizer, Optimizer)
        assert_type(first.steps, int)
        assert_type(self.lr_schedulers(), list[Scheduler])
        assert_type(first.toggled(), AbstractContextManager[None])
        loss = self.loss(batch)
        with self.toggled(first), self.toggled(first.optimizer):
            first.zero_grad()
            self.manual_backward(loss)
            assert_type(self.clip_gradients(first, 1.0), Tensor | None)
            self.clip_gradients(first.optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="value")
            first.step()
        first.step(lambda: self.loss(batch))
        return loss.detach()

    def loss(self, batch: Batch) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return nn.functional.cross_entropy(logits, batch[1])

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


module: TrainingModule[Batch, Tensor] = Manual()
result = Trainer(max_epochs=1).fit(Manual(), batches())
assert_type(result, FitResult[Tensor])
assert sum(result.steps_by_optimizer) == 2 * len(batches())
assert isinstance(result.last_output, torch.Tensor)
