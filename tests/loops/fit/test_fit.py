"""Fitting: the same numbers as a hand-written loop, limits, results, modes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import Callback, FitLoop, FitResult, OptimizerLoop, StopReason, TrainerView

# Much here is wrong on purpose, or made of values that no checker can follow.
Trainer: Any = typedloops.Trainer


def by_hand(model: Classifier, optimizer: torch.optim.Optimizer, loader: Iterable[Batch], epochs: int) -> None:
    for _ in range(epochs):
        for i, batch in enumerate(loader):
            loss = model.training_step(batch, i)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def digits_loader() -> DataLoader[tuple[Tensor, ...]]:
    digits = load_digits()
    images = torch.as_tensor(digits.data[:320], dtype=torch.float32).div(16)
    return DataLoader(TensorDataset(images, torch.as_tensor(digits.target[:320])), batch_size=32, shuffle=True)


class DigitModel(Classifier):
    def __init__(self, make_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
        self.make_optimizer = make_optimizer

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.parameters(), lr=0.01)


class SameOptimizerLoop(OptimizerLoop[Batch, Tensor]):
    """Forces the unfused path."""

    def on_advance_end(self) -> None:
        super().on_advance_end()


@pytest.mark.parametrize("make_optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("fused", [True, False])
def test_same_bits_as_a_hand_written_loop(make_optimizer: Callable[..., torch.optim.Optimizer], fused: bool) -> None:
    """Shuffling and dropout included: the loops draw no random number of their own."""
    torch.manual_seed(3)
    expected = DigitModel(make_optimizer)
    by_hand(expected, expected.configure_optimizers(), digits_loader(), epochs=3)

    torch.manual_seed(3)
    model = DigitModel(make_optimizer)
    trainer = Trainer(max_epochs=3)
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=SameOptimizerLoop())
    result = trainer.fit(model, digits_loader())

    assert (result.epochs, result.batches, result.optimizer_steps) == (3, 30, 30)
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, expected.state_dict()[name]), name


def test_validation_changes_nothing_in_training() -> None:
    def fitted(validate: bool) -> Mapping[str, Tensor]:
        torch.manual_seed(3)
        model = DigitModel()
        trainer = Trainer(max_epochs=2)
        if validate:
            trainer.fit(model, digits_loader(), batches_of_digits())
        else:
            trainer.fit(model, digits_loader())
        return model.state_dict()

    plain, validated = fitted(False), fitted(True)
    assert all(torch.equal(plain[name], validated[name]) for name in plain)


def batches_of_digits() -> list[Batch]:
    digits = load_digits()
    return [(torch.as_tensor(digits.data[:50], dtype=torch.float32), torch.as_tensor(digits.target[:50]))]


def test_result() -> None:
    model, train = Classifier(), batches(4)
    result = Trainer(max_epochs=2).fit(model, train, batches(2))
    assert isinstance(result, FitResult)
    assert result.stop_reason is StopReason.MAX_EPOCHS
    assert (result.epochs, result.batches, result.optimizer_steps) == (2, 8, 8)
    assert isinstance(result.last_output, Tensor)
    assert not result.last_output.requires_grad
    assert result.metrics["train_loss"] == result.last_output.item()
    model.eval()
    assert result.metrics["val_loss"] == pytest.approx(
        sum(model.loss(batch).item() for batch in batches(2)) / 2, rel=1e-6
    )


def test_an_epoch_without_a_batch_leaves_the_last_output() -> None:
    class Ending(Classifier):
        epochs = 0

        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
            self.epochs += batch_idx == 0
            return -1 if self.epochs == 2 else None

    result = Trainer(max_epochs=2).fit(Ending(), batches(3))
    assert (result.epochs, result.batches) == (2, 3)
    assert result.last_output is not None
    assert result.last_output.item() == result.metrics["train_loss"]


class MappingModel(Classifier):
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:  # type: ignore[override]
        loss = self.loss(batch)
        return {"loss": loss, "double": 2 * loss, "logits": self.net(batch[0])}


def test_scalars_of_a_mapping_are_metrics() -> None:
    result = Trainer(max_epochs=1).fit(MappingModel(), batches(2))
    assert result.last_output is not None
    assert sorted(result.metrics) == ["double", "train_loss"]
    assert result.metrics["double"] == pytest.approx(2 * result.metrics["train_loss"])
    assert not result.last_output["logits"].requires_grad


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_epochs": 3}, (StopReason.MAX_EPOCHS, 3, 12, 12)),
        ({"max_epochs": 0}, (StopReason.MAX_EPOCHS, 0, 0, 0)),
        ({"max_steps": 6}, (StopReason.MAX_STEPS, 2, 6, 6)),
        ({"max_steps": 8, "max_epochs": 2}, (StopReason.MAX_STEPS, 2, 8, 8)),
        ({"max_steps": 100, "max_epochs": 2}, (StopReason.MAX_EPOCHS, 2, 8, 8)),
        ({"max_steps": 0}, (StopReason.MAX_STEPS, 0, 0, 0)),
        ({"max_epochs": -1, "max_steps": 5}, (StopReason.MAX_STEPS, 2, 5, 5)),
        ({"max_epochs": 2, "limit_train_batches": 3}, (StopReason.MAX_EPOCHS, 2, 6, 6)),
        ({"max_epochs": 2, "limit_train_batches": 9}, (StopReason.MAX_EPOCHS, 2, 8, 8)),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, (StopReason.MAX_EPOCHS, 2, 4, 4)),
        ({"max_epochs": 2, "limit_train_batches": 0}, (StopReason.NO_BATCHES, 0, 0, 0)),
    ],
)
def test_limits(settings: dict[str, int], expected: tuple[StopReason, int, int, int]) -> None:
    result = Trainer(**settings).fit(Classifier(), batches(4))
    assert (result.stop_reason, result.epochs, result.batches, result.optimizer_steps) == expected


def test_a_limit_of_the_loop_goes_before_that_of_the_trainer() -> None:
    trainer = Trainer(max_epochs=1, fit_loop=FitLoop(max_epochs=2))
    assert trainer.fit(Classifier(), batches(1)).epochs == 2
    trainer.fit_loop = FitLoop()
    assert trainer.fit(Classifier(), batches(1)).epochs == 1


def test_without_any_limit_a_fit_has_1000_epochs() -> None:
    class NoStep(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
            return None

    with pytest.warns(UserWarning, match="^fit_loop: an epoch of 1 batches took no optimizer step. Does the training"):
        result = Trainer().fit(NoStep(), batches(1))
    assert (result.epochs, result.batches, result.optimizer_steps) == (1000, 1000, 0)


def test_a_loader_with_a_limit_of_0_is_never_requested() -> None:
    train, val = Loader(batches(2)), Loader(batches(2))
    Trainer(max_epochs=1, limit_train_batches=0).fit(Classifier(), train, val)
    Trainer(max_epochs=1, limit_val_batches=0).fit(Classifier(), batches(1), val)
    assert train.iterations == val.iterations == 0


def test_only_a_loader_without_a_length_is_asked_for_one_batch_more() -> None:
    sized, stream = Loader(batches(5)), Stream(batches(5))
    Trainer(max_epochs=1, limit_train_batches=2).fit(Classifier(), sized)
    Trainer(max_epochs=1, limit_train_batches=2).fit(Classifier(), stream)
    assert sized.fetched == 2
    assert stream.fetched == 2
    seen: list[int] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: TrainerView, module: nn.Module, batch: object, batch_idx: int) -> None:
            seen.append(stream.fetched)

    stream = Stream(batches(3))
    Trainer(max_epochs=1, callbacks=[Watch()]).fit(Classifier(), stream)
    assert seen == [2, 3, 3]


class StopAt(Callback):
    def __init__(self, hook: str, batch_idx: int = 0) -> None:
        self.batch_idx = batch_idx
        setattr(self, hook, self.stop)

    def stop(self, trainer: TrainerView, module: nn.Module, *args: object) -> None:
        if self.batch_idx in args or len(args) == 0:
            trainer.should_stop = True


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (StopAt("on_train_batch_end", 1), (1, 2)),
        (StopAt("on_train_batch_start", 2), (1, 3)),
        (StopAt("on_train_epoch_start"), (1, 0)),
        (StopAt("on_train_epoch_end"), (1, 4)),
        (StopAt("on_train_start"), (0, 0)),
    ],
)
def test_a_requested_stop(callback: StopAt, expected: tuple[int, int]) -> None:
    result = Trainer(max_epochs=5, callbacks=[callback]).fit(Classifier(), batches(4))
    assert result.stop_reason is StopReason.REQUESTED
    assert (result.epochs, result.batches) == expected


def test_a_fit_starts_anew() -> None:
    trainer = Trainer(max_epochs=2)
    model = Classifier()
    first = trainer.fit(model, batches(3))
    second = trainer.fit(model, batches(3))
    assert (first.epochs, first.batches, first.optimizer_steps) == (2, 6, 6)
    assert (second.epochs, second.batches, second.optimizer_steps) == (2, 6, 6)
    assert trainer.global_step == 6


def test_a_request_to_stop_does_not_outlive_its_fit() -> None:
    callback = StopAt("on_train_batch_end", 1)
    trainer = Trainer(max_epochs=2, callbacks=[callback])
    assert trainer.fit(Classifier(), batches(4)).stop_reason is StopReason.REQUESTED
    assert not trainer.should_stop
    callback.batch_idx = -1
    assert trainer.fit(Classifier(), batches(4)).stop_reason is StopReason.MAX_EPOCHS


def test_a_fit_loop_may_be_left_with_stop_iteration() -> None:
    class Leaving(FitLoop):
        def on_advance_end(self) -> None:
            super().on_advance_end()
            raise StopIteration

    trainer = Trainer(max_epochs=3, fit_loop=Leaving())
    result = trainer.fit(Classifier(), batches(2))
    assert (result.stop_reason, result.epochs) == (StopReason.LEFT, 1)


def test_a_module_skips_the_rest_of_an_epoch_with_minus_1() -> None:
    class Skipping(Classifier):
        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
            return -1 if batch_idx == 1 else None

    result = Trainer(max_epochs=3).fit(Skipping(), batches(4))
    assert (result.epochs, result.batches) == (3, 3)


def test_modes_in_a_fit() -> None:
    class Watching(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.modes: list[tuple[str, bool, bool, bool]] = []

        def watch(self, where: str) -> None:
            self.modes.append((where, self.training, self.net[2].training, torch.is_grad_enabled()))

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.watch("train")
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            self.watch("val")
            assert torch.is_inference_mode_enabled()
            return super().validation_step(batch, batch_idx)

    model = Watching()
    model.net[2].eval()  # frozen by its author
    with torch.no_grad():
        Trainer(max_epochs=2).fit(model, batches(1), batches(1))
    assert model.modes == [("train", True, False, True), ("val", False, False, False)] * 2
    assert model.training
    assert not model.net[2].training


def test_a_module_in_eval_mode_is_trained_in_train_mode() -> None:
    model = Classifier().eval()
    Trainer(max_epochs=1).fit(model, batches(1))
    assert all(part.training for part in model.modules())


def test_what_a_fit_leaves_on_the_optimizer_and_the_loops() -> None:
    model = Classifier()
    optimizer = model.configure_optimizers()
    model.configure_optimizers = lambda: optimizer  # type: ignore[method-assign]
    trainer = Trainer(max_epochs=1)
    trainer.fit(model, batches(1), batches(1))
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert trainer.optimizers == ()
    held = {name for _, loop in trainer.fit_loop.walk() for name, value in vars(loop).items() if value}
    assert held.isdisjoint({"_context", "_driver", "_step", "_output", "_last_output", "_validation", "_loaders"})


def test_manual_optimization_counts_every_step_of_every_optimizer() -> None:
    class Manual(Classifier):
        automatic_optimization = False

        def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
            for _ in range(2):
                self.optimizer.zero_grad()
                self.loss(batch).backward()
                self.optimizer.step()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            self.optimizer = super().configure_optimizers()
            return self.optimizer

    result = Trainer(max_epochs=2).fit(Manual(), batches(3))
    assert (result.batches, result.optimizer_steps) == (6, 12)
    limited = Trainer(max_steps=5).fit(Manual(), batches(3))
    assert (limited.stop_reason, limited.batches, limited.optimizer_steps) == (StopReason.MAX_STEPS, 3, 6)


def test_no_optimizer_is_said_and_trains_nothing() -> None:
    class Forgetful(Classifier):
        def configure_optimizers(self) -> None:  # type: ignore[override]
            pass

    model = Forgetful()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.warns(UserWarning, match=r"Forgetful\.configure_optimizers returned None: .* optimizes nothing"):
        Trainer(max_epochs=1).fit(model, batches(2))
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_counters_when_a_step_fails() -> None:
    class Failing(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            if batch_idx == 2:
                raise ZeroDivisionError
            return super().training_step(batch, batch_idx)

    trainer = Trainer(max_epochs=1)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(Failing(), batches(4))
    current = trainer.fit_loop.epoch_loop.batch_progress.current
    assert (current.ready, current.started, current.processed, current.completed) == (3, 3, 2, 2)
    assert trainer.stage is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trainer.fit(Classifier(), batches(4)).batches == 4
