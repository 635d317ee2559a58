"""Going on where the last fit of a loop ended."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, FitLoop, StopReason, TrainerView
from typedloops.errors import MisuseError, OptimizerError

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

Make = Callable[[Any], Any]


class Digits(Classifier):
    """A model with dropout, and the optimizers that it is given."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
        self.make = make

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


def loaders() -> tuple[DataLoader[Any], list[Batch]]:
    digits = load_digits()
    images = torch.as_tensor(digits.data[:160], dtype=torch.float32).div(16)
    labels = torch.as_tensor(digits.target[:160])
    return DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True), [(images[:40], labels[:40])]


def momentum(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True)


def scheduled(make_scheduler: Callable[[torch.optim.Optimizer], object], **settings: object) -> Make:
    def make(parameters: Any) -> dict[str, object]:
        optimizer = momentum(parameters)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make_scheduler(optimizer), **settings}}

    return make


MAKERS: dict[str, Make] = {
    "momentum": momentum,
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "AdamW, fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
    "LBFGS": lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=3),
    "steps of epochs": scheduled(lambda optimizer: StepLR(optimizer, 2, 0.5)),
    "every second epoch": scheduled(lambda optimizer: CosineAnnealingLR(optimizer, 3), frequency=2),
    "each step": scheduled(lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=25), interval="step"),
    "plateau": scheduled(lambda optimizer: ReduceLROnPlateau(optimizer, patience=0, threshold=0.5), monitor="val_loss"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_three_epochs_and_two_more_are_five_bit_for_bit(name: str) -> None:
    """Shuffling and dropout included."""
    make = MAKERS[name]
    torch.manual_seed(3)
    whole = Digits(make)
    expected = Trainer(max_epochs=5).fit(whole, *loaders())

    torch.manual_seed(3)
    model = Digits(make)
    trainer = Trainer(max_epochs=3)
    first = trainer.fit(model, *loaders())
    assert (first.epochs, first.stop_reason) == (3, StopReason.MAX_EPOCHS)
    trainer.fit_loop.max_epochs = 5
    second = trainer.fit(model, *loaders(), resume=True)

    assert (second.epochs, second.batches) == (5, 25)
    assert second.optimizer_steps == expected.optimizer_steps
    assert second.metrics == expected.metrics
    assert (trainer.current_epoch, trainer.global_step) == (4, expected.optimizer_steps)
    for parameter, value in model.state_dict().items():
        assert torch.equal(value, whole.state_dict()[parameter]), parameter


def test_the_scale_of_losses_goes_on() -> None:
    """The first epochs of fp16 find the scale: beginning with it anew would skip steps."""

    def fitted(*epochs: int) -> tuple[Any, dict[str, Tensor]]:
        torch.manual_seed(3)
        model, trainer = Digits(momentum), Trainer(max_epochs=epochs[0], precision="16-mixed")
        result = trainer.fit(model, *loaders())
        for trainer.fit_loop.max_epochs in epochs[1:]:
            result = trainer.fit(model, *loaders(), resume=True)
        return result, dict(model.state_dict())

    (whole, weights), (parts, others) = fitted(4), fitted(2, 3, 4)
    assert whole.skipped_steps == parts.skipped_steps
    assert whole.optimizer_steps == parts.optimizer_steps
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_several_optimizers_go_on() -> None:
    class Several(Digits):
        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:  # type: ignore[override]
            return self.loss(batch)

        def configure_optimizers(self) -> Any:
            return [
                {"optimizer": torch.optim.AdamW(self.net[0].parameters()), "frequency": 2},
                {"optimizer": momentum(self.net[3].parameters()), "frequency": 1},
            ]

    torch.manual_seed(3)
    whole = Several(momentum)
    expected = Trainer(max_epochs=3).fit(whole, *loaders())
    torch.manual_seed(3)
    model, trainer = Several(momentum), Trainer(max_epochs=1)
    trainer.fit(model, *loaders())
    trainer.fit_loop.max_epochs = 3
    assert trainer.fit(model, *loaders(), resume=True).optimizer_steps == expected.optimizer_steps
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in model.state_dict().items())


def test_it_goes_on_as_often_as_one_likes() -> None:
    torch.manual_seed(3)
    whole = Digits(MAKERS["each step"])
    Trainer(max_epochs=4).fit(whole, *loaders())
    torch.manual_seed(3)
    model = Digits(MAKERS["each step"])
    loop = FitLoop(max_epochs=1)
    loop.run(model, *loaders())
    for loop.max_epochs in (2, 3, 4):
        loop.run(model, *loaders(), resume=True)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in model.state_dict().items())


