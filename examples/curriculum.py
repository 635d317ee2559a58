"""Progressive resizing: digits at 2x2, 4x4 and then 8x8 pixels, each stage until it no longer gets better.

Easy first (Bengio, Louradour, Collobert, Weston: Curriculum Learning, ICML 2009): a batch of small images costs
little, and what is learnt on them is where the next stage begins.

    python examples/curriculum.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from typedloops import BatchLoader, FitLoop, Trainer
from typedloops.recipes.curriculum import CurriculumLoop, CurriculumStage, MetricPlateau

Batch = tuple[Tensor, Tensor]


class Digits(nn.Module):
    """A network for images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": (self.net(batch[0]).argmax(1) == batch[1]).float().mean()}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.003)


def loader(first: int, last: int, size: int, shuffle: bool = False) -> BatchLoader[Batch]:
    """Some of scikit-learn's 1,797 digits in squares of `size` pixels."""
    data = load_digits()
    order_B = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))[first:last]
    image_B1HW = torch.as_tensor(data.images, dtype=torch.float32)[order_B, None] / 16
    image_B1HW = nn.functional.interpolate(image_B1HW, size, mode="area")
    dataset = TensorDataset(image_B1HW, torch.as_tensor(data.target)[order_B])
    return BatchLoader(dataset, batch_size=32, shuffle=shuffle)


def main() -> None:
    torch.manual_seed(0)
    sizes = (2, 4, 8)
    stages = [
        CurriculumStage(
            loader(0, 1000, size, shuffle=True),
            loader(1000, 1300, size),
            until=MetricPlateau("accuracy", "max", patience=2),
            name=f"{size}x{size}",
        )
        for size in sizes
    ]
    trainer = Trainer(fit_loop=CurriculumLoop([FitLoop(max_epochs=15) for _ in sizes]))
    model = Digits()
    for stage in trainer.fit(model, stages):
        print(f"{stage.name}: {stage.epochs} epochs, validation accuracy {stage.metrics['accuracy']:.3f}")
    print(f"test accuracy at 8x8: {trainer.test(model, loader(1300, 1797, 8)).metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
