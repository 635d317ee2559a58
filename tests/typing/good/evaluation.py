"""Loops of evaluation and prediction, changed and connected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_type

from torch import Tensor

from tests.typing.good.models import Batch, Classifier, batches, loader
from typedloops import (
    EvaluationEpochLoop,
    EvaluationLoop,
    EvaluationResult,
    LoaderResult,
    PredictionEpochLoop,
    PredictionLoop,
    TestLoop,
    Trainer,
    ValidationLoop,
)
from typedloops.protocols import TestModule, ValidationModule

data, model = batches(), Classifier()


class Counting(ValidationLoop):
    """One method changed; still a validation loop."""

    runs = 0

    def on_run_end(self) -> EvaluationResult:
        self.runs += 1
        return super().on_run_end()


class Watching(EvaluationEpochLoop[Batch]):
    """The loop over the batches of one loader, changed."""

    def on_run_end(self) -> LoaderResult:
        result = super().on_run_end()
        assert_type(result.batches, int)
        return result


counting = Counting(limit_batches=1)
trainer = Trainer(max_epochs=1)
trainer.validate_loop = counting
assert_type(trainer.validate(model, data), EvaluationResult)
assert counting.runs == 1

trainer.fit_loop.epoch_loop.connect(val_loop=Counting())
trainer.fit(model, data, data)
assert_type(trainer.fit_loop.epoch_loop.val_loop, ValidationLoop)

assert_type(counting.epoch_loop.batch_progress.current.processed, int)
assert_type(Trainer(validate_loop=Counting()).validate_loop, Counting)
assert_type(Trainer(validate_loop=Counting()).validate(model, [loader(), loader()]), EvaluationResult)
assert_type(TestLoop().run(model, data), EvaluationResult)
assert_type(ValidationLoop(1).dataloader_progress.total.completed, int)
each = Trainer(limit_val_batches=[1, 0.5], limit_test_batches=("1ba", 1.0), validate_loop=ValidationLoop([1, 2]))
assert_type(each.validate(model, [loader(), loader()]), EvaluationResult)
assert_type(each.test(model, [loader(), loader()]).dataloaders[1].metrics["accuracy"], float)
loops: list[type[ValidationLoop | TestLoop]] = [Counting, TestLoop]

prediction = PredictionLoop(epoch_loop=PredictionEpochLoop())
prediction.connect(epoch_loop=PredictionEpochLoop())
assert_type(Trainer(predict_loop=prediction).predict(model, data), list[Tensor])


def validate(loop: EvaluationLoop[ValidationModule[Batch], Batch], source: Iterable[Batch]) -> EvaluationResult:
    """Either loop by what they have in common."""
    return loop.run(model, source)


def test(loop: EvaluationLoop[TestModule[Batch], Batch], source: Iterable[Batch]) -> dict[str, float]:
    return loop.run(model, source).metrics


assert_type(validate(ValidationLoop(), data), EvaluationResult)
assert_type(trainer.validate(model, loader), EvaluationResult)
assert_type(trainer.test(model, lambda: [loader(), loader()]), EvaluationResult)
assert_type(test(TestLoop(), data), dict[str, float])
