"""The main job on real data: handwritten digits, from the loop tree to the test accuracy.

Run it with `python -m typedloops.demo`; it needs the extra `demo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from typedloops import BatchLoader, EvaluationResult, FitResult, Trainer
from typedloops.callbacks import ProgressBar
from typedloops.callbacks.extras import require

if TYPE_CHECKING:
    from rich.console import Console

Batch = tuple[Tensor, Tensor]


class DigitClassifier(nn.Module):
    """A small convolutional network for 8x8 images of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.net: nn.Sequential = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(64, 10),
        )

    def forward(self, image_B1HW: Tensor) -> Tensor:
        logits_BC: Tensor = self.net(image_B1HW)
        return logits_BC

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        image_B1HW, digit_B = batch
        return nn.functional.cross_entropy(self(image_B1HW), digit_B)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        image_B1HW, digit_B = batch
        logits_BC: Tensor = self(image_B1HW)
        return {
            "val_loss": nn.functional.cross_entropy(logits_BC, digit_B),
            "val_accuracy": (logits_BC.argmax(1) == digit_B).float().mean(),
        }

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        image_B1HW, digit_B = batch
        logits_BC: Tensor = self(image_B1HW)
        return {"accuracy": (logits_BC.argmax(1) == digit_B).float().mean()}

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits_BC: Tensor = self(batch[0])
        return logits_BC.argmax(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def loaders() -> tuple[BatchLoader[Batch], BatchLoader[Batch], BatchLoader[Batch]]:
    """Training, validation and test loaders over scikit-learn's 1,797 handwritten digits."""
    require("sklearn", "demo", "the demo")
    from sklearn.datasets import load_digits

    digits = load_digits()
    image_B1HW = torch.as_tensor(digits.images, dtype=torch.float32).div(16).unsqueeze(1)
    digit_B = torch.as_tensor(digits.target)
    order_B = torch.randperm(len(digit_B), generator=torch.Generator().manual_seed(0))
    train_B, val_B, test_B = order_B[:1197], order_B[1197:1497], order_B[1497:]

    def loader(indices_B: Tensor, shuffle: bool = False) -> BatchLoader[Batch]:
        return BatchLoader(TensorDataset(image_B1HW[indices_B], digit_B[indices_B]), batch_size=32, shuffle=shuffle)

    return loader(train_B, shuffle=True), loader(val_B), loader(test_B)


def main() -> None:
    require("rich", "demo", "the demo")
    from rich.console import Console

    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    console = Console()
    train, val, test = loaders()
    model = DigitClassifier()
    trainer = Trainer(max_epochs=12, callbacks=[ProgressBar(console)])

    console.print(trainer.fit_loop.tree())
    fit = trainer.fit(model, train, val)
    trainer.validate(model, val)
    tested = trainer.test(model, test)
    predictions = torch.cat(trainer.predict(model, test))

    show(console, fit, tested, predictions)
    console.print(f"test accuracy: {tested.metrics['accuracy']:.3f}", highlight=False)


def show(console: Console, fit: FitResult[Tensor], tested: EvaluationResult, predictions_B: Tensor) -> None:
    """The results as a table."""
    from rich.table import Table

    table = Table("result", "value", title="handwritten digits")
    table.add_row("stop reason", str(fit.stop_reason))
    table.add_row("epochs", str(fit.epochs))
    table.add_row("batches", str(fit.batches))
    table.add_row("optimizer steps", str(fit.optimizer_steps))
    for name, value in {**fit.metrics, **tested.metrics}.items():
        table.add_row(name, f"{value:.4f}")
    table.add_row("digits predicted", str(len(predictions_B)))
    console.print(table)


if __name__ == "__main__":
    main()
