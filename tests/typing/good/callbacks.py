"""Callbacks by shape and by base class, with modules and batches of their own; hooks of the module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Never

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import Callback, FitResult, ModuleHooks, Stage, Trainer, TrainerView
from typedloops.protocols import CallbackProtocol, Logger
from typedloops.protocols.hooks import OnTrainBatchEnd, OnTrainStart, TrainingEpochEnd

data = batches()


class ByShape:
    """One hook, no base class, the trainer and the module as they are wanted."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: Tensor, batch: Batch, batch_idx: int
    ) -> None:
        self.seen.append(len(batch[0]))


class Indifferent:
    """Asks for nothing in particular."""

    def on_train_start(self, trainer: object, module: object) -> None: ...
    def setup(self, trainer: object, module: object, stage: str) -> None: ...


class OnlyTheCheck:
    def on_sanity_check_start(self, trainer: TrainerView, module: Classifier) -> None:
        assert_type(trainer.sanity_checking, bool)


class NamedOtherwise:
    """The names of a hook's parameters are the callback's own; so is what it returns."""

    def on_exception(self, t: TrainerView, m: nn.Module, error: BaseException) -> str:
        return repr(error)


class ByBaseClass(Callback):
    """`Callback` alone takes any `nn.Module` and any batch."""

    def on_fit_start(self, trainer: TrainerView, module: nn.Module) -> None:
        assert_type(trainer.stage, Stage | None)
        assert_type(trainer.optimizers, Sequence[Optimizer])
        trainer.should_stop = False
        trainer.log("parameters", len(list(module.parameters())), reduce="last")
        trainer.call_hook("on_something", 1)

    def on_train_batch_start(self, trainer: TrainerView, module: nn.Module, batch: object, batch_idx: int) -> None:
        assert_type(batch, object)


class Typed(Callback[Classifier, Batch]):
    """A base class told which module and which batch."""

    def on_train_batch_start(self, trainer: TrainerView, module: Classifier, batch: Batch, batch_idx: int) -> None:
        assert_type(module.net, nn.Linear)
        assert_type(batch[0], Tensor)

    def on_validation_batch_end(
        self,
        trainer: TrainerView,
        module: Classifier,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None: ...


class Memory:
    """A logger by its shape."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.metrics.update(metrics)

    def finalize(self, status: str) -> None: ...


class Hooked(Classifier, ModuleHooks[Batch]):
    """A module that wants the signatures of its hooks checked."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        return -1 if batch_idx == 1 else None

    def on_train_epoch_end(self) -> None: ...

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch[0] * 2, batch[1]

    def configure_callbacks(self) -> list[ByShape]:
        return [ByShape()]


class Summing(Classifier, ModuleHooks[Batch, Tensor]):
    """Wants the outputs of all steps at the end of an epoch."""

    def training_epoch_end(self, outputs: list[Tensor]) -> None:
        assert_type(torch.stack(outputs), Tensor)

    def validation_epoch_end(self, outputs: Sequence[object]) -> None: ...


class SummingLoaders(ModuleHooks[Batch, list[Tensor]]):
    """Of several loaders it gets a list for each."""

    def test_epoch_end(self, outputs: list[list[Tensor]]) -> None:
        assert_type(outputs[0][0], Tensor)


class Gathering(Callback[Classifier]):
    def validation_epoch_end(self, trainer: TrainerView, module: Classifier, outputs: Sequence[object]) -> None:
        trainer.log("outputs", len(outputs))


class GatheringByShape:
    """This hook alone makes a callback; what the outputs are is for it to know."""

    def training_epoch_end(self, trainer: object, module: object, outputs: list[Tensor]) -> None: ...


gathers: TrainingEpochEnd[TrainerView, Classifier, list[Tensor]] = GatheringByShape()
summed = Trainer(max_epochs=1, callbacks=[Gathering(), GatheringByShape()]).fit(Summing(), data, data)
assert summed.metrics["outputs"] == len(data)

by_shape, logger = ByShape(), Memory()
callbacks: list[CallbackProtocol] = [by_shape, Indifferent(), OnlyTheCheck(), NamedOtherwise(), ByBaseClass(), Typed()]
trainer = Trainer(max_epochs=1, callbacks=callbacks, loggers=[logger])
assert_type(trainer.callbacks, Sequence[CallbackProtocol])
assert_type(trainer.loggers, Sequence[Logger])
assert_type(trainer.fit(Classifier(), data, data), FitResult[Tensor])
assert by_shape.seen == [3, 3]
assert "train_loss" in logger.metrics
assert_type(trainer.fit(Hooked(), data), FitResult[Tensor])

Trainer(callbacks=[ByShape()])
Trainer(callbacks=(ByShape(), Typed()))
Trainer(callbacks=[Indifferent(), OnlyTheCheck(), NamedOtherwise()])

asks: OnTrainStart[Never, Never] = Indifferent()
takes: OnTrainBatchEnd[TrainerView, Classifier, Batch, Tensor] = ByShape()
