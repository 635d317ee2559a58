"""Optimizers that call a closure, and modules that do parts of the optimization in their own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, ModuleHooks, OptimizerLoop, TrainerView
from typedloops.errors import HookError, OptimizerError, StepOutputError
from typedloops.protocols.module import Scheduler
from typedloops.protocols.trainer import ClipAlgorithm

# Settings are taken from tables here, and some modules are wrong on purpose.
Trainer: Any = typedloops.Trainer


class Searching(Classifier):
    def configure_optimizers(self) -> Optimizer:
        return LBFGS(self.parameters(), lr=0.1, max_iter=3)


class Stepping(Classifier, ModuleHooks[Batch]):
    """Takes its steps itself, with a warm-up."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, int]] = []

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Tensor]
    ) -> None:
        self.steps.append((epoch, batch_idx))
        optimizer.param_groups[0]["lr"] = 0.1 * min(1, len(self.steps) / 4)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


def pair(kind: Callable[[], Classifier]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    first, second = kind(), kind()
    second.load_state_dict(first.state_dict())
    return first, second


def trainer_of(fused: bool, **settings: Any) -> Any:
    trainer = Trainer(max_epochs=2, **settings)
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    return trainer


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_lbfgs_has_the_same_bits_as_by_hand(fused: bool, clip: float | None) -> None:
    ours, theirs = pair(Searching)
    torch.manual_seed(1)
    result = trainer_of(fused, gradient_clip_val=clip).fit(ours, batches(3))
    torch.manual_seed(1)
    optimizer = theirs.configure_optimizers()
    for _ in range(2):
        for batch_idx, batch in enumerate(batches(3)):

            def closure(batch: Batch = batch, batch_idx: int = batch_idx) -> Tensor:
                loss: Tensor = theirs.training_step(batch, batch_idx)
                optimizer.zero_grad()
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(theirs.parameters(), clip)
                return loss

            optimizer.step(closure)
    assert same_bits(ours, theirs)
    assert (result.optimizer_steps, result.batches) == (6, 6)


def test_a_closure_called_many_times_counts_as_one_step_and_its_first_loss_is_reported() -> None:
    losses: list[float] = []

    class Watching(Callback[Classifier, Batch]):
        def on_before_backward(self, trainer: TrainerView, module: Classifier, loss: Tensor) -> None:
            losses.append(loss.item())

    trainer = Trainer(max_epochs=1, callbacks=[Watching()])
    result = trainer.fit(Searching(), batches(1))
    progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer
    assert progress.step.total.completed == result.optimizer_steps == 1
    assert progress.zero_grad.total.completed == len(losses) > 1
    assert result.last_output is not None
    assert result.last_output.item() == losses[0]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("size", "count"), [(1, 3), (2, 3), (2, 4), (3, 4)])
def test_a_step_of_the_modules_own_has_the_same_bits_as_by_hand(fused: bool, size: int, count: int) -> None:
    ours, theirs = pair(Stepping)
    torch.manual_seed(1)
    result = trainer_of(fused, accumulate_grad_batches=size, gradient_clip_val=0.1).fit(ours, batches(count))
    torch.manual_seed(1)
    optimizer = theirs.configure_optimizers()
    data, steps = batches(count), 0
    for _ in range(2):
        for start in range(0, count, size):
            window = data[start : start + size]
            optimizer.zero_grad()
            for batch_idx, batch in enumerate(window, start):
                loss = theirs.training_step(batch, batch_idx)
                (loss / len(window) if len(window) > 1 else loss).backward()
            steps += 1
            optimizer.param_groups[0]["lr"] = 0.1 * min(1, steps / 4)
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
            optimizer.step()
    assert same_bits(ours, theirs)
    assert result.optimizer_steps == steps
    closes = [i for i in range(count) if (i + 1) % size == 0 or i + 1 == count]
    assert ours.steps == [(epoch, batch_idx) for epoch in range(2) for batch_idx in closes]


@pytest.mark.parametrize("kind", [Stepping, Searching])
def test_a_skipped_batch_takes_no_step(kind: type[Classifier]) -> None:
    class Skipping(kind):  # type: ignore[misc, valid-type]
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    trainer = Trainer(max_epochs=1)
    result = trainer.fit(Skipping(), batches(3))
    assert (result.batches, result.optimizer_steps) == (3, 2)
    steps = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer.step.total
    assert (steps.ready, steps.completed) == (2, 2)


