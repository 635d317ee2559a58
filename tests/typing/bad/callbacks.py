# pyright: reportUnknownMemberType=false
"""Callbacks, loggers and hooks of the module with other signatures than they are called with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tests.typing.good.models import Batch, Classifier
from typedloops import Callback, ModuleHooks, Trainer, TrainerView
from typedloops.protocols import CallbackProtocol, Logger


class NoHook:
    def on_train_strat(self, trainer: TrainerView, module: nn.Module) -> None: ...


class TooFew:
    def on_train_start(self) -> None: ...


class TooMany:
    def on_train_batch_start(
        self, trainer: TrainerView, module: nn.Module, batch: Batch, batch_idx: int, dataloader_idx: int
    ) -> None: ...


class WrongIndex:
    def on_train_batch_start(self, trainer: TrainerView, module: nn.Module, batch: Batch, batch_idx: str) -> None: ...


class WrongCheck:
    def on_sanity_check_end(self, module: nn.Module) -> None: ...


class NotCallable:
    on_fit_end = 3


class WrongLogger:
    def log_metrics(self, metrics: Mapping[str, float]) -> None: ...
    def finalize(self, status: str) -> None: ...


Trainer(callbacks=[NoHook()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=[TooFew()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=[TooMany()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=[WrongIndex()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=[WrongCheck()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=[NotCallable()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=[print])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Trainer(callbacks=Callback())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(loggers=[WrongLogger()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
listens: CallbackProtocol = object()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
logger: Logger = WrongLogger()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class WrongBase(Callback):
    def on_fit_start(self, trainer: TrainerView) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_train_start(self, trainer: TrainerView, module: Classifier) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_train_batch_start(self, trainer: TrainerView, module: nn.Module, batch: Batch, batch_idx: int) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_exception(self, trainer: TrainerView, module: nn.Module, exception: ValueError) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class WrongTyped(Callback[Classifier, Batch]):
    def on_train_batch_start(self, trainer: TrainerView, module: Classifier, batch: int, batch_idx: int) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_train_start(self, trainer: TrainerView, module: Classifier) -> None:
        trainer.current_epoch = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        print(trainer.step)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
        trainer.should_stop = "yes"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        module.on_what_ever()  # type: ignore[operator]  # pyright: ignore[reportCallIssue]


class WrongHooks(Classifier, ModuleHooks[Batch]):
    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return ""

    def on_train_epoch_end(self, outputs: object) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def on_after_batch_transfer(self, batch: int, dataloader_idx: int) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return batch

    def configure_callbacks(self) -> list[NoHook]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return []


class WrongOutputs(Classifier, ModuleHooks[Batch, Tensor]):
    def training_epoch_end(self, outputs: list[int]) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
    def validation_epoch_end(self) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class GathersTooMuch(Callback):
    def test_epoch_end(self, trainer: TrainerView, module: nn.Module, outputs: list[Batch]) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
