"""An evaluation that was resumed in its middle ends with the modes that were there before it began."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.modules import Batch, batches
from typedloops import Callback, Trainer, TrainerView


class Left(Exception):
    """Leaves a run."""


class FrozenNorm(nn.Module):
    """Its batch norm is in eval mode while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 3)
        self.norm.eval()

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.out(self.norm(batch[0])), batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SavesInValidation(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_batch_end(
        self, trainer: TrainerView, module: object, outputs: object, batch: object, batch_idx: int, loader: int = 0
    ) -> None:
        trainer.save_checkpoint(self.path, when_written=self.leave)

    def leave(self, path: Path) -> None:
        raise Left


def modes(module: nn.Module) -> dict[str, bool]:
    return {name: part.training for name, part in module.named_modules()}


def test_a_fit_leaves_frozen_parts_in_eval_mode(tmp_path: Path) -> None:
    with pytest.raises(Left):
        Trainer(max_epochs=2, callbacks=[SavesInValidation(tmp_path / "saved")]).fit(FrozenNorm(), batches(), batches())
    module = FrozenNorm()
    Trainer(max_epochs=2).fit(module, batches(), batches(), ckpt_path=tmp_path / "saved")
    assert modes(module) == {"": True, "norm": False, "out": True}
    assert module.norm.num_batches_tracked is not None
    assert module.norm.num_batches_tracked.item() == 0


def test_a_validation_leaves_a_module_in_train_mode(tmp_path: Path) -> None:
    with pytest.raises(Left):
        Trainer(callbacks=[SavesInValidation(tmp_path / "saved")]).validate(FrozenNorm(), batches())
    module, trainer = FrozenNorm(), Trainer()
    trainer.load_checkpoint(tmp_path / "saved")
    trainer.validate(module, batches())
    assert modes(module) == {"": True, "norm": False, "out": True}
