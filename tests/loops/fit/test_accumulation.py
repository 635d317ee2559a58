"""Accumulated and clipped gradients: equal to those of a hand-written loop, and counted as such."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import Callback, FitLoop, OptimizerLoop, TrainerView
from typedloops.errors import ConfigurationError, MisuseError, StepOutputError
from typedloops.loops.fit.optimization.accumulation import window_size

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

TOO_LARGE = "accumulate_grad_batches is .* and an epoch has .* batches, so that"
pytestmark = pytest.mark.filterwarnings(f"ignore:{TOO_LARGE}")

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "AdamW": lambda parameters: AdamW(parameters, lr=0.01),
}
CLIPS: dict[str, dict[str, Any]] = {
    "none": {},
    "norm": {"gradient_clip_val": 0.1},
    "value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
}


class Model(Classifier):
    """Optimized as the test says."""

    def __init__(self, optimizer: str = "SGD", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.to(dtype)

    def configure_optimizers(self) -> Optimizer:
        return OPTIMIZERS[self.optimizer](self.parameters())


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def by_hand(model: Model, data: Sequence[Batch], size: int, clip: Mapping[str, Any], epochs: int) -> None:
    """The loop that one writes: the last window is divided by its own size."""
    optimizer = model.configure_optimizers()
    for _ in range(epochs):
        for start in range(0, len(data), size):
            window = data[start : start + size]
            optimizer.zero_grad()
            for batch_idx, batch in enumerate(window, start):
                loss = model.training_step(batch, batch_idx)
                (loss / len(window) if len(window) > 1 else loss).backward()
            if clip.get("gradient_clip_algorithm") == "value":
                nn.utils.clip_grad_value_(model.parameters(), clip["gradient_clip_val"])
            elif clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip["gradient_clip_val"])
            optimizer.step()


def pair(*args: Any) -> tuple[Model, Model]:
    torch.manual_seed(0)
    first, second = Model(*args), Model(*args)
    second.load_state_dict(first.state_dict())
    return first, second


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("optimizer", "size", "count", "clip"),
    [*itertools.product(OPTIMIZERS, (1, 2, 3, 4, 9), (1, 4, 7), CLIPS)],
)
def test_same_bits_as_by_hand(optimizer: str, size: int, count: int, clip: str, fused: bool) -> None:
    ours, theirs = pair(optimizer)
    trainer = Trainer(max_epochs=2, accumulate_grad_batches=size, **CLIPS[clip])
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    torch.manual_seed(1)
    result = trainer.fit(ours, batches(count))
    torch.manual_seed(1)
    by_hand(theirs, batches(count), size, CLIPS[clip], 2)
    assert same_bits(ours, theirs)
    assert result.optimizer_steps == 2 * -(-count // size)
    assert result.batches == 2 * count


@pytest.mark.parametrize("count", [3, 4, 5])
def test_without_a_length_the_last_window_is_scaled_when_it_turns_out_shorter(count: int) -> None:
    ours, theirs = pair("SGD", torch.float64)
    data = [(x.double(), y) for x, y in batches(count)]
    for model in (ours, theirs):
        model.net[2] = nn.Identity()  # no dropout: what is compared is not in the same order
    result = Trainer(max_epochs=2, accumulate_grad_batches=4).fit(ours, Stream(data))
    by_hand(theirs, data, 4, {}, 2)
    assert result.optimizer_steps == 2 * -(-count // 4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


class Tokens(nn.Module):
    """A linear model in float64 whose loss is a mean over the items of a batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 3, dtype=torch.float64)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.5)


