"""What a fit does: the real one, with a module, a callback, loaders, optimizers and schedulers that write it down."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

import typedloops
from tests.grid.axes import LEARNING_RATE, TRAIN_BATCHES, VAL_BATCHES, Act, Cell, Plan
from tests.grid.expected import COUNTED, Outcome
from typedloops import (
    Callback,
    EvaluationEpochLoop,
    FitLoop,
    ManualOptimization,
    OptimizerLoop,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops.loops.run.kind import VALIDATION

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

EVENTS = sorted(
    name
    for name, hook in vars(Callback).items()
    if callable(hook) and not name.startswith(("_", "test", "on_test", "on_predict"))
)
OF_MODULES = (
    "configure_callbacks",
    "prepare_data",
    "configure_model",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
OPTIMIZER_HOOKS = ("on_before_zero_grad", "on_before_optimizer_step")
TOLD_ELSEWHERE = ("with these frequencies", "Detected call of `lr_scheduler.step()`")
"""Warnings that are not of interest here: of turns that never come, and torch's of a schedule without steps."""


class Planned(Exception):
    """The fault of a cell."""


class Recorder:
    """Writes down each event with what was counted by then, and does what is planned for it."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.plan = Plan(cell.fault)
        self.trace: list[tuple[object, ...]] = []
        self.trainer: Any = None
        self.module: nn.Module

    def happen(self, event: str, detail: str = "") -> Act | None:
        self.trace.append((f"{event} {detail}".strip(), *self.clock()))
        act = self.plan.at(event)
        if act == "raises":
            raise Planned(event)
        if act == "lets StopIteration out":
            raise StopIteration
        if act == "asks for a stop":
            self.trainer.should_stop = True
        return act

    def clock(self) -> tuple[object, ...]:
        loop = self.trainer.fit_loop.epoch_loop
        train, val = loop.batch_progress.current, loop.val_loop.epoch_loop.batch_progress.current
        return (
            self.trainer.current_epoch,
            self.trainer.global_step,
            *(train.ready, train.started, train.processed, train.completed),
            *(val.ready, val.started, val.processed, val.completed),
            self.module.training,
        )


class Model(nn.Module):
    """One weight for each optimizer; the loss of a batch is a multiple of it."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.how = recorder.cell.optimizing
        self.automatic_optimization = self.how.automatic
        count = max(1, self.how.optimizers)
        self.weights = nn.ParameterList(torch.ones((), dtype=torch.float64) for _ in range(count))
        self.made: list[Optimizer] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        return self.take(batch, 0)

    def take(self, batch: Tensor, index: int, label: str = "") -> Any:
        if self.recorder.happen("training_step", label) == "gives None":
            return None
        others = sum(weight for place, weight in enumerate(self.weights) if place != index)
        loss = self.weights[index] * batch.sum() * (index + 1) + others
        if not self.how.automatic:
            (optimizer,) = self.made
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        self.recorder.happen("validation_step")
        return {"val_loss": self.weights[0] * batch.sum()}

    def configure_optimizers(self) -> Any:
        self.recorder.happen("M.configure_optimizers")
        self.made = [self.optimizer(index) for index in range(self.how.optimizers)]
        rates = [self.rate(interval, index) for interval, index in self.how.rates]
        if not self.made:
            return None
        if not self.how.frequencies:
            return self.made, rates
        together = zip(self.made, rates, self.how.frequencies, strict=True)
        return [{"optimizer": o, "lr_scheduler": rate, "frequency": n} for o, rate, n in together]

    def optimizer(self, index: int) -> Optimizer:
        weight, happen = self.weights[index], self.recorder.happen
        optimizer = (
            LBFGS([weight], max_iter=2, tolerance_grad=0, tolerance_change=0)
            if self.how.closures > 1
            else SGD([weight], lr=LEARNING_RATE)
        )

        def before(*_: object) -> None:
            happen("step", str(index))

        def after(*_: object) -> None:
            happen("stepped", str(index))

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)
        return optimizer

    def rate(self, interval: str, index: int) -> object:
        optimizer, happen = self.made[index], self.recorder.happen

        class Constant(LambdaLR):
            made = False

            def step(self, epoch: Any = None) -> None:
                if self.made:
                    happen("rate", f"{interval} {index}")
                super().step(epoch)

        class Plateau(ReduceLROnPlateau):
            def step(self, metrics: Any, epoch: Any = None) -> None:  # type: ignore[override]  # as torch's own
                happen("rate", f"{interval} {index}")

        if interval == "plateau":
            return {"scheduler": Plateau(optimizer), "interval": "step", "monitor": "train_loss"}
        rate = Constant(optimizer, lambda epoch: 1.0)
        rate.made = True
        return {"scheduler": rate, "interval": interval} if self.how.automatic else rate


class TwoOptimizers(Model):
    def training_step(self, batch: Tensor, batch_idx: int, optimizer_idx: int) -> Any:  # type: ignore[override]
        return self.take(batch, optimizer_idx, str(optimizer_idx))


def own_step(model: Model, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Any) -> None:
    model.recorder.happen("M.optimizer_step")
    optimizer.step(optimizer_closure)


def hook(who: str, name: str) -> Callable[..., object]:
    """A hook of a module or of a callback that writes down that it was called."""

    def record(owner: Any, *args: Any) -> object:
        module = owner if who == "M" else args[1]
        detail = str(module.made.index(args[-1])) if name in OPTIMIZER_HOOKS else ""
        if owner.recorder.happen(f"{who}.{name}", detail) == "answers -1":
            return -1
        if name == "configure_callbacks":
            return []
        return args[0] if "transfer" in name else None

    record.__name__ = name
    return record


