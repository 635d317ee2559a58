"""Meta-learning: a network that fits a sine wave it has never seen, from ten points and one gradient step.

    python examples/sinusoids.py             # some seconds; a larger inner learning rate than published
    python examples/sinusoids.py --full      # the published learning rates, 20,000 iterations of the published 70,000

Each task is a sine wave with an amplitude of 0.1 to 5 and a phase of 0 to pi, seen at ten points between -5 and 5
(Finn, Abbeel, Levine: Model-Agnostic Meta-Learning, ICML 2017, https://arxiv.org/abs/1703.03400, section 5.1).
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from typedloops import BatchLoader, FitLoopOf, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.protocols import StepOutput, TrainingModule
from typedloops.recipes.maml import AdaptationLoop, AdaptationValidationLoop, MetaOptimization, Tasks

Batch = tuple[Tensor, Tensor]
MetaFit = FitLoopOf[TrainingModule[Batch, StepOutput], Tasks[Batch], dict[str, Tensor]]
SHOTS = 10


class Regressor(nn.Module):
    """Two hidden layers of 40 units; nothing in it knows of meta-learning."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
        self.lr = lr

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"mse": self.training_step(batch, batch_idx)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Sinusoids(Dataset[Tasks[Batch]]):
    """Batches of sine waves, each drawn from its own seed.

    Args:
        batches: How many there are.
        tasks: How many waves each has.
        seed: That of the first batch.
    """

    def __init__(self, batches: int, tasks: int, seed: int = 0) -> None:
        self.batches, self.tasks, self.seed = batches, tasks, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Tasks[Batch]:
        generator = torch.Generator().manual_seed(self.seed + index)
        amplitude, phase = torch.rand(2, self.tasks, 1, 1, generator=generator)
        x = 10 * torch.rand(2, self.tasks, SHOTS, 1, generator=generator) - 5
        y = (0.1 + 4.9 * amplitude) * torch.sin(x - torch.pi * phase)
        return Tasks(support=(x[0], y[0]), query=(x[1], y[1]))


def tree(inner_lr: float, *, second_order: bool) -> MetaFit:
    """The tree of a fit that adapts in each batch, and validates by adaptation to tasks that it was not trained on."""
    training = MetaOptimization(AdaptationLoop[Batch](inner_lr, second_order=second_order))
    validation = AdaptationValidationLoop(AdaptationLoop[Batch](inner_lr), steps=(0, 1, 5, 10))
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(training), validation))


def fit(iterations: int, lr: float, inner_lr: float, *, second_order: bool) -> list[float]:
    """The mean squared errors on 600 new waves after 0, 1, 5 and 10 gradient steps."""
    torch.manual_seed(0)
    train: BatchLoader[Tasks[Batch]] = BatchLoader(Sinusoids(iterations, tasks=25), batch_size=None)
    val: BatchLoader[Tasks[Batch]] = BatchLoader(Sinusoids(1, tasks=600, seed=10**9), batch_size=None)
    trainer = Trainer(max_epochs=1, fit_loop=tree(inner_lr, second_order=second_order))
    result = trainer.fit(Regressor(lr), train, val)
    return [result.metrics[f"mse/steps_{steps}"] for steps in (0, 1, 5, 10)]


def main() -> None:
    torch.set_num_threads(1)
    iterations, lr, inner_lr = (20_000, 1e-3, 0.01) if "--full" in sys.argv else (1200, 5e-3, 0.02)
    print(tree(inner_lr, second_order=True).tree())
    print("mean squared error after       0      1      5     10 gradient steps")
    for name, second_order in (("first order", False), ("second order", True)):
        start = time.process_time()
        errors = fit(iterations, lr, inner_lr, second_order=second_order)
        print(
            f"{name:<24}",
            *(f"{error:6.3f}" for error in errors),
            f"  ({time.process_time() - start:.0f} s of one core)",
        )


if __name__ == "__main__":
    main()
