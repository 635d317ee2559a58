"""A training process is killed, another goes on, and the weights are those of one that was never killed.

    python examples/killed_and_resumed.py

Three processes train the same model: one from the beginning to the end, one that is killed (`SIGKILL`:
nothing of it can react) in the middle of its second epoch, and one that goes on from the last checkpoint of that.
The digits are shuffled, the model has dropout, gradients are added up over two batches.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from typedloops import Callback, Trainer, TrainerView
from typedloops.callbacks import ModelCheckpoint
from typedloops.demo import Batch, DigitClassifier, loaders


class KillAt(Callback[DigitClassifier, Batch]):
    """Ends this very process before a batch, as a machine that fails would.

    Args:
        batch: Which of all batches, from 1; 0 is none.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.begun = 0

    def on_train_batch_start(self, trainer: TrainerView, module: DigitClassifier, batch: Batch, batch_idx: int) -> None:
        self.begun += 1
        if self.begun == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, kill_at: int, resume: bool) -> None:
    """Train for two epochs, and print a digest of the weights."""
    torch.manual_seed(2 if resume else 1)
    saves = ModelCheckpoint(folder, every_n_train_steps=5, save_last=True)
    model, (train_loader, val_loader, _) = DigitClassifier(), loaders()
    Trainer(max_epochs=2, accumulate_grad_batches=2, callbacks=[saves, KillAt(kill_at)]).fit(
        model, train_loader, val_loader, ckpt_path="last" if resume else None
    )
    print(digest(model.parameters()))


def digest(weights: Iterable[Tensor]) -> str:
    """A short name for the bits of weights."""
    found = hashlib.sha256()
    for weight in weights:
        found.update(weight.detach().numpy().tobytes())
    return found.hexdigest()[:16]


def process(folder: Path, kill_at: int = 0, *, resume: bool = False) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own."""
    arguments = [str(folder), str(kill_at), str(int(resume))]
    return subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=False)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = process(Path(folder, "whole"))
        print("never killed:      ", whole.stdout.strip())
        killed = process(Path(folder, "killed"), kill_at=60)
        print("killed:            ", signal.Signals(-killed.returncode).name, "before batch 60 of 76")
        resumed = process(Path(folder, "killed"), resume=True)
        print("killed and resumed:", resumed.stdout.strip())
        print("the same bits:", whole.stdout == resumed.stdout)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        train(Path(sys.argv[1]), int(sys.argv[2]), bool(int(sys.argv[3])))
