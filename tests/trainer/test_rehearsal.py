"""`fast_dev_run` and `detect_anomaly`: finding out early what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import FitLoop, PredictionLoop, TestLoop, ValidationLoop
from typedloops.errors import ConfigurationError

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class Counting(Classifier):
    """Counts the calls of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}

    def count(self, step: str) -> None:
        self.calls[step] = self.calls.get(step, 0) + 1

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.count("training")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.count("validation")
        return super().validation_step(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.count("test")
        return super().test_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.count("predict")
        return super().predict_step(batch, batch_idx)


class Refusing:
    """A logger that nothing is to be logged to."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        raise AssertionError

    def finalize(self, status: str) -> None:
        raise AssertionError


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "other limits": {"max_epochs": 9, "min_epochs": 3, "limit_train_batches": 0.5, "check_val_every_n_epoch": 4},
    "no validation otherwise": {"limit_val_batches": 0, "max_steps": 100, "min_steps": 50},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("given", "expected"), [(True, 1), (1, 1), (3, 3)])
def test_a_rehearsal_has_so_many_batches_of_everything(settings: str, given: int | bool, expected: int) -> None:
    trainer = Trainer(fast_dev_run=given, loggers=[Refusing()], **SETTINGS[settings])
    model = Counting()
    data = batches(6)
    result = trainer.fit(model, data, data)
    trainer.test(model, data)
    assert len(trainer.predict(model, data)) == expected
    assert (result.epochs, result.batches) == (1, expected)
    assert model.calls == dict.fromkeys(("training", "validation", "test", "predict"), expected)


def test_a_rehearsal_goes_before_the_limits_of_the_loops() -> None:
    fit_loop = FitLoop(max_epochs=9, max_steps=100)
    fit_loop.epoch_loop.limit_batches = 5
    fit_loop.epoch_loop.val_loop = ValidationLoop(limit_batches=4)
    trainer = Trainer(
        fast_dev_run=2, fit_loop=fit_loop, test_loop=TestLoop(limit_batches=4), predict_loop=PredictionLoop(4)
    )
    model = Counting()
    trainer.fit(model, batches(6), batches(6))
    trainer.test(model, batches(6))
    trainer.predict(model, batches(6))
    assert set(model.calls.values()) == {2}


@pytest.mark.parametrize("off", [0, False])
def test_no_rehearsal(off: int | bool) -> None:
    assert Trainer(max_epochs=2, fast_dev_run=off).fit(Counting(), batches(3)).batches == 6


def test_a_negative_rehearsal() -> None:
    with pytest.raises(ConfigurationError, match=r"^fast_dev_run: -1 is negative\. Give a number of batches\.$"):
        Trainer(fast_dev_run=-1)


class Broken(Classifier):
    """Its gradient is not a number."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        weight: Tensor = self.net[0].weight  # type: ignore[assignment]
        return (weight * 0).sqrt().sum() * 0


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled", "ignore:.*Error detected in")
def test_an_anomaly_is_found_in_a_fit_and_nowhere_else() -> None:
    with pytest.raises(RuntimeError, match="SqrtBackward0' returned nan"):
        Trainer(max_epochs=1, detect_anomaly=True).fit(Broken(), batches(1))
    assert not torch.is_anomaly_enabled()
    Trainer(max_epochs=1).fit(Broken(), batches(1))
