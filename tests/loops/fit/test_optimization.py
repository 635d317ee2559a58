"""What `configure_optimizers` may return, and what its schedulers do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from typing_extensions import Protocol, runtime_checkable

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, Loop, OptimizerLoop, StepLoop, TrainerView, TrainingModule
from typedloops.errors import ModuleError, OptimizerError
from typedloops.loops.fit.optimization.configure import configure
from typedloops.protocols import ConfiguresOptimizers

# Much here is wrong on purpose, or made of values that no checker can follow.
Trainer: Any = typedloops.Trainer


class Configured(Classifier):
    """Returns whatever the test says of its one optimizer."""

    def __init__(self, answer: Callable[[Optimizer], object]) -> None:
        super().__init__()
        self.optimizer = SGD(self.parameters(), lr=1.0)
        self.answer = answer

    def configure_optimizers(self) -> object:  # type: ignore[override]
        return self.answer(self.optimizer)


def halving(optimizer: Optimizer) -> StepLR:
    return StepLR(optimizer, step_size=1, gamma=0.5)


ONE_OPTIMIZER: dict[str, Callable[[Optimizer], object]] = {
    "an optimizer": lambda o: o,
    "a list": lambda o: [o],
    "a pair of lists": lambda o: ([o], []),
    "a dict": lambda o: {"optimizer": o},
    "a list of dicts": lambda o: [{"optimizer": o}],
}
ONE_SCHEDULER: dict[str, Callable[[Optimizer], object]] = {
    "a dict": lambda o: {"optimizer": o, "lr_scheduler": halving(o)},
    "a dict of dicts": lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": halving(o)}},
    "a pair of lists": lambda o: ([o], [halving(o)]),
    "a pair of lists with a dict": lambda o: ([o], [{"scheduler": halving(o), "interval": "epoch"}]),
    "a list of dicts": lambda o: [{"optimizer": o, "lr_scheduler": halving(o)}],
    "an object": lambda o: (
        [o],
        [SimpleNamespace(scheduler=halving(o), interval="epoch", frequency=1, monitor=None, strict=True)],
    ),
}


@pytest.mark.parametrize("form", ONE_OPTIMIZER)
def test_forms_with_an_optimizer(form: str) -> None:
    model = Configured(ONE_OPTIMIZER[form])
    configured = configure(cast("ConfiguresOptimizers", model))
    assert (configured.optimizers, configured.rates, configured.frequencies) == ([model.optimizer], [], [])
    assert Trainer(max_epochs=1).fit(model, batches(3)).optimizer_steps == 3


@pytest.mark.parametrize("form", ONE_SCHEDULER)
def test_forms_with_a_scheduler(form: str) -> None:
    model = Configured(ONE_SCHEDULER[form])
    Trainer(max_epochs=3).fit(model, batches(2))
    assert model.optimizer.param_groups[0]["lr"] == 1.0 * 0.5**3


@pytest.mark.parametrize(
    ("interval", "frequency", "expected"), [("epoch", 1, 3), ("epoch", 2, 1), ("step", 1, 12), ("step", 3, 4)]
)
def test_intervals_and_frequencies(interval: str, frequency: int, expected: int) -> None:
    model = Configured(
        lambda o: {
            "optimizer": o,
            "lr_scheduler": {"scheduler": halving(o), "interval": interval, "frequency": frequency},
        }
    )
    Trainer(max_epochs=3).fit(model, batches(4))
    assert model.optimizer.param_groups[0]["lr"] == 1.0 * 0.5**expected


def test_a_step_scheduler_rests_when_no_step_is_taken() -> None:
    class EveryOther(Configured):
        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor | None:  # type: ignore[override]
            return super().training_step(batch, batch_idx) if batch_idx % 2 == 0 else None

    model = EveryOther(
        lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": halving(o), "interval": "step"}},
    )
    result = Trainer(max_epochs=1).fit(model, batches(5))
    assert result.optimizer_steps == 3
    assert model.optimizer.param_groups[0]["lr"] == 0.5**3


def plateau(optimizer: Optimizer, monitor: str, strict: bool = True) -> object:
    scheduler = ReduceLROnPlateau(optimizer, patience=0, factor=0.1, mode="max")
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": monitor, "strict": strict}}


def test_a_plateau_scheduler_follows_its_metric() -> None:
    """The validation loss falls, and the scheduler waits for it to rise."""
    model = Configured(lambda o: plateau(o, "val_loss"))
    model.optimizer.param_groups[0]["lr"] = 0.1
    Trainer(max_epochs=3).fit(model, batches(4), batches(4))
    assert model.optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


def test_a_monitored_metric_that_is_not_there() -> None:
    with pytest.raises(OptimizerError) as caught:
        Trainer(max_epochs=1).fit(Configured(lambda o: plateau(o, "acuracy")), batches(1), batches(1))
    assert "ReduceLROnPlateau(monitor='acuracy')" in str(caught.value)
    assert "there is no such metric after this epoch; there are ['train_loss', 'val_loss']" in str(caught.value)
    assert Trainer(max_epochs=1).fit(Configured(lambda o: plateau(o, "acuracy", strict=False)), batches(1)).epochs == 1


BAD: dict[str, tuple[Callable[[Optimizer], object], str]] = {
    "a string": (lambda o: "adam", "it returned a str where an optimizer is expected"),
    "a class": (lambda o: Adam, "it returned a type where an optimizer is expected"),
    "a scheduler": (halving, "it returned a StepLR where an optimizer is expected"),
    "a list of strings": (lambda o: ["adam"], "it returned a str where an optimizer is expected"),
    "an optimizer and a scheduler": (lambda o: (o, halving(o)), "it returned a StepLR where an optimizer is expected"),
    "a list and a scheduler": (lambda o: ([o], halving(o)), "beside the optimizers it returned a StepLR"),
    "no key optimizer": (lambda o: {"lr_scheduler": halving(o)}, "without the key `optimizer`"),
    "an unknown key": (lambda o: {"optimizer": o, "scheduler": halving(o)}, "unknown keys ['scheduler']"),
    "an unknown setting": (
        lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": halving(o), "every": 2}},
        "unknown settings ['every']",
    ),
    "no scheduler": (lambda o: {"optimizer": o, "lr_scheduler": {"interval": "epoch"}}, "a dict is not a scheduler"),
    "a bad interval": (
        lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": halving(o), "interval": "batch"}},
        "its interval is 'batch'",
    ),
    "a bad frequency": (
        lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": halving(o), "frequency": 0}},
        "its frequency is 0",
    ),
    "a plateau without a monitor": (
        lambda o: {"optimizer": o, "lr_scheduler": ReduceLROnPlateau(o)},
        "a ReduceLROnPlateau needs to know its metric",
    ),
    "two optimizers": (
        lambda o: [o, SGD(o.param_groups)],
        "it returned 2 optimizers, and Configured.training_step has no",
    ),
    "one optimizer twice": (lambda o: [o, o], "it returned one optimizer twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used(case: str) -> None:
    answer, problem = BAD[case]
    with pytest.raises(OptimizerError) as caught:
        Trainer(max_epochs=1).fit(Configured(answer), batches(1))
    assert str(caught.value).startswith("Configured.configure_optimizers")
    assert problem in str(caught.value)
    assert caught.value.remedy


class Yielding(Loop[[Classifier, Batch, int], float]):
    """An optimizer loop for another kind of module: its training step yields losses."""

    @runtime_checkable
    class Module(Protocol):
        def training_step(self, batch: Batch, batch_idx: int, /) -> Generator[torch.Tensor, None, None]: ...

    requires = Module

    def __init__(self) -> None:
        self.total = 0.0

    @property
    def done(self) -> bool:
        return False

    def on_run_start(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        self.losses = iter(model.training_step(batch, batch_idx))

    def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        optimizer = self.trainer.optimizers[0]
        loss = next(self.losses)  # StopIteration ends this loop
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        self.total += loss.item()

    def on_run_end(self) -> float:
        return self.total


def test_a_loop_for_another_kind_of_module_in_place_of_the_optimizer_loop() -> None:
    class YieldsTwice(Classifier):
        def training_step(self, batch: Batch, batch_idx: int):  # type: ignore[no-untyped-def]
            yield self.loss(batch)
            yield self.loss(batch)

    trainer = Trainer(max_epochs=2)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Yielding())
    result = trainer.fit(YieldsTwice(), batches(3))
    assert (result.batches, result.optimizer_steps) == (6, 12)
    with pytest.raises(ModuleError, match=r"Classifier\.training_step: it is not a generator function, and Yielding"):
        trainer.fit(Classifier(), batches(3))


def test_an_optimizer_loop_may_leave_a_batch_with_stop_iteration() -> None:
    class EveryOther(OptimizerLoop[Batch, torch.Tensor]):
        def advance(self, model, batch, batch_idx):  # type: ignore[no-untyped-def]
            if batch_idx % 2:
                raise StopIteration
            super().advance(model, batch, batch_idx)

    outputs: list[object] = []

    class Watch(Callback):
        def on_train_batch_end(
            self, trainer: TrainerView, module: object, outputs_: object, batch: object, batch_idx: int
        ) -> None:
            outputs.append(outputs_)

    trainer = Trainer(max_epochs=1, callbacks=[Watch()])
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=EveryOther())
    result = trainer.fit(Classifier(), batches(4))
    assert (result.batches, result.optimizer_steps) == (4, 2)
    assert [output is None for output in outputs] == [False, True, False, True]


class Telling(SGD):
    """Has a `zero_grad` of its own."""

    told = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.told += 1
        super().zero_grad(set_to_none)


@pytest.mark.parametrize("place", ["class", "instance", "nowhere"])
def test_a_zero_grad_of_ones_own_is_called(place: str) -> None:
    model = Configured(lambda optimizer: optimizer)
    optimizer = model.optimizer = Telling(model.parameters(), lr=0.1) if place == "class" else model.optimizer
    calls: list[None] = []
    if place == "instance":
        own = optimizer.zero_grad
        optimizer.zero_grad = lambda set_to_none=True: calls.append(own(set_to_none))  # type: ignore[method-assign]
    Trainer(max_epochs=1).fit(model, batches(3))
    assert getattr(optimizer, "told", 0) == (3 if place == "class" else 0)
    assert len(calls) == (3 if place == "instance" else 0)


@pytest.mark.parametrize("kind", [SGD, Telling])
def test_gradients_of_one_batch_do_not_reach_the_next(kind: type[SGD]) -> None:
    class Unused(Configured):
        """Uses its last layer in the first batch only."""

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return self.loss(batch) if batch_idx == 0 else self.net[0](batch[0]).sum()

    model = Unused(lambda optimizer: optimizer)
    model.optimizer = kind(model.parameters(), lr=0.1)
    Trainer(max_epochs=1).fit(model, batches(2))
    layers = model.net
    assert layers[0].weight.grad is not None
    assert layers[3].weight.grad is None


class Descent(StepLoop[Classifier, Batch, Tensor]):
    """A leaf of one's own: one method."""

    def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        (optimizer,) = self.trainer.optimizers
        optimizer.zero_grad()
        self.output = model.training_step(batch, batch_idx)
        self.output.backward()
        optimizer.step()


class Rewritten(OptimizerLoop[Batch, Tensor]):
    """The same in place of what it inherits, without a word to its base."""

    def advance(self, model: TrainingModule[Batch, Tensor], batch: Batch, batch_idx: int) -> None:
        (optimizer,) = self.trainer.optimizers
        optimizer.zero_grad()
        self.output = model.training_step(batch, batch_idx)
        self.output.backward()
        optimizer.step()


class Skipping(Descent):
    def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 1:
            raise StopIteration
        super().advance(model, batch, batch_idx)


@pytest.mark.parametrize(("leaf", "steps"), [(OptimizerLoop, 6), (Descent, 6), (Rewritten, 6), (Skipping, 4)])
def test_a_leaf_of_ones_own_needs_one_method(leaf: Callable[[], Any], steps: int) -> None:
    torch.manual_seed(0)
    model = Classifier().eval()
    trainer = Trainer(max_epochs=2)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=leaf())
    result = trainer.fit(model, batches(3))
    assert (result.batches, result.optimizer_steps) == (6, steps)
    assert result.last_output.shape == ()
    assert not result.last_output.requires_grad
    assert trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.output is None
