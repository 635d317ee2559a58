"""Batches taken in smaller ones: the gradient of the whole, one step, and less memory where it runs out."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, MicroBatchOptimization, TrainerView
from typedloops.errors import ConfigurationError, LoaderError, MisuseError, OptimizerError
from typedloops.loops.fit.optimization.splitting import split_along_items

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

TOLERANCE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14}


def exhausted() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("out of memory")


class Model(Classifier):
    """In float64 and without dropout; memory runs out with more than `most` items at a time."""

    def __init__(self, optimizer: Callable[..., Optimizer] = SGD, most: int = 1000) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        self.optimizer = optimizer
        self.most = most
        self.sizes: list[int] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.sizes.append(len(batch[0]))
        loss = self.loss(batch)
        if len(batch[0]) > self.most:
            raise exhausted()
        return loss

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters(), lr=0.1)


def data(count: int = 3, size: int = 7) -> list[Batch]:
    return [(x.double(), y) for x, y in batches(count, size)]


class Unfused(MicroBatchOptimization[Any, Any]):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def fitted(model: nn.Module, items: Sequence[Batch], loop: Any, **settings: Any) -> Any:
    trainer = Trainer(max_epochs=2, **settings)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop)
    return trainer.fit(model, items)


@pytest.mark.parametrize("kind", [MicroBatchOptimization, Unfused])
@pytest.mark.parametrize("clip", [{}, {"gradient_clip_val": 0.1}, {"precision": "64-true"}])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, None])
@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_the_gradient_and_the_step_of_the_whole_batch(
    optimizer: Callable[..., Optimizer], size: int | None, clip: dict[str, Any], kind: Any
) -> None:
    ours, whole = Model(optimizer), Model(optimizer)
    result = fitted(ours, data(), kind(size), **clip)
    expected = Trainer(max_epochs=2, **clip).fit(whole, data())
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **TOLERANCE)
        torch.testing.assert_close(a, b, **TOLERANCE)
    assert result.optimizer_steps == expected.optimizer_steps == 6
    assert result.metrics["train_loss"] == pytest.approx(expected.metrics["train_loss"], rel=1e-12)
    step = 7 if size is None else size
    assert ours.sizes == [min(step, 7 - start) for start in range(0, 7, step)] * 6


def test_half_the_size_when_memory_runs_out_and_for_the_batches_after_it() -> None:
    ours, whole = Model(most=3), Model()
    loop: MicroBatchOptimization[Any, Any] = MicroBatchOptimization()
    with pytest.warns(UserWarning, match="memory ran out") as told:
        assert fitted(ours, data(3, 13), loop).optimizer_steps == 6
    Trainer(max_epochs=2).fit(whole, data(3, 13))
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
    assert [str(warning.message) for warning in told] == [
        f"fit_loop.epoch_loop.batch_loop.optimizer_loop: memory ran out with {size} at a time; "
        f"from now on it is done with {size // 2}."
        for size in (13, 6)
    ]
    assert ours.sizes == [13, 6, *[3, 3, 3, 3, 1] * 6]
    assert loop.micro_batch_size == 3
    assert loop.state_dict()["loops"]["."]["fields"]["micro_batch_size"] == 3  # type: ignore[index]


class Dropping(Model):
    def __init__(self, most: int = 1000) -> None:
        super().__init__(most=most)
        self.net.insert(1, nn.Dropout(0.5))


def test_a_batch_done_anew_draws_the_numbers_of_its_first_try() -> None:
    ours, theirs = Dropping(most=4), Dropping()
    torch.manual_seed(1)
    with pytest.warns(UserWarning, match="memory ran out"):
        fitted(ours, data(), MicroBatchOptimization(6))
    torch.manual_seed(1)
    fitted(theirs, data(), MicroBatchOptimization(3))
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def test_nothing_of_a_failed_try_is_alive_in_the_next() -> None:
    alive: list[bool] = []

    class Watching(Model):
        graph: weakref.ref[object] | None = None

        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            loss = self.loss(batch)
            if len(batch[0]) < 7:
                if self.graph is not None:
                    alive.append(self.graph() is not None)
                return loss
            self.graph = weakref.ref(loss)
            raise exhausted()

    gc.disable()  # what is collected is not what is let go of
    try:
        with pytest.warns(UserWarning, match="memory ran out"):
            fitted(Watching(), data(1), MicroBatchOptimization())
    finally:
        gc.enable()
    assert alive == [False] * 6


def test_with_nothing_smaller_the_error_says_where() -> None:
    with pytest.warns(UserWarning, match="memory ran out"), pytest.raises(torch.OutOfMemoryError) as failed:
        fitted(Model(most=0), data(), MicroBatchOptimization(2))
    assert failed.value.__notes__[0] == (
        "fit_loop.epoch_loop.batch_loop.optimizer_loop: memory runs out with 1 at a time; "
        "there is nothing smaller to try."
    )


def test_another_error_is_raised_as_it_is() -> None:
    class Failing(Model):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        fitted(Failing(), data(), MicroBatchOptimization(2))


def test_memory_that_runs_out_in_the_step_is_not_tried_again() -> None:
    class Hungry(SGD):
        def step(self, closure: Any = None) -> Any:
            raise exhausted()

    with pytest.raises(torch.OutOfMemoryError) as failed:
        fitted(Model(Hungry), data(), MicroBatchOptimization(4))
    assert failed.value.__notes__[0] == (
        "It ran out in the optimizer's step, which smaller micro-batches do not change."
    )


def test_memory_that_runs_out_in_splitting_is_not_tried_again() -> None:
    """Nor is it taken for that of the step of the batch before."""
    calls = 0

    def split(batch: Batch, size: int) -> list[Batch]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise exhausted()
        return list(split_along_items(batch, size))

    with pytest.raises(torch.OutOfMemoryError) as failed:
        fitted(Model(), data(), MicroBatchOptimization(4, split=split))
    assert calls == 2
    (note,) = failed.value.__notes__
    assert note.startswith("in fit_loop.epoch_loop (TrainingEpochLoop), in batch 1 of the train dataloader, epoch 0\n")


def test_hooks_once_for_each_step() -> None:
    seen: list[str] = []

    class Trace(Callback[Model, Batch]):
        def on_before_zero_grad(self, trainer: TrainerView, module: Model, optimizer: Optimizer) -> None:
            seen.append("zero")

        def on_after_backward(self, trainer: TrainerView, module: Model) -> None:
            seen.append("backward")

        def on_before_optimizer_step(self, trainer: TrainerView, module: Model, optimizer: Optimizer) -> None:
            seen.append("step")

    trainer = Trainer(max_epochs=1, callbacks=[Trace()])
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=MicroBatchOptimization(3))
    trainer.fit(Model(), data(2))
    assert seen == ["zero", "backward", "backward", "backward", "step"] * 2
    progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer
    assert progress.step.total.completed == progress.zero_grad.total.completed == 2


class Mapped(Model):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        if batch_idx == 1 and len(self.sizes) % 3 == 1:
            self.sizes.append(0)
            return None
        loss = super().training_step(batch, batch_idx)
        return {"loss": loss, "size": len(batch[0]), "logits": self.net(batch[0])}


def test_the_output_has_the_means_of_its_scalars() -> None:
    outputs: list[Any] = []

    class Watching(Callback[Model, Batch]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: Model, output: Any, batch: Batch, batch_idx: int
        ) -> None:
            outputs.append(output)

    trainer = Trainer(max_epochs=1, callbacks=[Watching()])
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=MicroBatchOptimization(3))
    result = trainer.fit(Mapped(), data(2))
    whole = Model()
    assert float(outputs[0]["loss"]) == pytest.approx(float(whole.loss(data()[0]).detach()), rel=1e-12)
    assert outputs[0]["size"] == pytest.approx((3 * 3 + 3 * 3 + 1) / 7)
    assert outputs[0]["logits"].shape == (1, 3)
    assert not any(value.requires_grad for value in outputs[0].values() if isinstance(value, Tensor))
    assert result.metrics["size"] == pytest.approx((9 + 1) / 4)


def test_a_micro_batch_without_a_loss_does_not_count() -> None:
    ours, theirs = Mapped(), Model()
    loop: Any = MicroBatchOptimization(3)
    trainer = Trainer(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop)
    trainer.fit(ours, data(2))
    optimizer = theirs.configure_optimizers()
    theirs.loss(data()[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
    x, y = data()[1]
    kept = torch.tensor([0, 1, 2, 6])
    theirs.loss((x[kept], y[kept])).backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **TOLERANCE)


def test_several_optimizers_each_take_the_micro_batches() -> None:
    class Two(Model):
        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int = 0) -> Any:
            return super().training_step(batch, batch_idx) * (1 + optimizer_idx)

        def configure_optimizers(self) -> Any:
            return [SGD(self.net[0].parameters(), lr=0.1), SGD(self.net[2].parameters(), lr=0.1)]

    ours, whole = Two(), Two()
    assert fitted(ours, data(), MicroBatchOptimization(4)).optimizer_steps == 12
    Trainer(max_epochs=2).fit(whole, data())
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)


def test_scaled_losses() -> None:
    def model() -> Model:
        made = Model()
        made.net.float()
        return made

    ours, whole = model(), model()
    items = [(x.float(), y) for x, y in data()]
    fitted(ours, items, MicroBatchOptimization(2), precision="16-mixed")
    Trainer(max_epochs=2, precision="16-mixed").fit(whole, items)
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=1e-3)


def test_weighted_by_what_the_loss_is_a_mean_of() -> None:
    class Tokens(Model):
        def loss(self, batch: Any) -> Tensor:
            x, y, mask = batch
            each = nn.functional.cross_entropy(self.net(x), y, reduction="none")
            mean: Tensor = (each * mask).sum() / mask.sum()
            return mean

    generator = torch.Generator().manual_seed(3)
    items: Any = [(x, y, torch.randint(1, 9, y.shape, generator=generator).double()) for x, y in data()]
    ours, whole = Tokens(), Tokens()
    fitted(ours, items, MicroBatchOptimization(2, count=lambda batch: batch[2].sum()))
    Trainer(max_epochs=2).fit(whole, items)
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)


@given(items=st.integers(1, 9), size=st.integers(1, 10))
def test_the_parts_are_the_batch(items: int, size: int) -> None:
    x = torch.arange(2 * items).view(items, 2)
    names = [f"item {i}" for i in range(items)]
    batch = {"x": x, "pair": (x[:, 0], [x]), "names": names, "scale": torch.tensor(2.0), "kind": "text", "none": None}
    parts: list[Any] = list(split_along_items(batch, size))
    assert len(parts) == -(-items // size)
    assert torch.equal(torch.cat([part["x"] for part in parts]), x)
    assert torch.equal(torch.cat([part["pair"][0] for part in parts]), x[:, 0])
    assert torch.equal(torch.cat([part["pair"][1][0] for part in parts]), x)
    assert [name for part in parts for name in part["names"]] == names
    assert all((part["kind"], part["none"], float(part["scale"])) == ("text", None, 2.0) for part in parts)


def test_items_are_halved_whatever_the_loss_is_a_mean_of() -> None:
    loop: MicroBatchOptimization[Any, Any] = MicroBatchOptimization(count=lambda batch: 1000.0 * len(batch[0]))
    with pytest.warns(UserWarning, match="memory ran out with 7 at a time; from now on it is done with 3"):
        fitted(Model(most=3), data(), loop)
    assert loop.micro_batch_size == 3


def test_a_mean_in_16_bits_is_not_too_large() -> None:
    class Constant(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            twenty: Tensor = (self.net(batch[0]) * 0 + 20).mean()
            return twenty

    items = [(torch.ones(8192, 4), torch.zeros(8192))]
    result = fitted(Constant(), items, MicroBatchOptimization(4096), precision="16-true")
    assert result.metrics["train_loss"] == 20.0
    assert result.last_output.dtype == torch.float16


def test_it_can_be_copied_and_replaced() -> None:
    loop: MicroBatchOptimization[Any, Any] = MicroBatchOptimization(5, gradient_clip_val=2.0)
    assert copy.deepcopy(loop).micro_batch_size == 5
    trainer = Trainer(max_epochs=1)
    batch_loop = trainer.fit_loop.epoch_loop.batch_loop
    batch_loop.connect(optimizer_loop=loop)
    batch_loop.replace(optimizer_loop=Unfused)
    assert batch_loop.optimizer_loop.micro_batch_size == 5
    assert trainer.fit(Model(), data()).optimizer_steps == 3


def split_into_nothing(batch: Batch, size: int) -> list[Batch]:
    return []


class Manual(Model):
    automatic_optimization = False


class Truncated(Model):
    truncated_bptt_steps = 2


BAD: dict[str, tuple[Callable[[], object], type[MisuseError], str]] = {
    "no items": (
        lambda: MicroBatchOptimization(0),
        ConfigurationError,
        "MicroBatchOptimization.micro_batch_size: 0 is no number of items. Give 1 or more, or None for whole batches.",
    ),
    "windows of batches": (
        lambda: fitted(Model(), data(), MicroBatchOptimization(2), accumulate_grad_batches=2),
        ConfigurationError,
        (
            "accumulate_grad_batches: MicroBatchOptimization splits each batch and steps once for it. "
            "Leave accumulate_grad_batches out."
        ),
    ),
    "windows in a later epoch": (
        lambda: fitted(Model(), data(), MicroBatchOptimization(2), accumulate_grad_batches={1: 2}),
        ConfigurationError,
        (
            "accumulate_grad_batches: MicroBatchOptimization splits each batch and steps once for it. "
            "Leave accumulate_grad_batches out."
        ),
    ),
    "a module that optimizes by itself": (
        lambda: fitted(Manual(), data(), MicroBatchOptimization(2)),
        ConfigurationError,
        (
            "MicroBatchOptimization: it is for automatic optimization, and the module has "
            "`automatic_optimization = False`. Split the batch in training_step (typedloops.shrinking finds the size), "
            "and leave it out."
        ),
    ),
    "pieces along time": (
        lambda: fitted(Truncated(), data(), MicroBatchOptimization(2)),
        ConfigurationError,
        (
            "truncated_bptt_steps: MicroBatchOptimization splits each batch and steps once for it. "
            "Leave truncated_bptt_steps out."
        ),
    ),
    "a closure": (
        lambda: fitted(Model(LBFGS), data(), MicroBatchOptimization(2)),
        OptimizerError,
        (
            "MicroBatchOptimization: LBFGS computes the gradients several times for each step, of one batch. "
            "Use smaller batches, or another optimizer."
        ),
    ),
    "no tensors": (
        lambda: fitted(Model(), [("a", "b")], MicroBatchOptimization(2)),  # type: ignore[list-item]
        LoaderError,
        (
            "a batch: there is no tensor in it by which its items could be counted. "
            "Give MicroBatchOptimization a `split` and a `count`."
        ),
    ),
    "tensors that disagree": (
        lambda: fitted(Model(), [(torch.zeros(3, 4), torch.zeros(2))], MicroBatchOptimization(2)),
        LoaderError,
        "a batch: its tensors have 3 and 2 items. Give MicroBatchOptimization a `split` and a `count`.",
    ),
    "no micro-batches": (
        lambda: fitted(Model(), data(), MicroBatchOptimization(2, split=split_into_nothing)),
        LoaderError,
        (
            "split_into_nothing: it made micro-batches of [] items of a batch. "
            "Give `split` and `count` that tell of one item or more."
        ),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_never_work(case: str) -> None:
    run, kind, message = BAD[case]
    with pytest.raises(kind) as refused:
        run()
    assert str(refused.value) == message
