"""The default trainer: what its entry points take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Literal, assert_type

import torch
from torch import Tensor
from torch.optim import Optimizer

from tests.typing.good.models import Batch, Classifier, batches, loader
from typedloops import (
    Duration,
    EvaluationResult,
    FitLoop,
    FitResult,
    LoaderResult,
    Precision,
    PredictionLoop,
    Stage,
    StopReason,
    TestLoop,
    Trainer,
    TrainerView,
    Unit,
    ValidationLoop,
    seed_everything,
)

model, data = Classifier(), batches()
trainer = Trainer(max_epochs=1, limit_val_batches=1.0, limit_test_batches=1)
assert_type(trainer, Trainer[FitLoop, ValidationLoop, TestLoop, PredictionLoop])
assert_type(trainer.fit_loop, FitLoop)
assert_type(trainer.validate_loop, ValidationLoop)
assert_type(trainer.test_loop, TestLoop)
assert_type(trainer.predict_loop, PredictionLoop)

result = trainer.fit(model, data, data)
assert_type(result, FitResult[Tensor])
assert_type(result.stop_reason, StopReason)
assert_type(result.metrics, Mapping[str, float])
assert_type(result.last_output, Tensor | None)
assert_type(result.epochs, int)
assert_type(trainer.fit(model, data), FitResult[Tensor])
assert_type(trainer.fit(model, data, None), FitResult[Tensor])
assert_type(trainer.fit(model, train_dataloaders=data, val_dataloaders=[loader(), loader()]), FitResult[Tensor])
assert_type(trainer.fit(model=model, train_dataloaders=iter(data)), FitResult[Tensor])

evaluation = trainer.validate(model, data)
assert_type(evaluation, EvaluationResult)
assert_type(evaluation.metrics, dict[str, float])
assert_type(evaluation.dataloaders, tuple[LoaderResult, ...])
assert_type(trainer.validate(model, [loader(), loader()]), EvaluationResult)
assert_type(trainer.test(model, dataloaders=data), EvaluationResult)
assert_type(trainer.test(model, (loader(), loader())), EvaluationResult)
assert_type(trainer.predict(model, data), list[Tensor])

assert_type(trainer.fit(model, lambda: data), FitResult[Tensor])
assert_type(trainer.fit(model, batches, batches), FitResult[Tensor])
assert_type(trainer.fit(model, loader, lambda: [loader(), loader()]), FitResult[Tensor])
assert_type(trainer.fit(model, loader(), batches, resume=False), FitResult[Tensor])
assert_type(Trainer(max_epochs=1, reload_dataloaders_every_n_epochs=1).fit(model, loader), FitResult[Tensor])

assert_type(Duration.epochs(3), Duration)
assert_type(Duration.parse("3ep"), Duration | None)
assert_type(Duration.batches(3).unit, Unit)
Trainer(max_epochs="10ep", min_steps=Duration.steps(3), max_time=timedelta(hours=1), limit_val_batches="5ba")
Trainer(val_check_interval="2ep", accumulate_grad_batches=Duration.batches(4), overfit_batches=0.5)
Trainer(val_check_interval=timedelta(minutes=5), check_val_every_n_epoch=None, limit_train_batches=0.5)
assert_type(FitLoop(max_epochs="3ep").max_epochs, int | None)
assert_type(ValidationLoop(Duration.batches(3)), ValidationLoop)

view: TrainerView = trainer
assert_type(view.stage, Stage | None)
assert_type(trainer.stage, Stage | None)
assert_type(trainer.optimizers, Sequence[Optimizer])
assert_type(trainer.metrics, Mapping[str, float])
assert_type(trainer.global_step, int)
assert_type(trainer.current_epoch, int)
assert_type(trainer.skipped_steps, int)
assert_type(result.skipped_steps, int)

Trainer(precision="bf16-mixed", accelerator="cpu")
Trainer(precision=64)
precise: Precision = "16-mixed"
Trainer(detect_nonfinite="modules")
Trainer(float32_matmul_precision="high", deterministic="warn", benchmark=True)
assert_type(seed_everything(3, workers=False), int)


def run(fit: Callable[[Classifier, Iterable[Batch]], FitResult[Tensor]]) -> StopReason:
    """An entry point is a function like any other."""
    return fit(model, data).stop_reason


assert_type(run(trainer.fit), StopReason)


def describe(reason: StopReason) -> Literal["done", "asked", "cut short"]:
    """A match over the reasons is known to be exhaustive."""
    match reason:
        case StopReason.MAX_EPOCHS | StopReason.MAX_STEPS:
            return "done"
        case StopReason.MAX_TIME:
            return "cut short"
        case StopReason.REQUESTED | StopReason.LEFT | StopReason.INTERRUPTED:
            return "asked"
        case StopReason.NO_BATCHES:
            return "cut short"


assert describe(result.stop_reason) == "done"
assert result.epochs == 1
assert result.batches == len(data)
assert isinstance(result.last_output, torch.Tensor)
