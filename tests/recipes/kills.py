"""A run of any tree, killed after a batch of training and gone on with by other objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from typedloops import Callback, Trainer, TrainerView

R = TypeVar("R")


class Killed(Exception):
    """The process is thought to end here."""


class KillAfter(Callback[nn.Module]):
    """Saves after so many batches of training, of all fits together, and ends the run there."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path = path
        self.batches = batches
        self.seen = 0

    def on_train_batch_end(
        self, trainer: TrainerView, module: nn.Module, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.seen += 1
        if self.seen == self.batches:
            trainer.save_checkpoint(self.path, when_written=self._kill)

    def _kill(self, path: Path) -> None:
        raise Killed


def killed_and_resumed(
    make_trainer: Callable[..., Any], run: Callable[[Any], R], path: Path, batches: int, *, seed: int = 0
) -> R:
    """What a run comes to that is killed after `batches` batches and gone on with.

    Args:
        make_trainer: Makes a trainer with a new tree; takes `callbacks`.
        run: Runs it from its inputs, all of which it makes anew; gives what is to be compared.
        path: Where the checkpoint is to be.
        batches: After how many batches of training.
        seed: What the uninterrupted run begins with; the one that goes on begins with another.
    """
    seed_all(seed)
    with pytest.raises(Killed):
        run(make_trainer(callbacks=[KillAfter(path, batches)]))
    seed_all(seed + 1000)
    trainer: Trainer = make_trainer(callbacks=[])
    trainer.load_checkpoint(path, exact=True)
    return run(trainer)


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