class Twice(Stepping):
    """Looks at each batch a second time before it steps."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Tensor]
    ) -> None:
        optimizer_closure()
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


@pytest.mark.parametrize(("kind", "optimizer"), [(Twice, "SGD"), (Searching, "LBFGS")])
def test_a_step_that_has_begun_is_not_left_without_a_loss(kind: type[Any], optimizer: str) -> None:
    """An optimizer that is left in its middle has half of what it keeps from step to step."""

    class Capricious(kind):  # type: ignore[misc]
        calls = 0

        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            self.calls += 1
            return None if self.calls == 2 else super().training_step(batch, batch_idx)

    with pytest.raises(StepOutputError) as told:
        Trainer(max_epochs=1).fit(Capricious(), batches(3))
    assert str(told.value) == (
        "Capricious.training_step: it returned None for a batch that had a loss, in the middle of a step of "
        f"{optimizer}. Return the loss each time that it is called with a batch, or None at the first to skip the "
        "batch."
    )


def test_a_window_whose_last_batch_is_skipped_is_stepped_on_all_the_same() -> None:
    class Skipping(Stepping):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
            return None if batch_idx in (1, 3, 4) else super().training_step(batch, batch_idx)

    ours, theirs = pair(Skipping)
    for model in (ours, theirs):
        model.net[2] = nn.Identity()
    result = Trainer(max_epochs=1, accumulate_grad_batches=2).fit(ours, batches(5))
    assert result.optimizer_steps == 2
    optimizer = SGD(theirs.parameters(), lr=0.025)
    for batch, rate in ((batches(5)[0], 0.025), (batches(5)[2], 0.05)):
        optimizer.zero_grad()
        theirs.loss(batch).backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Zeroing(Classifier, ModuleHooks[Batch]):
    """Puts its gradients away itself, and clips them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        self.seen.append(("zero", epoch, batch_idx))
        super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None, gradient_clip_algorithm: ClipAlgorithm
    ) -> None:
        self.seen.append(("clip", gradient_clip_val, gradient_clip_algorithm))
        super().configure_gradient_clipping(optimizer, 0.1, gradient_clip_algorithm)


@pytest.mark.parametrize(("settings", "value"), [({}, None), ({"gradient_clip_val": 0.5}, 0.5)])
def test_gradients_put_away_and_clipped_by_the_module(settings: dict[str, Any], value: float | None) -> None:
    ours, theirs = pair(Zeroing)
    plain = Classifier()
    plain.load_state_dict(theirs.state_dict())
    for model, own in ((ours, settings), (plain, {"gradient_clip_val": 0.1})):
        torch.manual_seed(1)
        Trainer(max_epochs=1, **own).fit(model, batches(2))
    assert same_bits(ours, plain)
    assert ours.seen == [("zero", 0, 0), ("clip", value, "norm"), ("zero", 0, 1), ("clip", value, "norm")]


