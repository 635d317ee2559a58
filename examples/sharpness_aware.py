"""Sharpness-aware minimization: one leaf of the tree replaced, everything else as it is.

Each step looks for the weights nearby where the loss is worst, and goes down from there
(Foret, Kleiner, Mobahi, Neyshabur: Sharpness-Aware Minimization for Efficiently Improving
Generalization, ICLR 2021, https://arxiv.org/abs/2010.01412).

    python examples/sharpness_aware.py
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from typedloops import FitLoopOf, Loop, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.demo import Batch, DigitClassifier, loaders


class SharpnessAwareLoop(Loop[[DigitClassifier, Batch, int], Tensor]):
    """Optimizes the module on one batch, with two passes over it.

    Args:
        radius: How far away the worst weights are looked for.

    Its output is the loss at the weights themselves.
    """

    def __init__(self, radius: float = 0.05) -> None:
        self.radius = radius
        self.loss: Tensor | None = None

    @property
    def done(self) -> bool:
        return self.loss is not None

    def reset(self) -> None:
        self.loss = None

    def advance(self, model: DigitClassifier, batch: Batch, batch_idx: int) -> None:
        (optimizer,) = self.trainer.optimizers
        optimizer.zero_grad()
        loss = model.training_step(batch, batch_idx)
        loss.backward()
        with moved_uphill(model.parameters(), self.radius):
            optimizer.zero_grad()
            model.training_step(batch, batch_idx).backward()
        optimizer.step()
        self.loss = loss

    def on_run_end(self) -> Tensor:
        assert self.loss is not None
        return self.loss


@contextmanager
def moved_uphill(parameters: Iterable[nn.Parameter], radius: float) -> Generator[None]:
    """For a while, the parameters are `radius` further in the direction of their gradients."""
    moved = [(parameter, parameter.detach().clone(), parameter.grad) for parameter in parameters]
    norm = torch.stack([gradient.norm() for _, _, gradient in moved if gradient is not None]).norm()
    with torch.no_grad():
        for parameter, _, gradient in moved:
            if gradient is not None:
                parameter.add_(gradient * (radius / norm.clamp_min(1e-12)))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before, _ in moved:
                parameter.copy_(before)


def main() -> None:
    torch.manual_seed(0)
    train, val, test = loaders()
    model = DigitClassifier()
    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(SharpnessAwareLoop())))
    trainer = Trainer(max_epochs=6, fit_loop=tree)
    print(trainer.fit_loop.tree())
    result = trainer.fit(model, train, val)  # mypy: FitResult[Tensor]; another kind of module is an error
    print(f"optimizer steps: {result.optimizer_steps}, validation loss: {result.metrics['val_loss']:.3f}")
    print(f"test accuracy: {trainer.test(model, test).metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
