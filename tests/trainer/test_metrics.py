"""What is logged: copied, combined, and readable where a callback wants it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import Callback, TrainerView
from typedloops.protocols.trainer import Reduction

# Some modules here return what their base does not.
Trainer: Any = typedloops.Trainer


class Scaled(Classifier):
    """Logs a parameter, which its optimizer changes in place."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=dtype))
        self.seen: list[float] = []
        self.reduce: Reduction = "last"
        self.trainer: Any = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append(self.scale.item())
        self.trainer.log("scale", self.scale, reduce=self.reduce)
        self.trainer.log("view", self.scale.view(1), reduce=self.reduce)
        return (self.loss(batch) * self.scale).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduce", ["last", "mean", "sum", "min", "max"])
def test_a_parameter_is_logged_as_it_was(reduce: Reduction, dtype: torch.dtype) -> None:
    model = Scaled(dtype)
    model.reduce = reduce
    model.trainer = trainer = Trainer(max_epochs=1)
    metrics = trainer.fit(model, batches(3)).metrics
    seen = model.seen
    expected = {"last": seen[-1], "mean": sum(seen) / 3, "sum": sum(seen), "min": min(seen), "max": max(seen)}[reduce]
    assert len(set(seen)) == 3
    assert math.isclose(metrics["scale"], expected, rel_tol=1e-6)
    assert math.isclose(metrics["view"], expected, rel_tol=1e-6)


def test_scalars_of_numpy_are_scalars() -> None:
    class Numpy(Classifier):
        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, object]:  # type: ignore[override]
            return {"float": np.float32(0.5), "double": np.float64(0.5), "int": np.int64(1), "flag": np.bool_(True)}

    assert Trainer().validate(Numpy(), batches(2)).metrics == {"float": 0.5, "double": 0.5, "int": 1.0}


class LogsFrom(Callback[Classifier, Batch]):
    """Logs `accuracy` as 0 from a batch on."""

    def __init__(self, first: int) -> None:
        self.first = first

    def on_validation_batch_end(
        self,
        trainer: TrainerView,
        module: Classifier,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx >= self.first:
            trainer.log("accuracy", 0.0)


class Perfect(Classifier):
    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, float]:  # type: ignore[override]
        return {"accuracy": 1.0}


@pytest.mark.parametrize(("first", "expected"), [(0, 0.0), (2, 0.0), (9, 1.0)])
def test_what_is_logged_by_hand_takes_the_place_of_what_is_returned(first: int, expected: float) -> None:
    trainer = Trainer(callbacks=[LogsFrom(first)])
    assert trainer.validate(Perfect(), batches(4)).metrics == {"accuracy": expected}


class Reader(Callback[Classifier, Batch]):
    """Reads a metric and logs another where an epoch of evaluation ends."""

    def on_validation_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
        trainer.log("error", 1 - trainer.metrics["accuracy"])

    def on_predict_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
        trainer.log("predicted", 7.0)


def test_the_end_of_an_evaluation_reads_what_the_steps_came_to_and_logs_on() -> None:
    trainer = Trainer(max_epochs=1, callbacks=[Reader()])
    assert trainer.validate(Perfect(), batches(2)).metrics == {"accuracy": 1.0, "error": 0.0}
    result = trainer.fit(Perfect(), batches(2), batches(2))
    assert (result.metrics["accuracy"], result.metrics["error"]) == (1.0, 0.0)


def test_what_is_logged_in_a_prediction_is_kept() -> None:
    trainer = Trainer(callbacks=[Reader()])
    trainer.predict(Classifier(), batches(2))
    assert trainer.metrics == {"predicted": 7.0}


def test_predictions_are_nested_as_the_loaders_are() -> None:
    model, trainer = Classifier().eval(), Trainer()
    flat = trainer.predict(model, Loader(batches(2)))
    (nested,) = trainer.predict(model, [Loader(batches(2))])
    assert len(flat) == len(nested) == 2
    assert all(map(torch.equal, flat, nested))
    assert [len(predictions) for predictions in trainer.predict(model, (Loader(batches(1)), Loader(batches(3))))] == [
        1,
        3,
    ]
    assert len(trainer.predict(model, batches(2))) == 2
