"""Active learning: 200 labels that the module chooses itself, against 200 at random.

Margin sampling asks for the digits whose two likeliest classes are closest (Scheffer, Decomain, Wrobel: Active
Hidden Markov Models for Information Extraction, 2001).  Both begin with the same 20 labels and the same weights.

    python examples/active_learning.py
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from typedloops import Trainer
from typedloops.recipes.active_learning import (
    Acquisition,
    ActiveLearningLoop,
    KnownLabels,
    TensorPool,
    margin_sampling,
    random_sampling,
)

Batch = tuple[Tensor, Tensor]


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": (self.net(batch[0]).argmax(1) == batch[1]).float().mean()}

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch)
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def accuracies(acquisition: Acquisition[Tensor], seeds: Sequence[int]) -> list[float]:
    """The test accuracies with 200 labels that are chosen so."""
    data = load_digits()
    order_N = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    input_NF = torch.as_tensor(data.data, dtype=torch.float32)[order_N] / 16
    label_N = torch.as_tensor(data.target)[order_N]
    pool, oracle = TensorPool(input_NF[:1200], batch_size=16, predict_batch_size=600), KnownLabels(label_N.tolist())
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = Digits()
        learning = ActiveLearningLoop(acquisition, initial=20, query=20, budget=200)
        trainer = Trainer(max_epochs=15, fit_loop=learning)
        result = trainer.fit(model, pool, oracle)
        tested = trainer.test(model, [(input_NF[1200:], label_N[1200:])])
        print(f"{len(result.rounds)} rounds, {len(result.labels)} labels: {tested.metrics['accuracy']:.3f}")
        found.append(tested.metrics["accuracy"])
    return found


def main() -> None:
    print(ActiveLearningLoop(margin_sampling, initial=20, query=20, budget=200).tree())
    seeds = range(3)
    by_margin, by_chance = accuracies(margin_sampling, seeds), accuracies(random_sampling, seeds)
    means = [sum(each) / len(seeds) for each in (by_margin, by_chance)]
    print(f"200 labels: accuracy {means[0]:.3f} by margin, {means[1]:.3f} at random")


if __name__ == "__main__":
    main()