class Scheduling(Classifier, ModuleHooks[Batch]):
    """Steps its schedulers itself, every second time."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[float | None] = []

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=1.0)
        return [optimizer], [
            {"scheduler": StepLR(optimizer, 1, 0.5), "interval": "step", "monitor": "train_loss"},
            StepLR(optimizer, 1, 0.1),
        ]

    def lr_scheduler_step(self, scheduler: Scheduler, metric: float | None) -> None:
        self.metrics.append(metric)
        if len(self.metrics) % 2:
            super().lr_scheduler_step(scheduler, metric)


def test_schedulers_stepped_by_the_module() -> None:
    model = Scheduling()
    rates: list[float] = []

    class Watching(Callback[Classifier, Batch]):
        def on_train_end(self, trainer: TrainerView, module: Classifier) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    Trainer(max_epochs=1, callbacks=[Watching()]).fit(model, batches(2))
    assert [metric is None for metric in model.metrics] == [False, False, True]
    assert rates == pytest.approx([0.5 * 0.1])


def test_a_plateau_scheduler_follows_the_loss_of_each_step() -> None:
    class Growing(Classifier):
        """Its loss grows from the second step on."""

        def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:  # type: ignore[override]
            return {"loss": self.loss(batch) * 0 + batch_idx}

        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=1.0)
            plateau = ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
            return [optimizer], [{"scheduler": plateau, "interval": "step", "monitor": "train_loss"}]

    rates: list[float] = []

    class Watching(Callback[Classifier, Batch]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
        ) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    Trainer(max_epochs=1, callbacks=[Watching()]).fit(Growing(), batches(4))
    assert rates == [1.0, 1.0, 0.5, 0.25], "after the hooks of the batch"


def test_the_window_of_an_optimizer_that_looks_around_is_refused() -> None:
    with pytest.raises(OptimizerError, match=r"^accumulate_grad_batches: LBFGS computes the gradients several times"):
        Trainer(max_epochs=1, accumulate_grad_batches=2).fit(Searching(), batches(2))


def test_a_step_that_forgets_its_closure_is_told() -> None:
    class Forgetful(Classifier):
        def optimizer_step(
            self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Tensor]
        ) -> None:
            optimizer.step()

    with pytest.raises(OptimizerError) as told:
        Trainer(max_epochs=1).fit(Forgetful(), batches(1))
    assert str(told.value).startswith("SGD.step: it did not call its closure, which computes the gradients. Pass the")


@pytest.mark.parametrize(
    "name", ["optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping", "lr_scheduler_step"]
)
def test_a_hook_with_other_parameters_is_told_before_the_fit(name: str) -> None:
    model = type("Wrong", (Classifier,), {name: lambda self: None})()
    with pytest.raises(HookError, match=rf"it cannot be called as a hook is: .* Define `def {name}\(self, "):
        Trainer(max_epochs=1).fit(model, batches(1))


@pytest.mark.parametrize("hooks", [False, True])
def test_the_placeholders_are_not_called(hooks: bool) -> None:
    class WithHooks(Classifier, ModuleHooks[Batch]):
        pass

    ours, theirs = pair(WithHooks if hooks else Classifier)
    for model in (ours, theirs):
        torch.manual_seed(1)
        trainer = Trainer(max_epochs=1)
        trainer.fit(model, batches(2))
    assert same_bits(ours, theirs)


def test_a_plateau_scheduler_needs_its_metric() -> None:
    plateau = ReduceLROnPlateau(SGD(Classifier().parameters(), lr=1.0))
    with pytest.raises(OptimizerError) as told:
        ModuleHooks[Batch]().lr_scheduler_step(plateau, None)
    assert str(told.value) == ("lr_scheduler_step: a ReduceLROnPlateau is stepped by a metric. Pass the metric on.")


class Again(Classifier):
    """Calls its closure more than once for each step, or not at all for every other."""

    def __init__(self, calls: int = 2) -> None:
        super().__init__()
        self.calls = calls

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Tensor]
    ) -> None:
        for _ in range(self.calls - 1):
            optimizer_closure()
        optimizer.step(optimizer_closure) if self.calls > 1 or batch_idx % 2 else optimizer_closure()  # type: ignore[arg-type]


def test_gradients_of_a_window_cannot_be_looked_at_twice() -> None:
    with pytest.raises(OptimizerError) as refused:
        Trainer(max_epochs=1, accumulate_grad_batches=2).fit(Again(), batches(2))
    assert str(refused.value) == (
        "SGD.step: it calls its closure several times, and the gradients of the earlier batches of its window are "
        "gone. Call it once for each step, or let there be one batch to a step."
    )


def test_a_step_that_was_left_out_is_no_step() -> None:
    trainer = Trainer(max_epochs=1)
    result = trainer.fit(Again(calls=1), batches(4))
    progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress
    assert result.optimizer_steps == progress.optimizer_steps == 2


def test_a_window_in_a_later_epoch_is_refused_at_once() -> None:
    class Quasi(Classifier):
        def configure_optimizers(self) -> Optimizer:
            return LBFGS(self.parameters())

    trained: list[int] = []

    class Counting(Callback[Classifier]):
        def on_train_batch_start(self, trainer: TrainerView, module: Classifier, batch: object, batch_idx: int) -> None:
            trained.append(batch_idx)

    trainer = Trainer(max_epochs=5, accumulate_grad_batches={3: 2}, callbacks=[Counting()])
    with pytest.raises(OptimizerError, match="LBFGS computes the gradients several times for each step"):
        trainer.fit(Quasi(), batches(2))
    assert trained == []
