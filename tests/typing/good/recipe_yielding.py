"""A step that yields a loss for each optimizer."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, batches
from typedloops import FitLoopOf, FitResult, LoopProtocol, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.yielding import YieldingModule, YieldLoop

data = batches()


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(2, 4)
        self.discriminator = nn.Linear(4, 1)

    def score(self, image: Tensor) -> Tensor:
        score: Tensor = self.discriminator(image)
        return score.mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        fake: Tensor = self.generator(torch.randn(len(batch[0]), 2))
        yield -self.score(fake)
        yield self.score(fake.detach()) - self.score(batch[0])

    def configure_optimizers(self) -> list[Optimizer]:
        return [SGD(part.parameters(), lr=0.1) for part in (self.generator, self.discriminator)]


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Mapping[str, Tensor] | None, None, None]:
        score: Tensor = self.net(batch[0])
        yield {"loss": score.mean()} if batch_idx else None

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


leaf = YieldLoop[Batch, Tensor](gradient_clip_val=1.0)
tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf)), max_epochs=1)
assert_type(tree, FitLoopOf[YieldingModule[Batch, Tensor], Batch, Tensor])
assert_type(tree.run(Gan(), data), FitResult[Tensor])
trainer = Trainer(fit_loop=tree)
assert_type(trainer.fit(Gan(), data), FitResult[Tensor])
assert_type(
    trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop,
    LoopProtocol[[YieldingModule[Batch, Tensor], Batch, int], Tensor],
)
assert_type(leaf.optim_progress.optimizer_steps, int)

mapped = YieldLoop[Batch, Mapping[str, Tensor] | None]()
of_mapped = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(mapped)), max_epochs=1)
assert_type(of_mapped.run(Mapped(), data).last_output, Mapping[str, Tensor] | None)

# What a default tree's slot takes; what its root asks of a module stays as it was.
default = Trainer(max_epochs=1)
default.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=YieldLoop())
assert_type(default, Trainer)
