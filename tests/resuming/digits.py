"""A fit on digits to be killed: `python digits.py FOLDER HOW` goes on from what is in the folder.

`HOW` is `saving` or `saving beside` (every few batches, the latter while the run goes on), or `signal`
(when SIGTERM comes).  After each batch it prints the epoch, the batch, the step and the loss, and waits for a
byte; without one to come it goes on alone.  At the end it prints a checksum of everything.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.resuming.recording import fingerprint
from typedloops import Callback, Trainer, TrainerView, seed_everything
from typedloops.loops.run.computing.rng import RngStates

EPOCHS, BATCHES, SIZE = 3, 22, 16
EVERY = 3

Batch = list[Tensor]


class Noisy(Dataset[tuple[Tensor, int]]):
    """Digits, each time with another noise, which is drawn where they are loaded."""

    def __init__(self) -> None:
        data = load_digits()
        self.images = torch.as_tensor(data.data[: BATCHES * SIZE - 5], dtype=torch.float32).div(16)
        self.labels = data.target.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index] + 0.1 * torch.rand(64) + 0.1 * random.random(), self.labels[index]


class Classifier(nn.Module):
    """Two layers, each with its own optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3))
        self.second = nn.Linear(32, 10)

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.second(self.first(batch[0])), batch[1])

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch)}

    def configure_optimizers(self) -> Any:
        first = torch.optim.AdamW(self.first.parameters(), lr=0.01)
        second = torch.optim.SGD(self.second.parameters(), lr=0.05, momentum=0.9)
        rate = torch.optim.lr_scheduler.OneCycleLR(first, 0.02, total_steps=EPOCHS * BATCHES)
        return [first, second], [{"scheduler": rate, "interval": "step"}]


class Telling(Callback[Classifier, Batch]):
    """Prints a line for each batch, waits for an answer, and saves.

    Args:
        path: Where to save.
        how: When to save.
    """

    def __init__(self, path: Path, how: str) -> None:
        self.path, self.how = path, how
        self.save_on_signals: Collection[int] = (signal.SIGTERM,) if how == "signal" else ()

    def path_for_signal(self, trainer: TrainerView, signum: int) -> Path:
        return self.path

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        loss = float(outputs.detach()).hex()
        print(trainer.current_epoch, batch_idx, trainer.global_step, loss, fingerprint(batch), flush=True)
        os.read(sys.stdin.fileno(), 1)
        if batch_idx % EVERY == EVERY - 1 and self.how != "signal":
            trainer.save_checkpoint(self.path, asynchronous=self.how == "saving beside")

    def on_fit_end(self, trainer: TrainerView, module: Classifier) -> None:
        states = [optimizer.state_dict() for optimizer in trainer.optimizers]
        everything = [dict(module.state_dict()), states, dict(trainer.metrics), RngStates().state_dict()]
        print("end", fingerprint(everything), flush=True)


def main(folder: Path, how: str) -> None:
    """Fit, or go on with it."""
    torch.set_num_threads(1)
    path = folder / "last"
    # Other random numbers each time: those of the fit are in the checkpoint.
    seed_everything(os.getpid() if path.exists() else 1)
    data = Noisy()
    train = DataLoader(data, batch_size=SIZE, shuffle=True, num_workers=2)
    trainer = Trainer(
        max_epochs=EPOCHS,
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
        val_check_interval=8,
        callbacks=[Telling(path, how)],
    )
    trainer.fit(Classifier(), train, DataLoader(data, batch_size=64), ckpt_path=path if path.exists() else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