def test_without_it_a_fit_starts_anew() -> None:
    trainer, model = Trainer(max_epochs=2), Classifier()
    assert trainer.fit(model, batches(3)).epochs == 2
    trainer.fit_loop.max_epochs = 3
    result = trainer.fit(model, batches(3))
    assert (result.epochs, result.batches) == (3, 9)
    trainer.fit_loop.max_epochs = 5
    assert trainer.fit(model, batches(3), resume=True).batches == 15


def test_after_a_stop_it_goes_on_at_the_next_epoch() -> None:
    class Asking(Callback):
        def on_train_batch_end(self, trainer: TrainerView, *args: object) -> None:
            trainer.should_stop = trainer.global_step == 5

    trainer, model = Trainer(max_epochs=4, callbacks=[Asking()]), Classifier()
    first = trainer.fit(model, batches(3))
    assert (first.stop_reason, first.epochs, first.batches) == (StopReason.REQUESTED, 2, 5)
    second = trainer.fit(model, batches(3), resume=True)
    assert (second.stop_reason, second.epochs, second.batches) == (StopReason.MAX_EPOCHS, 4, 11)


@pytest.mark.parametrize(
    ("make", "raising", "message"),
    [
        (
            lambda: Trainer(max_epochs=2),
            lambda loop: setattr(loop, "max_epochs", 3),
            "max_epochs is 2, and 2 epochs are done. Raise the fit loop's `max_epochs`",
        ),
        (
            lambda: Trainer(max_steps=6),
            lambda loop: setattr(loop, "max_steps", 9),
            "max_steps is 6, and 6 optimizer steps are taken. Raise the fit loop's `max_steps`",
        ),
    ],
)
def test_nothing_left_to_do_is_said(make: Any, raising: Any, message: str) -> None:
    told: list[str] = []

    class Watching(Classifier):
        def on_fit_end(self) -> None:
            told.append("fit end")

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            told.append("step")
            return super().training_step(batch, batch_idx)

    trainer, model = make(), Watching()
    trainer.fit(model, batches(3))
    told.clear()
    with pytest.warns(
        UserWarning, match=f"^{re.escape(f'fit_loop: nothing is left to do: {message} to go on, or start anew.')}$"
    ):
        result = trainer.fit(model, batches(3), resume=True)
    assert (result.epochs, result.batches) == (2, 6)
    assert told == ["fit end"]
    raising(trainer.fit_loop)
    assert trainer.fit(model, batches(3), resume=True).batches == 9


def refused(run: Callable[[], object]) -> str:
    with pytest.raises(MisuseError) as error:
        run()
    return str(error.value)


NOTHING = (
    "fit_loop: resume=True: there is no fit to go on from: this loop has run none, or its last one did not come to its "
    "end. Fit without resume first."
)


def test_nothing_to_go_on_from() -> None:
    class Failing(Classifier):
        fails = False

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            if self.fails:
                raise ZeroDivisionError
            return super().training_step(batch, batch_idx)

    trainer, model = Trainer(max_epochs=1), Failing()
    again: Callable[[], object] = lambda: trainer.fit(model, batches(1), resume=True)  # noqa: E731
    assert refused(again) == NOTHING
    trainer.fit(model, batches(1))
    assert refused(lambda: trainer.fit(Classifier(), batches(1), resume=True)) == (
        "fit_loop: resume=True: the last fit of this loop was of another module. Give the same module, or start anew: "
        "resume=False."
    )
    model.fails = True
    with pytest.raises(ZeroDivisionError):
        trainer.fit(model, batches(1))
    assert refused(again) == NOTHING
    model.fails = False
    trainer.fit(model, batches(1))
    trainer.fit_loop.load_state_dict(trainer.fit_loop.state_dict())
    assert refused(again) == (
        "fit_loop: resume=True: state was loaded, from which it goes on by itself. Leave resume out."
    )