WEIGHTS: dict[str, Callable[[Batch], float | Tensor]] = {
    "a number": lambda batch: len(batch[0]),
    "a tensor": lambda batch: torch.tensor([len(batch[1])]),
}


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("sizes", [(3, 5, 1), (7, 2), (1, 1, 1, 9)])
def test_weighted_by_items_a_window_has_the_gradient_of_the_whole(weight: str, sizes: tuple[int, ...]) -> None:
    x, y = torch.randn(sum(sizes), 4, dtype=torch.float64), torch.randint(0, 3, (sum(sizes),))
    parts = list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True))
    ours, whole = Tokens(), Tokens()
    Trainer(max_epochs=1, accumulate_grad_batches=len(sizes), accumulation_weight=WEIGHTS[weight]).fit(ours, parts)
    Trainer(max_epochs=1).fit(whole, [(x, y)])
    for a, b in zip(ours.parameters(), whole.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_window_of_weights_of_zero_changes_nothing() -> None:
    model = Tokens()
    before = model.net.weight.detach().clone()
    items = [(x.double(), y) for x, y in batches(2)]
    Trainer(max_epochs=1, accumulate_grad_batches=2, accumulation_weight=lambda batch: torch.tensor(0.0)).fit(
        model, items
    )
    assert torch.equal(model.net.weight, before)


def test_a_batch_that_is_skipped_does_not_count_in_its_window() -> None:
    class Skipping(Tokens):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return None if batch_idx in (1, 3, 4, 5) else super().training_step(batch, batch_idx)  # type: ignore[return-value]

    data = [(x.double(), y) for x, y in batches(6)]
    ours, theirs = Skipping(), Tokens()
    result = Trainer(max_epochs=1, accumulate_grad_batches=3).fit(ours, data)
    assert result.optimizer_steps == 1
    optimizer = theirs.configure_optimizers()
    ((theirs.training_step(data[0], 0) + theirs.training_step(data[2], 2)) / 2).backward()
    optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


class Trace(Callback[Classifier, Batch]):
    """Writes down what happens in the optimization, with the batch."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.norms: list[bool] = []
        self.batch = -1

    def on_train_batch_start(self, trainer: TrainerView, module: Classifier, batch: Batch, batch_idx: int) -> None:
        self.batch = batch_idx

    def on_before_zero_grad(self, trainer: TrainerView, module: Classifier, optimizer: Optimizer) -> None:
        self.seen.append(f"{self.batch} zero")

    def on_before_backward(self, trainer: TrainerView, module: Classifier, loss: Tensor) -> None:
        self.seen.append(f"{self.batch} backward")

    def on_before_optimizer_step(self, trainer: TrainerView, module: Classifier, optimizer: Optimizer) -> None:
        self.seen.append(f"{self.batch} step")

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        norm = trainer.gradient_norm
        self.norms.append(norm is not None and norm.ndim == 0 and not norm.requires_grad)


@pytest.mark.parametrize(("size", "count", "limit"), [*itertools.product((1, 2, 3), (1, 3, 4, 6), (None, 2, 5))])
@pytest.mark.parametrize("sized", [True, False])
def test_hooks_and_counters_of_every_window(size: int, count: int, limit: int | None, sized: bool) -> None:
    trace = Trace()
    settings = {} if limit is None else {"limit_train_batches": limit}
    trainer = Trainer(max_epochs=2, accumulate_grad_batches=size, callbacks=[trace], **settings)
    result = trainer.fit(Model(), Loader(batches(count)) if sized else Stream(batches(count)))
    ran = count if limit is None else min(limit, count)
    expected: list[str] = []
    for batch_idx in range(ran):
        expected += [f"{batch_idx} zero"] if batch_idx % size == 0 else []
        expected += [f"{batch_idx} backward"]
        expected += [f"{batch_idx} step"] if (batch_idx + 1) % size == 0 or batch_idx + 1 == ran else []
    assert trace.seen == expected * 2
    windows = -(-ran // size)
    progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer
    assert result.optimizer_steps == progress.step.total.completed == progress.zero_grad.total.completed == 2 * windows


def test_a_window_that_no_epoch_fills_is_told() -> None:
    with pytest.warns(UserWarning, match=TOO_LARGE):
        assert Trainer(max_epochs=1, accumulate_grad_batches=5).fit(Model(), batches(4)).optimizer_steps == 1


def test_a_schedule_takes_effect_in_its_epoch() -> None:
    steps: list[int] = []

    class Counting(Callback[Classifier, Batch]):
        def on_train_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
            steps.append(trainer.global_step - sum(steps))

    trainer = Trainer(max_epochs=5, accumulate_grad_batches={1: 2, 3: 6}, callbacks=[Counting()])
    trainer.fit(Model(), batches(6))
    assert steps == [6, 3, 3, 1, 1]
    steps.clear()
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    trainer.fit(Model(), batches(6))
    assert steps == [6, 3, 3, 1, 1]


def test_the_schedule_of_an_epoch() -> None:
    assert [window_size({2: 4, 5: 8}, epoch) for epoch in range(7)] == [1, 1, 4, 4, 4, 8, 8]
    assert window_size(3, 9) == 3


def test_max_steps_counts_windows() -> None:
    result = Trainer(max_steps=3, accumulate_grad_batches=4).fit(Model(), batches(6))
    assert (result.optimizer_steps, result.batches) == (3, 10)


def test_the_reported_loss_is_that_of_the_batch() -> None:
    model = Model().eval()
    seen: list[Tensor] = []

    class Recording(Callback[Classifier, Batch]):
        def on_before_backward(self, trainer: TrainerView, module: Classifier, loss: Tensor) -> None:
            seen.append(loss.detach())

    result = Trainer(max_epochs=1, accumulate_grad_batches=4, callbacks=[Recording()]).fit(model, batches(4))
    assert result.last_output is not None
    assert torch.equal(result.last_output, seen[-1])
    assert result.metrics["train_loss"] == float(seen[-1]) > 0.3


def test_a_validation_leaves_the_gradients_of_training() -> None:
    grads: list[bool] = []

    class Watching(Callback[Classifier, Batch]):
        def on_validation_end(self, trainer: TrainerView, module: Classifier) -> None:
            grads.append(all(parameter.grad is not None for parameter in module.parameters()))

    Trainer(max_epochs=2, callbacks=[Watching()]).fit(Model(), batches(2), batches(2))
    assert grads == [True, True]


def test_the_norm_is_there_to_be_logged() -> None:
    trace = Trace()
    Trainer(max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=0.1, callbacks=[trace]).fit(Model(), batches(4))
    assert trace.norms == [False, True, True, True]
    trace = Trace()
    trainer = Trainer(max_epochs=1, callbacks=[trace])
    trainer.fit(Model(), batches(2))
    assert trace.norms == [False, False]
    assert trainer.gradient_norm is None


def test_settings_of_the_loop_go_before_those_of_the_trainer() -> None:
    own = OptimizerLoop(accumulate_grad_batches=3, gradient_clip_val=1e-9)
    trainer = Trainer(max_epochs=1, accumulate_grad_batches=2)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=own)
    model = Model()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert trainer.fit(model, batches(6)).optimizer_steps == 2
    for a, b in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8)
    trainer.fit_loop.epoch_loop.batch_loop.replace(optimizer_loop=Unfused)
    assert trainer.fit(model, batches(6)).optimizer_steps == 2


def test_without_a_trainer() -> None:
    fit_loop = FitLoop(max_epochs=1)
    fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=OptimizerLoop(accumulate_grad_batches=2))
    assert fit_loop.run(Model(), batches(4)).optimizer_steps == 2


class Manual(Classifier):
    automatic_optimization = False


def weighed(weight: object) -> Callable[[], object]:
    return lambda: Trainer(max_epochs=1, accumulate_grad_batches=2, accumulation_weight=lambda batch: weight).fit(
        Model(), batches(2)
    )


BAD: dict[str, tuple[Callable[[], object], type[MisuseError], str]] = {
    "no window": (
        lambda: Trainer(accumulate_grad_batches=0),
        ConfigurationError,
        "accumulate_grad_batches: 0 is no number of batches. Give 1 or more.",
    ),
    "half a window": (
        lambda: OptimizerLoop(accumulate_grad_batches=1.5),  # type: ignore[arg-type]
        ConfigurationError,
        "OptimizerLoop.accumulate_grad_batches: 1.5 is no number of batches. Give 1 or more.",
    ),
    "no epoch": (
        lambda: Trainer(accumulate_grad_batches={-1: 2}),
        ConfigurationError,
        "accumulate_grad_batches: -1 is not an epoch. Its keys are the first epochs, from 0.",
    ),
    "no window from an epoch on": (
        lambda: Trainer(accumulate_grad_batches={4: True}),
        ConfigurationError,
        "accumulate_grad_batches[4]: True is no number of batches. Give 1 or more.",
    ),
    "clipping to nothing": (
        lambda: Trainer(gradient_clip_val=0),
        ConfigurationError,
        "gradient_clip_val: 0 is no largest size. Give a number above 0, or None not to clip.",
    ),
    "clipping in another way": (
        lambda: Trainer(gradient_clip_val=1, gradient_clip_algorithm="l1"),
        ConfigurationError,
        "gradient_clip_algorithm: 'l1' is no way to clip. Give 'norm' or 'value'.",
    ),
    "a weight of nothing": (
        weighed(0),
        StepOutputError,
        "accumulation_weight: it gave 0 for a batch. Return a number above 0 or a tensor with one.",
    ),
    "a weight that is none": (weighed("2"), StepOutputError, "accumulation_weight: it gave '2' for a batch."),
    "accumulation by hand": (
        lambda: Trainer(max_epochs=1, accumulate_grad_batches=2).fit(Manual(), batches(1)),
        ConfigurationError,
        "accumulate_grad_batches: it is for automatic optimization, and the module has `automatic_optimization = F",
    ),
    "clipping by hand": (
        lambda: Trainer(max_epochs=1, gradient_clip_val=2.0).fit(Manual(), batches(1)),
        ConfigurationError,
        "gradient_clip_val: it is for automatic optimization",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_never_work(case: str) -> None:
    run, kind, message = BAD[case]
    with pytest.raises(kind) as refused:
        run()
    assert str(refused.value).startswith(message)
