"""A weight decay for each pixel, learnt on validation data: half of the pixels are noise, which only that data tells.

Each step of the decays follows the gradient of the validation loss through a step of the weights (Luketina, Berglund,
Greff, Raiko: Scalable Gradient-Based Tuning of Continuous Regularization Hyperparameters, ICML 2016,
https://arxiv.org/abs/1511.06727).

    python examples/learned_regularization.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from typedloops import BatchLoader, CombinedLoader, FitLoopOf, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.bilevel import BilevelLoop

Batch = tuple[Tensor, Tensor]
PIXELS = 64


class Regularized(nn.Module):
    """A linear classifier of digits beside which there are as many pixels of noise."""

    def __init__(self, log_decay: float, rate_of_decays: float = 0.0) -> None:
        super().__init__()
        self.rate_of_decays = rate_of_decays
        self.net = nn.Linear(2 * PIXELS, 10)
        self.log_decay_P = nn.Parameter(torch.full((2 * PIXELS,), log_decay))

    def inner_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        decay: Tensor = self.log_decay_P.exp() * self.net.weight.square().sum(0)
        return self.outer_loss(batch, batch_idx) + decay.sum()

    def outer_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        logits_BC: Tensor = self.net(batch[0])
        return {"accuracy": (logits_BC.argmax(1) == batch[1]).float().mean()}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        weights = torch.optim.SGD(self.net.parameters(), lr=0.1)
        return [weights, torch.optim.Adam([self.log_decay_P], lr=self.rate_of_decays)]


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # in nets this small, threads only wait for one another
    digits = load_digits()
    image_BP, digit_B = torch.as_tensor(digits.data, dtype=torch.float32).div(16), torch.as_tensor(digits.target)
    image_BP = torch.cat([image_BP, torch.randn(len(digit_B), PIXELS)], dim=1)
    train, val, test = torch.randperm(len(digit_B)).split([150, 300, 1347])

    def loader(indices: Tensor, size: int) -> BatchLoader[Batch]:
        return BatchLoader(TensorDataset(image_BP[indices], digit_B[indices]), batch_size=size, shuffle=True)

    # Where the decays are fixed, the weights may learn on the validation data as well.
    separate = CombinedLoader((loader(train, 50), loader(val, 100)), "max_size_cycle")
    together = CombinedLoader((loader(torch.cat([train, val]), 150), loader(val, 100)), "max_size_cycle")
    trials = [(Regularized(log_decay), together) for log_decay in (-7.0, -5.0, -3.0)]
    trials.append((Regularized(-5.0, rate_of_decays=0.1), separate))

    trainer = Trainer(
        max_epochs=150, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(BilevelLoop[Batch, Batch]())))
    )
    print(trainer.fit_loop.tree())
    accuracies: list[float] = []
    for model, loaders in trials:
        trainer.fit(model, loaders)
        accuracies.append(trainer.test(model, loader(test, 1347)).metrics["accuracy"])
        pixels, noise = model.log_decay_P.detach().exp().split(PIXELS)
        print(f"decay of pixels {pixels.median():.4f}, of noise {noise.median():.4f}: accuracy {accuracies[-1]:.3f}")
    *fixed, learnt = accuracies
    print(f"test accuracy: best of fixed decays {max(fixed):.3f}, learnt decays {learnt:.3f}")


if __name__ == "__main__":
    main()
