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
from tests.grid.axes import LEARNING_RATE, TRAIN_BATCHES, VAL_BATCHES, Act, Cell, Optimizing, Plan
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
        self.fit_loop: Any = None
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
        loop = self.fit_loop.epoch_loop
        train, val = loop.batch_progress.current, loop.val_loop.epoch_loop.batch_progress.current
        return (
            *self.place(),
            *(train.ready, train.started, train.processed, train.completed),
            *(val.ready, val.started, val.processed, val.completed),
            self.module.training,
        )

    def place(self) -> tuple[int, int]:
        """The epoch, and how many steps were taken, as the trainer or else the loop says."""
        if self.trainer is not None:
            return self.trainer.current_epoch, self.trainer.global_step
        return max(0, self.fit_loop.epoch_progress.total.ready - 1), self.fit_loop.step_progress.total.completed


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
        loss = self.weights[index] * batch.mean() * (index + 1) + others
        if not self.how.automatic:
            (optimizer,) = self.made
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        self.recorder.happen("validation_step")
        return {"val_loss": self.weights[0] * batch.mean()}

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


class InPieces(Model):
    """Remembers of each piece of a batch which it was."""

    truncated_bptt_steps = 1

    def training_step(self, batch: Tensor, batch_idx: int, hiddens: Tensor | None) -> Any:  # type: ignore[override]
        loss = self.take(batch, 0, f"after {None if hiddens is None else hiddens.item()}")
        piece = torch.tensor(0 if hiddens is None else int(hiddens) + 1)
        return None if loss is None else {"loss": loss, "hiddens": piece}


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
def model_type(how: Optimizing, hooks: tuple[str, ...]) -> type[Model]:
    members = {name: hook("M", name) for name in hooks} | ({"optimizer_step": own_step} if how.own_step else {})
    base = TwoOptimizers if how.optimizers > 1 else InPieces if how.pieces > 1 else Model
    return type("Model", (base,), members)


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
        return torch.full((1, 2), float(self.given), dtype=torch.float64)


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


DEFAULT: tuple[Any, ...] = (
    FitLoop,
    TrainingEpochLoop,
    TrainingBatchLoop,
    OptimizerLoop,
    ManualOptimization,
    ValidationLoop,
    EvaluationEpochLoop,
)
PLAIN: tuple[Any, ...] = (
    PlainFit,
    PlainEpoch,
    PlainBatch,
    PlainOptimizer,
    PlainManual,
    PlainValidation,
    PlainEvaluation,
)


def tree_of(cell: Cell, limits: Mapping[str, int | float], windows: int | Mapping[int, int] | None) -> FitLoop:
    """A tree of the default loops, or of subclasses that change nothing, which goes through Python at every node.

    Args:
        cell: Which of them.
        limits: Those that the loops have of their own.
        windows: The windows likewise, or None.
    """
    fit, epoch, batch, optimizer, manual, validation, evaluation = DEFAULT if cell.way.fused else PLAIN
    batch_loop = batch(optimizer(accumulate_grad_batches=windows), manual())
    val_loop = validation(limits.get("limit_val_batches"), epoch_loop=evaluation(VALIDATION))
    epoch_loop = epoch(batch_loop, val_loop, limit_batches=limits.get("limit_train_batches"))
    tree: FitLoop = fit(limits.get("max_epochs"), limits.get("max_steps"), epoch_loop=epoch_loop)
    return tree


def hooks_of(cell: Cell, who: str) -> tuple[str, ...]:
    """Those of the callback (C) or the module (M): all of them, or only that of the fault."""
    if cell.way.heard:
        return (*EVENTS, *(OF_MODULES if who == "M" else ()))
    place = "" if cell.fault is None else cell.fault.where
    return (place.removeprefix(f"{who}."),) if place.startswith(f"{who}.") else ()


def run(cell: Cell, *, alone: bool = False) -> tuple[list[tuple[object, ...]], Outcome]:
    """Fit, as a cell says: what happened, and how it ended.

    Args:
        cell: What fit.
        alone: Without a trainer, by a tree that has the settings itself.
    """
    recorder = Recorder(cell)
    if alone:
        windows = cell.windows if cell.optimizing.automatic else None  # which by hand may not even be said
        fit_loop = recorder.fit_loop = tree_of(cell, cell.limits, windows)
        return write_down(recorder, fit_loop.run)
    of_callback = hooks_of(cell, "C")
    callbacks = [callback_type(of_callback)()] if of_callback else []
    for callback in callbacks:
        callback.recorder = recorder
    fit_loop = recorder.fit_loop = FitLoop() if cell.way.fused else tree_of(cell, {}, None)
    recorder.trainer = Trainer(fit_loop=fit_loop, callbacks=callbacks, **cell.settings)
    return write_down(recorder, recorder.trainer.fit)


def write_down(recorder: Recorder, fit: Callable[..., object]) -> tuple[list[tuple[object, ...]], Outcome]:
    cell, how = recorder.cell, recorder.cell.optimizing
    model = recorder.module = model_type(how, hooks_of(cell, "M"))(recorder)
    source = SizedSource if cell.way.sized else Source
    loaders = [source(recorder, "fetch", TRAIN_BATCHES)]
    if cell.validates:
        loaders.append(source(recorder, "val_fetch", VAL_BATCHES))
    outcome = Outcome()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            conclude(outcome, fit(model, *loaders))
        except Exception as error:
            outcome.error = (type(error).__name__, str(error))
    told = [str(warning.message) for warning in caught]
    outcome.warnings = [message for message in told if not any(known in message for known in TOLD_ELSEWHERE)]
    outcome.counts = counts(recorder.fit_loop, how.optimizers)
    outcome.weights = [weight.item() for weight in model.weights]
    return recorder.trace, outcome


def conclude(outcome: Outcome, result: Any) -> None:
    counted = (result.epochs, result.batches, result.optimizer_steps, result.steps_by_optimizer)
    outcome.result = (str(result.stop_reason), *counted)
    last = result.last_output["loss"] if isinstance(result.last_output, dict) else result.last_output
    outcome.last_output = None if last is None else last.item()
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
