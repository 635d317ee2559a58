"""Fits that go on exactly, at places all over them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from tests.verification.digits import Batch, Digits, in_order, shuffled
from typedloops import HiddenOutput, Stage, Trainer, verify_resume
from typedloops.protocols.module import OptimizerConfig

MANY = 5


class TwoOptimizers(nn.Module):
    """Each with a schedule, of one interval and the other."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 10)

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch)}

    def configure_optimizers(self) -> OptimizerConfig:
        one, other = Adam(self.body.parameters(), lr=0.01), SGD(self.head.parameters(), lr=0.1, momentum=0.9)
        by_step = {"scheduler": StepLR(one, 3), "interval": "step"}
        return [one, other], [by_step, {"scheduler": CosineAnnealingLR(other, 5), "interval": "epoch"}]


class OnPlateau(Digits):
    @override
    def configure_optimizers(self) -> OptimizerConfig:
        optimizer = Adam(self.parameters(), lr=0.01)
        plateau = ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}


class WithMetric(Digits):
    """What it logs at the end of a validation is added up from batch to batch."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(10)
        self.trained = MulticlassAccuracy(10)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.trained.update(self.net(batch[0]), batch[1])
        self.seen = self.get_buffer("seen") + len(batch[0])
        return self.loss(batch) * (1 + 1 / self.seen)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.accuracy.update(self.net(batch[0]), batch[1])
        return {}

    def on_validation_epoch_end(self) -> None:
        self.seen = self.get_buffer("seen") + self.accuracy.compute()
        self.accuracy.reset()


class Frozen(Digits):
    """The first layer is fixed, its batch norm in eval mode; the rest is set free in the second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.net[0].requires_grad_(False)
        self.net[1].eval()
        self.net[4].requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        self.net[4].requires_grad_(True)


class Recurrent(nn.Module):
    """The rows of an image are its time."""

    truncated_bptt_steps = 3

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(8, 8, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, 10)

    def training_step(self, batch: Tensor, batch_idx: int, hiddens: Tensor | None) -> HiddenOutput[Tensor]:
        output_BTH, hidden = self.cell(batch, hiddens)
        return {"loss": self.head(self.drop(output_BTH)).square().mean(), "hiddens": hidden}

    def configure_optimizers(self) -> OptimizerConfig:
        return Adam(self.parameters(), lr=0.01)


def images() -> list[Tensor]:
    return [batch[0].unflatten(1, (8, 8)) for batch in in_order(20)]


@pytest.mark.parametrize(
    "trainer",
    [
        Trainer(max_epochs=2),
        Trainer(max_epochs=2, accumulate_grad_batches=2, val_check_interval=2, gradient_clip_val=0.5),
        Trainer(max_steps=7, val_check_interval=3, check_val_every_n_epoch=None, num_sanity_val_steps=1),
        Trainer(max_epochs=2, accumulate_grad_batches={0: 1, 1: 3}, limit_train_batches=4, limit_val_batches=2),
    ],
    ids=["plain", "accumulated", "across epochs", "limited"],
)
@pytest.mark.parametrize("module", [Digits, OnPlateau, WithMetric, Frozen])
def test_digits(trainer: Trainer, module: type[Digits]) -> None:
    verify_resume(trainer, module(), shuffled(), in_order(), at=MANY).check()


@pytest.mark.parametrize("accumulated", [1, 2])
def test_two_optimizers(accumulated: int) -> None:
    trainer = Trainer(max_epochs=2, accumulate_grad_batches=accumulated, val_check_interval=0.5)
    verify_resume(trainer, TwoOptimizers(), shuffled(), in_order(), at=MANY).check()


def test_truncated_backpropagation_also_between_two_pieces() -> None:
    report = verify_resume(Trainer(max_epochs=2), Recurrent(), images(), at=8)
    report.check()
    assert "piece" in {place.point for place in report.places}


def test_every_boundary_of_a_fit() -> None:
    trainer = Trainer(max_epochs=1, val_check_interval=3, accumulate_grad_batches=2)
    report = verify_resume(trainer, Digits(), shuffled(), in_order(), at=10_000)
    assert report
    assert [place.index for place in report.places] == list(range(report.boundaries))
    points = {(place.loop.rpartition(".")[2], place.point) for place in report.places}
    assert points >= {
        ("fit_loop", "idle"),
        ("fit_loop", "epoch_start"),
        ("epoch_loop", "batch"),
        ("epoch_loop", "validation"),
        ("val_loop", "start"),
        ("epoch_loop", "validated"),
        ("fit_loop", "epoch_end"),
    }


def test_loaders_may_be_made_by_functions() -> None:
    verify_resume(Trainer(max_epochs=2), Digits(), shuffled, in_order, at=MANY).check()


def test_a_fit_that_a_function_makes() -> None:
    report = verify_resume(
        lambda: Trainer(max_epochs=2), lambda trainer: trainer.fit(Digits(), shuffled(), in_order()), at=MANY
    )
    report.check()
    assert len(report.places) == MANY


def test_a_validation() -> None:
    verify_resume(Trainer(), lambda trainer: trainer.validate(Digits(), [in_order(), in_order()]), at=MANY).check()


def test_what_comes_after_the_first_run_is_run_as_well() -> None:
    stages: list[Stage | None] = []

    def both(trainer: Trainer) -> float:
        module = Digits()
        trainer.fit(module, shuffled())
        stages.append(trainer.stage)
        return trainer.validate(module, in_order()).metrics["val_loss"]

    verify_resume(lambda: Trainer(max_epochs=1), both, at=[0, 3]).check()
    # The uninterrupted run, and those that go on.
    assert len(stages) == 3
