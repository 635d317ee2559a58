"""Every piece of bad input gets an error that names the thing, the place and the remedy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import Callback, FitLoop, FitLoopOf, OptimizerLoop, TrainingBatchLoop
from typedloops.errors import (
    ConfigurationError,
    EscapedStopIteration,
    HookError,
    LoaderError,
    LoopTreeError,
    MisuseError,
    ModuleError,
    StepOutputError,
)

# Much here is wrong on purpose, or made of values that no checker can follow.
Trainer: Any = typedloops.Trainer

Run = Callable[[], object]


def fit(model: object, train: object = None, **settings: object) -> Run:
    loader = batches(2) if train is None else train
    return lambda: Trainer(max_epochs=1, **settings).fit(model, loader)


class NoStep(nn.Module):
    def configure_optimizers(self) -> None: ...


class NoOptimizers(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()


class OneParameter(Classifier):
    def training_step(self, batch: Batch) -> Tensor:  # type: ignore[override]
        return self.loss(batch)


class ThreeParameters(Classifier):
    def training_step(self, batch: Batch, batch_idx: int, hidden: int) -> Tensor:  # type: ignore[override]
        return self.loss(batch)


class Generating(Classifier):
    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:  # type: ignore[override]
        yield self.loss(batch)


class Lit(lightning.pytorch.LightningModule):
    def configure_optimizers(self) -> None: ...


class PL(pytorch_lightning.LightningModule):
    def training_step(self, batch: Batch, batch_idx: int) -> None: ...


def giving(output: object) -> Classifier:
    class Giving(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> object:  # type: ignore[override]
            return output

    return Giving()


class Detached(Classifier):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch).detach()


class Unreduced(Classifier):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1], reduction="none")


class Stopping(Classifier):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return next(iter(()))


class StoppingHook(Classifier):
    def on_train_epoch_start(self) -> None:
        next(iter(()))


class StoppingCallback(Callback):
    def on_train_batch_end(self, *args: object) -> None:
        raise StopIteration


class Narrow:
    def on_train_epoch_end(self, trainer: object) -> None: ...


class NarrowModule(Classifier):
    def on_train_batch_end(self, outputs: object) -> None: ...


class StopsValidation(Callback):
    def on_validation_start(self, trainer: Any, module: nn.Module) -> None:
        trainer.should_stop = True


class LogsTooLate(Callback):
    def on_validation_end(self, trainer: Any, module: nn.Module) -> None:
        trainer.log("late", 1.0)


class LogsNone(Callback):
    def on_validation_epoch_end(self, trainer: Any, module: nn.Module) -> None:
        trainer.log("x", None)


def stop(items: object) -> object:
    raise StopIteration


class StoppingStream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        yield torch.zeros(4)


DATASET = TensorDataset(torch.zeros(4, 4), torch.zeros(4, dtype=torch.int64))


class StoppingItems(Dataset[int]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        return next(iter(()))


class Swapped(Classifier):
    def training_step(self, batch_idx: Batch, batch: int) -> Tensor:  # type: ignore[override]
        return self.loss(batch_idx)


class OnlyLogs:
    def log_metrics(self, metrics: object, step: int) -> None: ...


class ReadsWrongMetric(Callback):
    def on_train_epoch_end(self, trainer: Any, module: nn.Module) -> None:
        trainer.metrics["valid_loss"]


def silently(run: Run) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run()


CASES: dict[str, tuple[Run, type[MisuseError], tuple[str, ...]]] = {
    "no step": (
        fit(NoStep()),
        ModuleError,
        ("NoStep.training_step", "there is no such method", "OptimizerLoop needs a TrainingModule", "Define `def tr"),
    ),
    "no optimizers": (fit(NoOptimizers()), ModuleError, ("NoOptimizers.configure_optimizers", "Define `def conf")),
    "a placeholder of lightning": (
        fit(Lit()),
        ModuleError,
        (
            "Lit.training_step",
            "only inherited from LightningModule",
            "Define `def training_step(self, batch, batch_idx)`",
        ),
    ),
    "a placeholder of pytorch_lightning": (
        fit(PL()),
        ModuleError,
        ("PL.configure_optimizers", "only inherited from LightningModule"),
    ),
    "too few parameters": (
        fit(OneParameter()),
        ModuleError,
        ("OneParameter.training_step", "it takes (batch:", "is called with (batch, batch_idx)", "too many positional"),
    ),
    "parameters in another order": (
        fit(Swapped()),
        ModuleError,
        (
            "Swapped.training_step",
            "is called with (batch, batch_idx) in this order",
            "Define `def training_step(self, ",
        ),
    ),
    "a callback without hooks": (
        lambda: Trainer(callbacks=[3]),
        HookError,
        ("callbacks: 3", "it has no hook", "Subclass typedloops.Callback"),
    ),
    "one callback that is no list": (
        lambda: Trainer(callbacks=Callback()),
        HookError,
        ("callbacks", "a Callback is no list of callbacks", "Write [callback]"),
    ),
    "half a logger": (
        lambda: Trainer(loggers=[OnlyLogs()]),
        ConfigurationError,
        ("loggers: ", "it is no logger", "`log_metrics(metrics, step)` and `finalize(status)`"),
    ),
    "loggers as in Lightning": (
        lambda: Trainer(loggers=True),
        ConfigurationError,
        ("loggers", "a bool is no list of loggers", "Write [logger]"),
    ),
    "a dataset": (
        fit(Classifier(), DATASET),
        LoaderError,
        ("train dataloader", "a TensorDataset is a dataset: it gives samples, not batches", "BatchLoader(dataset, b"),
    ),
    "a mapping of loaders": (
        fit(Classifier(), {"a": batches(1)}),
        LoaderError,
        ("train dataloader", "it is a dict of loaders, and one is taken", "CombinedLoader makes one of several"),
    ),
    "a list of loaders": (
        fit(Classifier(), [DataLoader(DATASET), DataLoader(DATASET)]),
        LoaderError,
        ("train dataloader", "it is a list of loaders, and one is taken"),
    ),
    "a loop in two places of a trainer": (
        lambda: Trainer(validate_loop=(loop := typedloops.ValidationLoop()), test_loop=loop),
        LoopTreeError,
        ("trainer.test_loop", "this ValidationLoop is already the validate_loop", "Build another"),
    ),
    "too many parameters": (
        fit(ThreeParameters()),
        ModuleError,
        ("ThreeParameters.training_step", "missing a required argument: 'hidden'"),
    ),
    "a generator": (fit(Generating()), ModuleError, ("Generating.training_step", "it is a generator function")),
    "a module that is a class": (fit(Classifier), ModuleError, ("Classifier", "it is a class", "Give an instance")),
    "no validation step": (
        lambda: Trainer(max_epochs=1).fit(NoOptimizersButWhole(), batches(1), batches(1)),
        ModuleError,
        ("NoOptimizersButWhole.validation_step", "ValidationLoop needs a ValidationModule"),
    ),
    "no validation step to validate": (
        lambda: Trainer().validate(NoStep(), batches(1)),
        ModuleError,
        ("NoStep.validation_step", "ValidationLoop needs a ValidationModule"),
    ),
    "no test step": (
        lambda: Trainer().test(NoStep(), batches(1)),
        ModuleError,
        ("NoStep.test_step", "TestLoop needs a TestModule"),
    ),
    "no predict step": (
        lambda: Trainer().predict(NoStep(), batches(1)),
        ModuleError,
        ("NoStep.predict_step", "PredictionLoop needs a PredictModule"),
    ),
    "not iterable": (
        fit(Classifier(), 5),
        LoaderError,
        ("train dataloader", "an object of type int is not iterable", "Give a loader"),
    ),
    "empty": (fit(Classifier(), []), LoaderError, ("train dataloader", "it gave no batches", "Is the dataset empty")),
    "a used up iterator": (
        lambda: Trainer(max_epochs=2).fit(Classifier(), iter(batches(1))),
        LoaderError,
        ("train dataloader", "a list_iterator is an iterator, which can be gone through only once", "Give what can be"),
    ),
    "an empty validation": (
        lambda: Trainer().validate(Classifier(), []),
        LoaderError,
        ("validation dataloader", "it gave no batches"),
    ),
    "an empty prediction": (
        lambda: Trainer().predict(Classifier(), Loader([])),
        LoaderError,
        ("predict dataloader", "it gave no batches"),
    ),
    "None": (
        fit(Classifier(), [batches(1)[0], None]),
        LoaderError,
        ("train dataloader", "batch 1 is None", "drop the item"),
    ),
    "loaders and batches": (
        lambda: Trainer().validate(Classifier(), [Loader(batches(1)), batches(1)[0]]),
        LoaderError,
        ("validation dataloaders", "some of its items are loaders and others (tuple) are not"),
    ),
    "a float": (fit(giving(0.5)), StepOutputError, ("Giving.training_step", "it returned a float as the loss")),
    "no loss": (
        fit(giving({"acc": torch.ones(())})),
        StepOutputError,
        ("Giving.training_step", "a mapping without the key 'loss'; it has ['acc']", "Return a scalar loss"),
    ),
    "a float as the loss": (fit(giving({"loss": 1.0})), StepOutputError, ("it returned a float as the loss",)),
    "no grad": (
        fit(Detached()),
        StepOutputError,
        ("Detached.training_step", "does not depend on any parameter that requires a gradient", "Was it detached"),
    ),
    "not a scalar": (fit(Unreduced()), StepOutputError, ("its loss has shape (6,)", "loss.mean()")),
    "negative epochs": (lambda: Trainer(max_epochs=-2), ConfigurationError, ("max_epochs", "-2 is negative", "-1 for")),
    "negative steps": (lambda: Trainer(max_steps=-2), ConfigurationError, ("max_steps", "-2 is negative")),
    "negative epochs of a loop": (lambda: FitLoop(-5), ConfigurationError, ("FitLoop.max_epochs", "-5 is negative")),
    "a negative limit": (
        lambda: Trainer(limit_val_batches=-1),
        ConfigurationError,
        ("limit_val_batches", "-1 is negative", "a share from 0.0 to 1.0"),
    ),
    "a share above the whole": (
        lambda: Trainer(limit_train_batches=5.0),
        ConfigurationError,
        ("limit_train_batches", "a share of 5.0 is above the whole", "Give an int for a number of batches: 5"),
    ),
    "a share below a batch": (
        fit(Classifier(), limit_train_batches=0.1),
        ConfigurationError,
        ("the limit on train dataloader", "0.1 of 2 batches is less than one batch", "Give at least 0.5"),
    ),
    "a share of an unknown length": (
        fit(Classifier(), iter(batches(2)), limit_train_batches=0.5),
        ConfigurationError,
        ("the limit on train dataloader", "without a length", "Give an int"),
    ),
    "a limit that is a string": (lambda: Trainer(limit_test_batches="1"), ConfigurationError, ("limit_test_batches",)),
    "epochs that are a string": (lambda: Trainer(max_epochs="3"), ConfigurationError, ("max_epochs", "Give an int")),
    "validation that never comes round": (
        lambda: Trainer(check_val_every_n_epoch=0),
        ConfigurationError,
        ("check_val_every_n_epoch", "0 epochs never come round"),
    ),
    "a loop that is none": (
        lambda: Trainer(fit_loop=5),
        LoopTreeError,
        ("trainer.fit_loop", "it needs a loop, got int", "subclass typedloops.Loop"),
    ),
    "a loop class": (
        lambda: setattr(Trainer(), "fit_loop", FitLoop),
        LoopTreeError,
        ("trainer.fit_loop", "got the class FitLoop", "Build one: FitLoop(...)"),
    ),
    "a child as an entry loop": (
        lambda: Trainer(validate_loop=Trainer().fit_loop.epoch_loop.val_loop),
        LoopTreeError,
        ("validate_loop: ValidationLoop", "already the child 'fit_loop.epoch_loop.val_loop' of a FitLoop"),
    ),
    "a leaf where the epochs' loop belongs": (
        lambda: Trainer(fit_loop=FitLoopOf(cast("Any", TrainingBatchLoop(OptimizerLoop())))).fit(
            Classifier(), batches(1)
        ),
        LoopTreeError,
        ("FitLoopOf.epoch_loop", "it needs a TrainingEpochLoop, got TrainingBatchLoop", "FitLoopOf(TrainingEpochLoop("),
    ),
    "a part of a tree run by itself": (
        lambda: FitLoop().epoch_loop.run(Classifier(), batches(1), None),
        ConfigurationError,
        ("TrainingEpochLoop", "it is a part of a tree and was run by itself", "Run the loop at the top"),
    ),
    "a callback that is a class": (
        fit(Classifier(), callbacks=[StoppingCallback]),
        HookError,
        ("callbacks: StoppingCallback", "it is a class", "Give an instance: StoppingCallback()"),
    ),
    "a callback's hook with other parameters": (
        fit(Classifier(), callbacks=[Narrow()]),
        HookError,
        (
            "Narrow.on_train_epoch_end",
            "too many positional arguments",
            "`def on_train_epoch_end(self, trainer, module)`",
        ),
    ),
    "a module's hook with other parameters": (
        fit(NarrowModule()),
        HookError,
        ("NarrowModule.on_train_batch_end", "too many positional", "(self, outputs, batch, batch_idx)`"),
    ),
    "steps as the only limit, and none taken": (
        lambda: silently(lambda: Trainer(max_steps=3).fit(giving(None), batches(2))),
        ConfigurationError,
        ("max_steps", "the only limit, and 10 epochs took no optimizer step"),
    ),
    "a limit beyond counting": (
        lambda: Trainer(limit_train_batches=10**30),
        ConfigurationError,
        ("limit_train_batches", "more than can be counted"),
    ),
    "an empty loader with a share": (
        fit(Classifier(), [], limit_train_batches=0.5),
        LoaderError,
        ("train dataloader", "it gave no batches"),
    ),
    "should_stop in a validation": (
        lambda: Trainer(callbacks=[StopsValidation()]).validate(Classifier(), batches(1)),
        MisuseError,
        ("trainer.should_stop", "a run of validate cannot be stopped"),
    ),
    "a log that nobody would see": (
        lambda: Trainer(callbacks=[LogsTooLate()]).validate(Classifier(), batches(1)),
        MisuseError,
        ("log('late')", "already taken", "epoch_end"),
    ),
    "None logged": (
        lambda: Trainer(callbacks=[LogsNone()]).validate(Classifier(), batches(1)),
        MisuseError,
        ("log('x')", "its value is a NoneType", "Log a number"),
    ),
    "StopIteration from a step": (
        fit(Stopping()),
        EscapedStopIteration,
        ("Stopping.training_step", "StopIteration escaped from it"),
    ),
    "StopIteration from a module's hook": (
        fit(StoppingHook()),
        EscapedStopIteration,
        ("StoppingHook.on_train_epoch_start", "StopIteration escaped from it"),
    ),
    "StopIteration from a callback": (
        fit(Classifier(), callbacks=[StoppingCallback()]),
        EscapedStopIteration,
        ("StoppingCallback.on_train_batch_end", "StopIteration escaped from it"),
    ),
    "StopIteration from a collate function": (
        fit(Classifier(), DataLoader(DATASET, collate_fn=stop)),
        EscapedStopIteration,
        ("stop", "StopIteration escaped from it"),
    ),
    "StopIteration from a collate function over a stream": (
        fit(Classifier(), DataLoader(StoppingStream(), batch_size=1, collate_fn=stop)),
        EscapedStopIteration,
        ("stop", "StopIteration escaped from it"),
    ),
    "StopIteration from a dataset": (
        fit(Classifier(), DataLoader(StoppingItems())),
        EscapedStopIteration,
        ("StoppingItems.__getitem__", "StopIteration escaped from it"),
    ),
    "StopIteration from a worker": (
        fit(Classifier(), DataLoader(StoppingItems(), num_workers=1)),
        EscapedStopIteration,
        ("a worker of the DataLoader", "StopIteration escaped from it"),
    ),
    "log outside a run": (lambda: Trainer().log("x", 1.0), MisuseError, ("trainer.log('x')", "nothing is running")),
    "call_hook outside a run": (
        lambda: Trainer().call_hook("x"),
        MisuseError,
        ("call_hook('x')", "nothing is running"),
    ),
    "should_stop outside a run": (
        lambda: setattr(Trainer(), "should_stop", True),
        MisuseError,
        ("trainer.should_stop", "nothing is running"),
    ),
}


class NoOptimizersButWhole(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    run, kind, parts = CASES[case]
    with pytest.raises(MisuseError) as caught:
        run()
    assert type(caught.value) is kind
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.where
    assert caught.value.remedy.endswith((".", "?", ")"))


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"there is no metric 'valid_loss'; there are \['train_loss'\]"):
        fit(Classifier(), callbacks=[ReadsWrongMetric()])()


def test_a_module_without_validation_step_fits_without_validation_loaders() -> None:
    assert Trainer(max_epochs=1).fit(NoOptimizersButWhole(), batches(2)).batches == 2


@pytest.mark.parametrize(("length", "gave"), [(5, 3), (2, 3)])
def test_a_loader_that_errs_about_its_length_is_trained_on_and_told(length: int, gave: int) -> None:
    with pytest.warns(UserWarning, match=f"train dataloader: its length is {length} and it gave {gave} batches"):
        assert Trainer(max_epochs=1).fit(Classifier(), Loader(batches(3), length=length)).batches == 3


def test_a_loop_cannot_run_inside_itself() -> None:
    class Recursive(Callback):
        def on_train_start(self, trainer: Any, module: nn.Module) -> None:
            trainer.fit(module, batches(1))

    with pytest.raises(MisuseError, match="FitLoop: it is already running"):
        Trainer(max_epochs=1, callbacks=[Recursive()]).fit(Classifier(), batches(1))


def test_a_run_inside_a_run_of_another_loop() -> None:
    class Testing(Callback[Classifier]):
        result = 0

        def on_train_epoch_end(self, trainer: Any, module: Classifier) -> None:
            self.result += trainer.test(module, batches(3)).batches

    testing = Testing()
    result = Trainer(max_epochs=2, callbacks=[testing]).fit(Classifier(), batches(2))
    assert testing.result == 6
    assert result.batches == 4


def test_an_error_of_torch_about_backward_stays_what_it_is() -> None:
    class Twice(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            loss = self.loss(batch)
            loss.backward()
            return loss

    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        fit(Twice())()


def test_errors_are_of_the_standard_kinds_as_well() -> None:
    """`except ValueError` and the like keep working."""
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ModuleError, TypeError)
    assert issubclass(EscapedStopIteration, RuntimeError)
