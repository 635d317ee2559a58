"""Cross-validation that is killed in its third fold, goes on, and makes an ensemble of its folds.

Breast cancer, 569 cases with 30 measurements each: so few that one split would say little.

    python examples/k_fold.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from typedloops import Callback, ModelCheckpoint, Trainer, TrainerView
from typedloops.recipes.k_fold import BatchLoaders, EnsembleModule, KFoldLoop

Case = tuple[Tensor, Tensor]


class Diagnosis(nn.Module):
    """Learns the scale of the measurements too, of the cases that it trains on and of nothing else."""

    def __init__(self) -> None:
        super().__init__()
        scale = nn.BatchNorm1d(30, affine=False)
        self.net = nn.Sequential(scale, nn.Linear(30, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def forward(self, measured_BM: Tensor) -> Tensor:
        logit_B1: Tensor = self.net(measured_BM)
        return logit_B1.squeeze(1)

    def training_step(self, batch: Case, batch_idx: int) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self(batch[0]), batch[1])

    def validation_step(self, batch: Case, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx), "val_accuracy": accuracy(self(batch[0]), batch[1])}

    def predict_step(self, batch: Case, batch_idx: int) -> Tensor:
        logit_B: Tensor = self(batch[0])
        return logit_B

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def accuracy(logit_B: Tensor, diagnosed_B: Tensor) -> Tensor:
    return ((logit_B > 0) == (diagnosed_B > 0)).float().mean()


def make_module(fold: int) -> Diagnosis:
    return Diagnosis()


class Killed(Exception):
    """Stands for whatever ends a process."""


class Kill(Callback[Diagnosis]):
    """Ends the process in the third of five fits."""

    fits = 0

    def on_train_start(self, trainer: TrainerView, module: Diagnosis) -> None:
        self.fits += 1

    def on_train_batch_start(self, trainer: TrainerView, module: Diagnosis, batch: object, batch_idx: int) -> None:
        if (self.fits, trainer.global_step) == (3, 40):
            raise Killed


def make_trainer(folder: Path, *callbacks: Callback[Diagnosis]) -> Trainer[KFoldLoop]:
    """A trainer as each process makes it."""
    folds = KFoldLoop(StratifiedKFold(5, shuffle=True, random_state=0), keep="best", out_of_fold=True)
    saver = ModelCheckpoint(folder, save_top_k=0, save_last=True)
    return Trainer(max_epochs=12, fit_loop=folds, callbacks=[saver, *callbacks])


def main() -> None:
    data = load_breast_cancer()
    measured_NM = torch.as_tensor(data.data, dtype=torch.float32)
    cases: list[Case] = list(zip(measured_NM, torch.as_tensor(data.target, dtype=torch.float32), strict=True))
    known, unseen, labels = cases[:455], cases[455:], data.target[:455]

    with tempfile.TemporaryDirectory() as folder:
        try:
            make_trainer(Path(folder), Kill()).fit(make_module, known, BatchLoaders(32), labels=labels)
        except Killed:
            print("killed in the third fold; another process goes on")
        trainer = make_trainer(Path(folder))
        trainer.load_checkpoint("last")
        result = trainer.fit(make_module, known, BatchLoaders(32), labels=labels)

    print(trainer.fit_loop.tree())
    print(result)
    out_of_fold = accuracy(result.out_of_fold(), torch.stack([diagnosed for _, diagnosed in known]))
    print(f"accuracy on the {len(known)} cases, each predicted by the module that has not seen it: {out_of_fold:.3f}")
    batch = torch.stack([measured for measured, _ in unseen]), torch.stack([diagnosed for _, diagnosed in unseen])
    (together,) = Trainer().predict(EnsembleModule(result.modules(make_module)), [batch])
    print(f"accuracy of the five together on {len(unseen)} other cases: {accuracy(together, batch[1]):.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
