"""Successive halving: nine configurations begin, the best third of each rung goes on, one is trained to the end.

Each trains as it would alone: those that wait for their turn lose nothing, and those that are stopped cost no more
(Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016,
https://arxiv.org/abs/1502.07943).

    python examples/successive_halving.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from typedloops import Trainer
from typedloops.demo import Batch, loaders
from typedloops.recipes.successive_halving import SuccessiveHalvingLoop


@dataclass(frozen=True)
class Config:
    """What a network is made of.

    Args:
        rate: The learning rate.
        width: How many hidden units.
    """

    rate: float
    width: int


class Network(nn.Module):
    """One hidden layer for 8x8 images of digits."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.rate = config.rate
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, config.width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(config.width, 10)
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        image_B1HW, digit_B = batch
        return nn.functional.cross_entropy(self.net(image_B1HW), digit_B)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        image_B1HW, digit_B = batch
        return {"accuracy": (self.net(image_B1HW).argmax(1) == digit_B).float().mean()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def main() -> None:
    configurations = [Config(rate, width) for rate in (1e-4, 1e-3, 1e-2) for width in (8, 32, 128)]
    torch.set_num_threads(1)  # matrices this small are multiplied faster by one
    torch.manual_seed(0)
    train, val, test = map(list[Batch], loaders())
    trainer = Trainer(fit_loop=SuccessiveHalvingLoop("val_loss", eta=3))
    result = trainer.fit(Network, configurations, train, val)  # mypy: SuccessiveHalvingResult[Config, Network]
    print(trainer.fit_loop.tree())
    print(result)
    print(f"epochs: {result.epochs}, saved: {result.epochs_saved}")

    everything = Trainer(fit_loop=SuccessiveHalvingLoop("val_loss", min_epochs=9, max_epochs=9))
    best = everything.fit(Network, configurations, train, val)
    for name, found in (("halving", result), ("all to the end", best)):
        accuracy = trainer.test(found.best_module, test).metrics["accuracy"]
        print(f"{name}: {found.epochs} epochs, {found.best.configuration}, test accuracy {accuracy:.3f}")
    print(f"the same winner: {result.best.configuration == best.best.configuration}")


if __name__ == "__main__":
    main()
