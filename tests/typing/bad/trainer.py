# pyright: reportUnknownMemberType=false
"""The trainer's arguments, entry points and loops."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import Duration, FitLoop, Loop, PredictionLoop, StopReason, Trainer, ValidationLoop, seed_everything

data, model, trainer = batches(), Classifier(), Trainer(max_epochs=1)


class Scores(Loop[[Classifier, Iterable[Batch]], list[float]]):
    """Another kind of entry loop."""

    @property
    def done(self) -> bool:
        return True

    def advance(self, model: Classifier, source: Iterable[Batch]) -> None: ...

    def on_run_end(self) -> list[float]:
        return []


def numbers() -> list[int]:
    return [1, 2]


def takes_a_size(size: int) -> list[Batch]:
    return data[:size]


# Arguments of an entry point.
trainer.fit(model)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.fit()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.fit(train_dataloaders=data)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.fit(model, data, data, data)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.fit(model, data, val_dataloader=data)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.fit(model, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, lambda: [1, 2])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, data, numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, takes_a_size)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.validate(model, numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.predict(model, numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, data, resume="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, data, None, True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.validate(model)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
trainer.test(model, data, data)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
trainer.predict(model, data, return_predictions=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

# Arguments of the trainer.
Trainer(max_epoch=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Trainer(max_epochs=[1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(max_epochs=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(limit_val_batches=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(limit_val_batches=[None])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(limit_train_batches=[1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ValidationLoop({1: 2})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(max_epochs=timedelta(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(max_time=10)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(val_check_interval=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(overfit_batches=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(reload_dataloaders_every_n_epochs=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Duration(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Duration(10, "ep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Duration.epochs("10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(precision="8-true")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(precision=8)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(float32_matmul_precision="low")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(deterministic="error")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(detect_nonfinite=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(benchmark="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
seed_everything("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(accelerator=0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(loggers=[print])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Trainer(fit_loop=FitLoop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(fit_loop=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

trainer.with_fit_loop(model)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
trainer.with_predict_loop(PredictionLoop)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def assign(trainer: Trainer) -> None:
    """Another kind of loop goes through the constructor or `with_fit_loop`."""
    trainer.fit_loop = Scores()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.fit_loop = FitLoop  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.validate_loop = PredictionLoop()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.predict_loop = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.fit = trainer.validate  # type: ignore[assignment, misc]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.optimizers = []  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.global_step = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.should_stop = "now"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


# What an entry point takes follows from its loop.
scoring = Trainer(fit_loop=Scores())
scoring.fit(model, [1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
scoring.fit(1, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
scoring.fit(model, data, data)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
scoring.fit_loop = FitLoop()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
epochs: int = scoring.fit(model, data)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# What a result has.
result = trainer.fit(model, data)
result.epochs = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
print(result.loss)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
result.last_output.item()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
text: str = trainer.predict(model, data)[0]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
reason: StopReason = trainer.fit_loop.stop_reason  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
trainer.metrics["loss"] = 1.0  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
trainer.log("loss", "high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.log("loss", 1.0, reduce="median")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FitLoop(max_epochs=2.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ValidationLoop(limit_batches=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
