"""A GAN with one coherent step: each yield is a loss, and what follows it runs after that optimizer has stepped.

The generator learns to draw a given digit (Goodfellow et al.: Generative Adversarial Nets, 2014,
https://arxiv.org/abs/1406.2661; Mirza, Osindero: Conditional Generative Adversarial Nets, 2014,
https://arxiv.org/abs/1411.1784).  A classifier that has only seen real digits then says what it draws, and the
drawings go to a file.

    python examples/gan.py [drawings.pgm]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from typedloops import FitLoopOf, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.demo import Batch, DigitClassifier, loaders
from typedloops.recipes.yielding import YieldLoop

NOISE = 16


class Gan(nn.Module):
    """Draws 8x8 images of digits, one of ten kinds each (Z: noise, P: pixels)."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(NOISE + 10, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128), nn.BatchNorm1d(128),
            nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid(),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Linear(64 + 10, 256), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(256, 128), nn.LeakyReLU(0.2),
            nn.Dropout(0.3), nn.Linear(128, 1),
        )  # fmt: skip

    def draw(self, digit_B: Tensor) -> Tensor:
        noise_BZ = torch.randn(len(digit_B), NOISE)
        image_BP: Tensor = self.generator(torch.cat([noise_BZ, one_hot(digit_B, 10)], dim=1))
        return image_BP

    def loss_as(self, real: float, image_BP: Tensor, digit_B: Tensor) -> Tensor:
        logit_B1: Tensor = self.discriminator(torch.cat([image_BP, one_hot(digit_B, 10)], dim=1))
        return binary_cross_entropy_with_logits(logit_B1, torch.full_like(logit_B1, real))

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        image_BP, digit_B = batch[0].flatten(1), batch[1]
        fake_BP = self.draw(digit_B)
        yield self.loss_as(1.0, fake_BP, digit_B)
        yield self.loss_as(0.9, image_BP, digit_B) + self.loss_as(0.0, fake_BP.detach(), digit_B)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            torch.optim.Adam(part.parameters(), lr=1e-3, betas=(0.5, 0.999))
            for part in (self.generator, self.discriminator)
        ]


def write_drawings(path: Path, image_BHW: Tensor, columns: int) -> None:
    """Write images in rows of `columns` as one picture in the format PGM, four pixels for each of theirs."""
    framed_BHW = nn.functional.pad(image_BHW, (1, 1, 1, 1), value=0.5)
    rows = [torch.cat(list(row_CHW), dim=1) for row_CHW in framed_BHW.split(columns)]
    picture = torch.cat(rows).mul(255).byte().repeat_interleave(4, 0).repeat_interleave(4, 1)
    path.write_bytes(b"P5 %d %d 255\n" % (picture.shape[1], picture.shape[0]) + bytes(picture.flatten().tolist()))


def main(path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # in nets this small, threads only wait for one another
    train, val, _ = loaders()
    judge = DigitClassifier()
    accuracy = Trainer(max_epochs=6).fit(judge, train, val).metrics["val_accuracy"]

    gan = Gan()
    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(YieldLoop[Batch, Tensor]())))
    trainer = Trainer(max_epochs=40, fit_loop=tree)
    print(trainer.fit_loop.tree())
    result = trainer.fit(gan, train)
    print(f"steps of generator and discriminator: {result.steps_by_optimizer}")

    digit_B = torch.arange(10).repeat(20)
    with torch.no_grad():
        image_B1HW = gan.eval().draw(digit_B).view(-1, 1, 8, 8)
        probability_BC = judge.eval()(image_B1HW).softmax(1)
    write_drawings(path, image_B1HW[:, 0], columns=20)
    seen = [int((probability_BC.argmax(1)[digit_B == digit] == digit).sum()) for digit in range(10)]
    print(f"drawings: {path}; of 20 of each digit a judge (accuracy {accuracy:.3f}) recognizes {seen}")
    # A generator that always draws the same is recognized as well: pixels are to vary as those of real digits do.
    real_B1HW, real_B = (torch.cat(parts) for parts in zip(*val, strict=True))
    variety = spread(image_B1HW, digit_B) / spread(real_B1HW, real_B)
    print(f"recognized: {sum(seen) / 200:.2f}, variety of real digits: {variety:.2f}")


def spread(image_B1HW: Tensor, digit_B: Tensor) -> Tensor:
    """How far pixels are from their mean over the images of the same digit: a standard deviation, averaged."""
    return torch.stack([image_B1HW[digit_B == digit].std(0).mean() for digit in range(10)]).mean()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir()) / "drawings.pgm")
