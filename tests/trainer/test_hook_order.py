"""The order of the hooks, as a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tests.modules import Batch, Classifier, Loader, batches
from typedloops import (
    Callback,
    FitLoop,
    Loop,
    OptimizerLoop,
    Slot,
    Trainer,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops.callbacks import ModuleHooks

EVENTS = sorted(name for name in vars(Callback) if not name.startswith("_") and callable(getattr(Callback, name)))
MODULE_ONLY = (
    "configure_callbacks",
    "prepare_data",
    "configure_model",
    "configure_optimizers",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)


class Trace:
    """Records every hook of one callback and of the module, and the steps and optimizer calls between."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def callback(self) -> Callback[Classifier]:
        def recorder(name: str) -> object:
            def record(callback: object, trainer: object, module: object, *args: object) -> None:
                assert isinstance(trainer, Trainer)
                assert isinstance(module, Classifier)
                self.events.append(f"C.{name}")

            return record

        made: Callback[Classifier] = type("Recorder", (Callback,), {name: recorder(name) for name in EVENTS})()
        return made

    def module(self) -> Classifier:
        def recorder(name: str) -> object:
            def record(module: object, *args: object) -> object:
                self.events.append(f"M.{name}")
                if name == "configure_optimizers":
                    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                    optimizer.register_step_pre_hook(lambda *_: self.events.append("step"))
                    return optimizer
                if name == "configure_callbacks":
                    return []
                return args[0] if "batch_transfer" in name or name == "transfer_batch_to_device" else None

            return record

        def stepper(name: str) -> object:
            def step(module: Classifier, batch: Batch, batch_idx: int) -> object:
                self.events.append(f"M.{name}")
                return getattr(Classifier, name)(module, batch, batch_idx)

            return step

        steps = ("training_step", "validation_step", "test_step", "predict_step")
        members = {name: recorder(name) for name in (*EVENTS, *MODULE_ONLY)} | {name: stepper(name) for name in steps}
        model: Classifier = type("Recorded", (Classifier,), members)()
        return model


def both(*names: str) -> list[str]:
    return [f"{who}.{name}" for name in names for who in "CM"]


TRANSFER = ["M.on_before_batch_transfer", "M.transfer_batch_to_device", "M.on_after_batch_transfer"]
SET_UP = ["M.configure_callbacks", "M.prepare_data", *both("setup"), "M.configure_model"]


def evaluation(name: str, step: str, count: int) -> list[str]:
    one = [*TRANSFER, *both(f"on_{name}_batch_start"), f"M.{step}", *both(f"on_{name}_batch_end")]
    return [
        *both(f"on_{name}_start", f"on_{name}_epoch_start"),
        *one * count,
        *([] if name == "predict" else both(f"{name}_epoch_end")),
        *both(f"on_{name}_epoch_end", f"on_{name}_end"),
    ]


TRAINING_BATCH = [
    *TRANSFER,
    *both("on_train_batch_start"),
    "M.training_step",
    *both("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"),
    "step",
    *both("on_train_batch_end"),
]


def fit(epochs: int, count: int, val: int) -> list[str]:
    validation = evaluation("validation", "validation_step", val) if val else []
    epoch = [*both("on_train_epoch_start"), *TRAINING_BATCH * count, *validation]
    epoch += both("training_epoch_end", "on_train_epoch_end")
    return [
        *SET_UP,
        "M.configure_optimizers",
        *both("on_fit_start", "on_train_start"),
        *epoch * epochs,
        *both("on_train_end", "on_fit_end", "teardown"),
    ]


class PlainFit(FitLoop):
    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainEpoch(TrainingEpochLoop):
    def on_advance_end(self) -> None:
        super().on_advance_end()


class PlainBatch(TrainingBatchLoop):
    def on_advance_start(self, model: object, batch: object, batch_idx: int) -> None:
        super().on_advance_start(model, batch, batch_idx)


class PlainOptimizer(OptimizerLoop):
    def advance(self, model: Any, batch: object, batch_idx: int) -> None:
        super().advance(model, batch, batch_idx)


