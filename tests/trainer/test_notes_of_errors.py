"""An error from a step says in which batch of which loader it was raised."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import OptimizerLoop

# The loaders here are wrong on purpose.
Trainer: Any = typedloops.Trainer


class Failing(Classifier):
    """Fails at the n-th call of one of its steps."""

    def __init__(self, step: str, call: int) -> None:
        super().__init__()
        self.step = step
        self.left = call

    def note(self, step: str) -> None:
        if step == self.step:
            self.left -= 1
            if self.left < 0:
                raise FloatingPointError(step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.note("training_step")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.note("validation_step")
        return super().validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.note("predict_step")
        return super().predict_step(batch, batch_idx)


class Unfused(OptimizerLoop):
    def on_advance_end(self) -> None: ...


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


@pytest.mark.parametrize("fused", [True, False])
def test_in_training(fused: bool) -> None:
    trainer = Trainer(max_epochs=3)
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    with pytest.raises(FloatingPointError) as failed:
        trainer.fit(Failing("training_step", 6), batches(4))
    assert notes(failed.value)[0].splitlines()[-2:] == [
        "in fit_loop.epoch_loop (TrainingEpochLoop), in batch 2 of the train dataloader, epoch 1",
        "in fit_loop (FitLoop): 1/3 epochs completed",
    ]


def test_in_the_validation_of_a_fit() -> None:
    with pytest.raises(FloatingPointError) as failed:
        Trainer(max_epochs=2).fit(Failing("validation_step", 3), batches(1), batches(2))
    first, *around = notes(failed.value)[0].splitlines()
    assert first.startswith("in fit_loop.epoch_loop.val_loop.epoch_loop (EvaluationEpochLoop), ")
    assert first.endswith(", in batch 1 of the validation dataloader, epoch 1")
    assert around == [
        "in fit_loop.epoch_loop.val_loop (ValidationLoop): 0/1 loaders completed",
        "in fit_loop.epoch_loop (TrainingEpochLoop), before batch 1 of the train dataloader, epoch 1",
        "in fit_loop (FitLoop): 1/2 epochs completed",
    ]


@pytest.mark.parametrize(
    ("loaders", "note"),
    [
        (batches(3), "in batch 1 of the predict dataloader"),
        ([iter(batches(1)), iter(batches(2))], "in batch 0 of the predict dataloader 1"),
    ],
)
def test_in_a_prediction(loaders: object, note: str) -> None:
    with pytest.raises(FloatingPointError) as failed:
        Trainer().predict(Failing("predict_step", 1), loaders)
    assert notes(failed.value)[0].splitlines()[0] == f"in predict_loop.epoch_loop (PredictionEpochLoop), {note}"


def test_a_loader_that_fails() -> None:
    def loader() -> object:
        yield from batches(2)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk") as failed:
        Trainer().predict(Classifier(), loader())
    assert notes(failed.value)[0].splitlines() == [
        "in predict_loop.epoch_loop (PredictionEpochLoop), before batch 1 of the predict dataloader",
        "in predict_loop (PredictionLoop): 0/1 loaders completed",
    ]


def test_an_error_of_the_device_keeps_its_kind() -> None:
    class Mismatched(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return torch.zeros(3) @ torch.zeros(4)

    with pytest.raises(RuntimeError, match=r"size mismatch|inconsistent tensor size") as failed:
        Trainer(max_epochs=1).fit(Mismatched(), batches(1))
    assert "in batch 0 of the train dataloader, epoch 0" in notes(failed.value)[0]
