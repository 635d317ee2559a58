"""The same fits by the library."""

from __future__ import annotations

from typing import Any

import torch

import typedloops
from tests.by_hand.fits import Failure, Fit
from tests.by_hand.recording import Journal, Outcome, callback_of, data_of, model_of
from typedloops import FitLoop, OptimizerLoop, TrainingBatchLoop, TrainingEpochLoop, ValidationLoop
from typedloops.loops.evaluation import EvaluationEpochLoop

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class PlainFit(FitLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainEpoch(TrainingEpochLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainBatch(TrainingBatchLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)


class PlainOptimizer(OptimizerLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)


class PlainValidation(ValidationLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)


class PlainEvaluationEpoch(EvaluationEpochLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)


def unfuse(trainer: Any) -> None:
    """Let every loop of a fit go through Python, one iteration at a time."""
    trainer.fit_loop = PlainFit()
    trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    trainer.fit_loop.epoch_loop.replace(batch_loop=PlainBatch, val_loop=PlainValidation)
    trainer.fit_loop.epoch_loop.batch_loop.replace(optimizer_loop=PlainOptimizer)
    trainer.fit_loop.epoch_loop.val_loop.replace(epoch_loop=PlainEvaluationEpoch)


def run(fit: Fit, *, fused: bool, failure: Failure | None = None) -> Outcome:
    journal = Journal(failure)
    trainer = Trainer(callbacks=[callback_of(journal)], **fit.settings)
    if not fused:
        unfuse(trainer)
    loop = trainer.fit_loop
    batch_progress = loop.epoch_loop.batch_progress

    def counters() -> str:
        return f"epoch {trainer.current_epoch}, step {trainer.global_step}, batches {words(batch_progress.current)}"

    def stop() -> None:
        trainer.should_stop = True

    journal.counters, journal.stop = counters, stop
    model = model_of(fit.optimizers, journal)
    train, val = data_of(fit, journal)
    torch.manual_seed(1)
    steps: tuple[int, ...] | None = None
    try:
        result = trainer.fit(model, train) if val is None else trainer.fit(model, train, val)
        ended = result.stop_reason.value
        steps = result.steps_by_optimizer
    except Exception as error:
        ended = type(error).__name__
    counts: dict[str, object] = {
        "epochs": words(loop.epoch_progress.total),
        "batches": words(batch_progress.total),
        "steps": f"{loop.step_progress.total.ready}/{loop.step_progress.total.completed}",
        "steps by optimizer": steps,
        "validated": loop.epoch_loop.val_loop.epoch_loop.batch_progress.total.completed,
    }
    return Outcome(ended, journal.lines, counts, model.state_dict())


def words(counter: Any) -> str:
    """The counters of a tracker in a few words."""
    return f"{counter.ready}/{counter.started}/{counter.processed}/{counter.completed}"
