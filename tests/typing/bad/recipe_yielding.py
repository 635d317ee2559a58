# pyright: reportUnknownMemberType=false
"""Modules and batches that do not go with a step that yields."""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, Classifier, batches
from tests.typing.good.recipe_yielding import Gan
from typedloops import FitLoopOf, OptimizerLoop, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.yielding import YieldLoop

data, model, gan = batches(), Classifier(), Gan()


class Numbers(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Generator[float, None, None]:
        yield 0.0

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class Unoptimized(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        yield batch[0].sum()


tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(YieldLoop[Batch, Tensor]())))
tree.run(model, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.run(Numbers(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.run(Unoptimized(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.run(gan, [1, 2])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(fit_loop=tree).fit(model, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
YieldLoop[Batch, float]()  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
YieldLoop[Batch, Tensor](rate=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Trainer().fit(gan, data)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]
plain = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop[Batch, Tensor]())))
plain.run(gan, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
steps: str = YieldLoop[Batch, Tensor]().optim_progress.optimizer_steps  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
