"""Learning to reweight: 40 % of the labels name the next digit, and 60 digits with right labels tell which.

The weight of each example is how much a step on it would help on the clean ones (Ren, Zeng, Yang, Urtasun: Learning to
Reweight Examples for Robust Deep Learning, ICML 2018, https://arxiv.org/abs/1803.09050).

    python examples/noisy_labels.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from typedloops import BatchLoader, CombinedLoader, FitLoopOf, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.guided import GuidedLoop, GuidedOutput

Labelled = tuple[Tensor, Tensor, Tensor]
"""Images of shape (B, 64), labels (B,), and which of these are wrong (B,): nothing learns from the last."""


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        self.weight_of_wrong: list[float] = []

    def training_losses(self, batch: Labelled, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1], reduction="none")

    def guiding_loss(self, batch: Labelled, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Labelled, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def test_step(self, batch: Labelled, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": (self.net(batch[0]).argmax(1) == batch[1]).float().mean()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Guided(Classifier):
    def on_train_batch_end(self, outputs: GuidedOutput, batch: tuple[Labelled, Labelled], batch_idx: int) -> None:
        self.weight_of_wrong.append(float(outputs["weights"][batch[0][2]].sum()))


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # in nets this small, threads only wait for one another
    digits = load_digits()
    image_BP, digit_B = torch.as_tensor(digits.data, dtype=torch.float32).div(16), torch.as_tensor(digits.target)
    wrong_B = torch.rand(len(digit_B)) < 0.4
    given_B = torch.where(wrong_B, (digit_B + 1) % 10, digit_B)
    clean, noisy, test = torch.randperm(len(digit_B)).split([60, 1237, 500])
    right = torch.zeros_like(wrong_B)

    def loader(indices: Tensor, label_B: Tensor, wrong_B: Tensor, size: int) -> BatchLoader[Labelled]:
        dataset = TensorDataset(image_BP[indices], label_B[indices], wrong_B[indices])
        return BatchLoader(dataset, batch_size=size, shuffle=True)

    test_loader = loader(test, digit_B, right, 100)
    noisy_loader, clean_loader = loader(noisy, given_B, wrong_B, 100), loader(clean, digit_B, right, 60)

    both, few = Classifier(), Classifier()
    Trainer(max_epochs=80).fit(both, CombinedLoader([noisy_loader, clean_loader], "sequential"))
    Trainer(max_epochs=400).fit(few, clean_loader)

    guided = Guided()
    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(GuidedLoop[Labelled, Labelled]())))
    trainer = Trainer(max_epochs=80, fit_loop=tree)
    print(trainer.fit_loop.tree())
    trainer.fit(guided, CombinedLoader((noisy_loader, clean_loader), "max_size_cycle"))
    share = sum(guided.weight_of_wrong) / len(guided.weight_of_wrong)
    print(f"wrong labels: {float(wrong_B[noisy].float().mean()):.2f}, their share of the weights: {share:.2f}")
    told = [f"{trainer.test(model, test_loader).metrics['accuracy']:.3f}" for model in (both, few, guided)]
    print(f"test accuracy: all labels {told[0]}, right labels alone {told[1]}, guided {told[2]}")


if __name__ == "__main__":
    main()