TREES: dict[str, Callable[[Any], None]] = {
    "default": lambda loop: None,
    "own epoch loop": lambda loop: loop.replace(epoch_loop=PlainEpoch),
    "own batch loop": lambda loop: loop.epoch_loop.replace(batch_loop=PlainBatch),
    "own optimizer loop": lambda loop: loop.epoch_loop.batch_loop.replace(optimizer_loop=PlainOptimizer),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("val", [0, 3])
def test_fit(tree: str, val: int) -> None:
    """Whatever is overridden, the same hooks are called in the same order."""
    trace = Trace()
    trainer = Trainer(max_epochs=2, callbacks=[trace.callback()])
    trainer.fit_loop = PlainFit() if tree != "default" else trainer.fit_loop
    TREES[tree](trainer.fit_loop)
    if val:
        trainer.fit(trace.module(), batches(2), batches(val))
    else:
        trainer.fit(trace.module(), batches(2))
    assert trace.events == fit(epochs=2, count=2, val=val)


def test_a_sanity_check_comes_before_training() -> None:
    trace = Trace()
    trainer = Trainer(max_epochs=1, callbacks=[trace.callback()], num_sanity_val_steps=2)
    trainer.fit(trace.module(), batches(2), batches(3))
    expected = fit(epochs=1, count=2, val=3)
    start = expected.index("C.on_train_start")
    check = evaluation("validation", "validation_step", 2)
    expected[start:start] = [*both("on_sanity_check_start"), *check, *both("on_sanity_check_end")]
    assert trace.events == expected


@pytest.mark.parametrize("tree", TREES)
def test_validation_within_an_epoch(tree: str) -> None:
    trace = Trace()
    trainer = Trainer(max_epochs=1, callbacks=[trace.callback()], val_check_interval=2)
    TREES[tree](trainer.fit_loop)
    trainer.fit(trace.module(), batches(5), batches(1))
    validation = evaluation("validation", "validation_step", 1)
    plain = fit(epochs=1, count=0, val=0)
    end = plain.index("C.training_epoch_end")
    plain[end:end] = [*[*TRAINING_BATCH * 2, *validation] * 2, *TRAINING_BATCH]
    assert trace.events == plain


@pytest.mark.parametrize(
    ("entry", "name", "step"),
    [
        ("validate", "validation", "validation_step"),
        ("test", "test", "test_step"),
        ("predict", "predict", "predict_step"),
    ],
)
def test_evaluation_and_prediction(entry: str, name: str, step: str) -> None:
    trace = Trace()
    getattr(Trainer(callbacks=[trace.callback()]), entry)(trace.module(), batches(2))
    assert trace.events == [*SET_UP, *evaluation(name, step, 2), *both("teardown")]


def test_an_exception_is_told_and_the_run_torn_down() -> None:
    trace = Trace()
    model = trace.module()
    model.net[0].forward = lambda x: 1 / 0
    with pytest.raises(ZeroDivisionError):
        Trainer(max_epochs=1, callbacks=[trace.callback()]).fit(model, batches(1))
    assert trace.events[-4:] == both("on_exception", "teardown")


def test_callbacks_are_called_in_their_order_and_those_of_the_module_after_them() -> None:
    called: list[str] = []

    class Named(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_fit_start(self, trainer: object, module: object) -> None:
            called.append(self.name)

    class Model(Classifier):
        def configure_callbacks(self) -> Named:
            return Named("the module's")

        def on_fit_start(self) -> None:
            called.append("module")

    trainer = Trainer(max_epochs=1, callbacks=[Named("first"), Named("second")])
    trainer.fit(Model(), batches(1))
    assert called == ["first", "second", "the module's", "module"]
    trainer.fit(Classifier(), batches(1))
    assert called[4:] == ["first", "second"]


def test_the_bases_listen_to_nothing() -> None:
    """What only inherits a placeholder is not called at all."""
    from typedloops.loops.run.listeners import Listeners

    class Model(Classifier, ModuleHooks[Batch]):
        pass

    class Deaf(Callback[Model]):
        pass

    listeners = Listeners([Deaf()], Model(), None)
    for event in (*EVENTS, *MODULE_ONLY[:3]):
        assert len(listeners.hook(event)) == 0


class Arguments(Callback[Classifier, Batch]):
    """Keeps what the batch hooks are given."""

    seen: ClassVar[dict[str, tuple[object, ...]]] = {}

    def on_train_batch_start(self, trainer: object, module: Classifier, batch: Batch, batch_idx: int) -> None:
        self.seen["train start"] = (batch, batch_idx)

    def on_train_batch_end(
        self, trainer: object, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self.seen["train end"] = (outputs, batch, batch_idx)

    def on_validation_batch_end(
        self,
        trainer: object,
        module: Classifier,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.seen["validation end"] = (outputs, batch, batch_idx, dataloader_idx)

    def on_before_backward(self, trainer: object, module: Classifier, loss: Tensor) -> None:
        self.seen["loss"] = (loss,)

    def on_before_optimizer_step(self, trainer: object, module: Classifier, optimizer: torch.optim.Optimizer) -> None:
        self.seen["optimizer"] = (optimizer,)


def test_the_arguments_of_hooks() -> None:
    train, val = batches(2), batches(1)
    keeper = Arguments()
    Trainer(max_epochs=1, callbacks=[keeper]).fit(Classifier(), train, [Loader(val), Loader(val)])
    seen = keeper.seen
    assert seen["train start"] == (train[-1], 1)
    outputs, batch, batch_idx = seen["train end"]
    assert isinstance(outputs, Tensor)
    assert outputs is seen["loss"][0]
    assert (batch, batch_idx) == (train[-1], 1)
    assert isinstance(seen["optimizer"][0], torch.optim.SGD)
    assert seen["validation end"][1:] == (val[0], 0, 1)


def test_a_hook_of_ones_own() -> None:
    told: list[object] = []

    class Curious(Callback):
        def on_surprise(self, trainer: object, module: object, value: int) -> None:
            told.append(("callback", value))

    class Surprising(ValidationLoop):
        def on_run_end(self):  # type: ignore[no-untyped-def]
            self.trainer.call_hook("on_surprise", 7)
            self.trainer.call_hook("on_nothing_that_anyone_hears", 8)
            return super().on_run_end()

    class Model(Classifier):
        def on_surprise(self, value: int) -> None:
            told.append(("module", value))

    Trainer(callbacks=[Curious()], validate_loop=Surprising()).validate(Model(), batches(1))
    assert told == [("callback", 7), ("module", 7)]


def test_a_class_that_is_given_as_what_makes_modules_has_no_hooks_itself() -> None:
    told: list[str] = []

    class Hooked(Classifier):
        def setup(self, stage: str) -> None:
            told.append(stage)

        def on_train_epoch_start(self) -> None:
            told.append("epoch")

    class Makes(Loop[[type[Hooked]], None]):
        fit_loop: Slot[FitLoop] = Slot()
        made = False

        def __init__(self) -> None:
            self.fit_loop = FitLoop(max_epochs=1)

        @property
        def done(self) -> bool:
            return self.made

        def advance(self, make: type[Hooked]) -> None:
            self.fit_loop.run(make(), batches(1))
            self.made = True

    Trainer(fit_loop=Makes()).fit(Hooked)
    assert told == ["fit", "epoch"]