def test_optimizers_of_another_kind() -> None:
    trainer, model = Trainer(max_epochs=1), Digits(momentum)
    trainer.fit(model, *loaders())
    model.make = MAKERS["AdamW"]
    trainer.fit_loop.max_epochs = 2
    with pytest.raises(OptimizerError) as error:
        trainer.fit(model, *loaders(), resume=True)
    assert str(error.value) == (
        "configure_optimizers: it made AdamW, and the last fit had SGD. Make the same, or start anew."
    )
    model.make = MAKERS["steps of epochs"]
    trainer.fit(model, *loaders())
    model.make = momentum
    trainer.fit_loop.max_epochs = 3
    with pytest.raises(OptimizerError, match="it made none, and the last fit had StepLR"):
        trainer.fit(model, *loaders(), resume=True)


def test_other_parameters() -> None:
    trainer, model = Trainer(max_epochs=1), Digits(momentum)
    trainer.fit(model, *loaders())
    model.make = lambda parameters: momentum([*parameters][:2])
    trainer.fit_loop.max_epochs = 2
    with pytest.raises(OptimizerError, match=r"^configure_optimizers: what it made does not fit: loaded state dict"):
        trainer.fit(model, *loaders(), resume=True)


def test_what_is_kept_goes_with_the_module() -> None:
    optimizers: list[weakref.ref[Optimizer]] = []

    class Looks(Callback):
        def on_fit_end(self, trainer: TrainerView, module: object) -> None:
            optimizers.extend(weakref.ref(optimizer) for optimizer in trainer.optimizers)

    trainer, model = Trainer(max_epochs=1, callbacks=[Looks()]), Digits(MAKERS["plateau"])
    trainer.fit(model, *loaders())
    assert len(optimizers) == 1
    gone = weakref.ref(model)
    kept = trainer.fit_loop._continuation
    assert kept is not None
    saved: Any = kept._state["optimizers"]
    states = [weakref.ref(state["momentum_buffer"]) for state in saved[0]["state"]["state"].values()]
    del saved
    assert len(states) == 4
    gc.collect()
    assert all(state() is not None for state in states)
    assert all(optimizer() is None for optimizer in optimizers)
    del model
    gc.collect()
    assert gone() is None
    assert all(state() is None for state in states)
    assert refused(lambda: trainer.fit(Digits(momentum), *loaders(), resume=True)).startswith(
        "fit_loop: resume=True: the"
    )


def test_a_copied_loop_goes_on_from_nothing() -> None:
    trainer, model = Trainer(max_epochs=1), Classifier()
    trainer.fit(model, batches(1))
    for twin in (copy.deepcopy(trainer.fit_loop), pickle.loads(pickle.dumps(trainer.fit_loop))):
        with pytest.raises(MisuseError, match=r"^FitLoop: resume=True: there is no fit to go on from"):
            twin.run(model, batches(1), resume=True)


def test_a_scheduler_without_a_state_spoils_no_fit(caplog: pytest.LogCaptureFixture) -> None:
    class Stateless(StepLR):
        def state_dict(self) -> dict[str, Any]:
            raise NotImplementedError

    trainer, model = Trainer(max_epochs=1), Digits(scheduled(lambda optimizer: Stateless(optimizer, 1)))
    assert trainer.fit(model, *loaders()).epochs == 1
    assert "this fit cannot be gone on from with resume=True: NotImplementedError()" in caplog.messages
    assert refused(lambda: trainer.fit(model, *loaders(), resume=True)) == NOTHING


def test_a_module_that_cannot_be_recognized() -> None:
    class Bare:
        __slots__ = ("__dict__", "weight")

        def __init__(self) -> None:
            self.weight = nn.Parameter(torch.zeros(4))

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return (batch[0] @ self.weight).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD([self.weight], lr=0.1)

    trainer, model = Trainer(max_epochs=1), Bare()
    assert trainer.fit(model, batches(2)).batches == 2
    assert refused(lambda: trainer.fit(model, batches(1), resume=True)) == NOTHING


def test_a_compiled_module_is_the_one_that_it_stands_for() -> None:
    model = Classifier()
    compiled = torch.compile(model, backend="eager")
    trainer = Trainer(max_epochs=1)
    trainer.fit(model, batches(2))
    trainer.fit_loop.max_epochs = 2
    assert trainer.fit(compiled, batches(2), resume=True).batches == 4


def test_after_a_refusal_it_still_goes_on() -> None:
    trainer, model = Trainer(max_epochs=1), Classifier()
    trainer.fit(model, batches(2))
    trainer.fit_loop.max_epochs = 2
    with pytest.raises(MisuseError, match="the last fit of this loop was of another module"):
        trainer.fit(Classifier(), batches(2), resume=True)
    assert trainer.fit(model, batches(2), resume=True).epochs == 2