@cache
def model_type(several: bool, own: bool, hooks: tuple[str, ...]) -> type[Model]:
    members = {name: hook("M", name) for name in hooks} | ({"optimizer_step": own_step} if own else {})
    return type("Model", (TwoOptimizers if several else Model,), members)


@cache
def callback_type(hooks: tuple[str, ...]) -> type[Any]:
    return type("Recorder", (Callback,), {name: hook("C", name) for name in hooks})


class Source:
    """A loader that writes down what it is asked for."""

    def __init__(self, recorder: Recorder, event: str, count: int) -> None:
        self.recorder, self.event, self.count = recorder, event, count

    def __iter__(self) -> Iterator[Tensor]:
        return Pass(self)


class SizedSource(Source):
    def __len__(self) -> int:
        return self.count


class Pass(Iterator[Tensor]):
    """A source that is gone through."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.given = 0

    def __next__(self) -> Tensor:
        act = self.source.recorder.happen(self.source.event)
        if act == "ends" or self.given == self.source.count:
            raise StopIteration
        self.given += 1
        return torch.full((1,), float(self.given), dtype=torch.float64)


class PlainFit(FitLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainEpoch(TrainingEpochLoop[Any, Any, Any]):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainBatch(TrainingBatchLoop[Any, Any, Any]):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainOptimizer(OptimizerLoop[Any, Any]):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainManual(ManualOptimization[Any, Any]):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainValidation(ValidationLoop):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainEvaluation(EvaluationEpochLoop[Any]):
    def advance(self, *args: Any) -> None:
        super().advance(*args)

    def on_advance_end(self) -> None:
        super().on_advance_end()


def fit_loop_of(cell: Cell) -> FitLoop:
    """The default tree, or one of subclasses that change nothing, which goes through Python at every node."""
    if cell.way.fused:
        return FitLoop()
    batch_loop = PlainBatch(PlainOptimizer(), PlainManual())
    return PlainFit(epoch_loop=PlainEpoch(batch_loop, PlainValidation(epoch_loop=PlainEvaluation(VALIDATION))))


def hooks_of(cell: Cell, who: str) -> tuple[str, ...]:
    """Those of the callback (C) or the module (M): all of them, or only that of the fault."""
    if cell.way.heard:
        return (*EVENTS, *(OF_MODULES if who == "M" else ()))
    place = "" if cell.fault is None else cell.fault.where
    return (place.removeprefix(f"{who}."),) if place.startswith(f"{who}.") else ()


def run(cell: Cell) -> tuple[list[tuple[object, ...]], Outcome]:
    """Fit, as a cell says: what happened, and how it ended."""
    recorder, how = Recorder(cell), cell.optimizing
    of_callback = hooks_of(cell, "C")
    callbacks = [callback_type(of_callback)()] if of_callback else []
    for callback in callbacks:
        callback.recorder = recorder
    trainer = recorder.trainer = Trainer(fit_loop=fit_loop_of(cell), callbacks=callbacks, **cell.settings)
    model = recorder.module = model_type(how.optimizers > 1, how.own_step, hooks_of(cell, "M"))(recorder)
    source = SizedSource if cell.way.sized else Source
    loaders = [source(recorder, "fetch", TRAIN_BATCHES)]
    if cell.validates:
        loaders.append(source(recorder, "val_fetch", VAL_BATCHES))
    outcome = Outcome()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            conclude(outcome, trainer.fit(model, *loaders))
        except Exception as error:
            outcome.error = (type(error).__name__, str(error))
    told = [str(warning.message) for warning in caught]
    outcome.warnings = [message for message in told if not any(known in message for known in TOLD_ELSEWHERE)]
    outcome.counts = counts(trainer.fit_loop, how.optimizers)
    outcome.weights = [weight.item() for weight in model.weights]
    return recorder.trace, outcome


def conclude(outcome: Outcome, result: Any) -> None:
    counted = (result.epochs, result.batches, result.optimizer_steps, result.steps_by_optimizer)
    outcome.result = (str(result.stop_reason), *counted)
    outcome.last_output = None if result.last_output is None else result.last_output.item()
    outcome.metrics = dict(result.metrics)


def counts(fit_loop: Any, optimizers: int) -> dict[str, Mapping[str, int]]:
    loop = fit_loop.epoch_loop
    val_loop = loop.val_loop
    trackers = {
        "epochs": fit_loop.epoch_progress.total,
        "steps": fit_loop.step_progress.total,
        "batches": loop.batch_progress.total,
        "batches of the last epoch": loop.batch_progress.current,
        "val batches": val_loop.epoch_loop.batch_progress.total,
        "val batches of the last validation": val_loop.epoch_loop.batch_progress.current,
        "val loaders": val_loop.dataloader_progress.total,
    }
    for index, progress in enumerate(loop.batch_loop.optimizer_loop.optim_progress.each[:optimizers]):
        trackers[f"steps of {index}"] = progress.step.total
        trackers[f"zero_grads of {index}"] = progress.zero_grad.total
    return {
        name: {field: getattr(tracker, field) for field in COUNTED if hasattr(tracker, field)}
        for name, tracker in trackers.items()
    }
