"""Two sets of parameters on two loaders: held against loops by hand, of first order and unrolled, and killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import TensorDataset

import typedloops
from tests.recipes.kills import killed_and_resumed
from typedloops import BatchLoader, CombinedLoader, FitLoopOf, TrainingBatchLoop, TrainingEpochLoop
from typedloops.errors import ConfigurationError, LoaderError, ModuleError, OptimizerError, StepOutputError
from typedloops.recipes.bilevel import BilevelLoop
from typedloops.testing import check_loop_contract

# Settings are taken from tables here, and some modules are wrong on purpose.
Trainer: Any = typedloops.Trainer
Batch = tuple[Tensor, Tensor]


class Regularized(nn.Module):
    """A linear classifier with a weight decay for each pixel, and a temperature that both losses see."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(64, 10)
        self.log_decay_P = nn.Parameter(torch.full((64,), -3.0))
        self.log_heat = nn.Parameter(torch.zeros(()))

    def inner_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        decay: Tensor = self.log_decay_P.exp() * self.net.weight.square().sum(0)
        return self.outer_loss(batch, batch_idx) + decay.sum()

    def outer_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]) / self.log_heat.exp(), batch[1])

    def outer(self) -> list[nn.Parameter]:
        return [self.log_decay_P, self.log_heat]

    def configure_optimizers(self) -> Any:
        return [SGD(self.net.parameters(), lr=0.1, momentum=0.9), Adam(self.outer(), lr=0.05)]


class Stateful(Regularized):
    """Draws random numbers and keeps running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm1d(64), nn.Dropout(0.1))

    def outer_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().outer_loss((self.before(batch[0]), batch[1]), batch_idx)


class Unfused(BilevelLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def batches(count: int, size: int, dtype: torch.dtype = torch.float32, start: int = 0) -> list[Batch]:
    data = load_digits()
    place = slice(start, start + count * size)
    image_BP, digit_B = torch.as_tensor(data.data[place], dtype=dtype) / 16, torch.as_tensor(data.target[place])
    return list(zip(image_BP.split(size), digit_B.split(size), strict=True))


def pairs() -> Any:
    (image_BP, digit_B), (other_BP, other_B) = batches(1, 50)[0], batches(1, 30, start=50)[0]
    train: Any = BatchLoader(TensorDataset(image_BP, digit_B), batch_size=10, shuffle=True)
    return CombinedLoader((train, BatchLoader(TensorDataset(other_BP, other_B), batch_size=15)), "max_size_cycle")


def bilevel(leaf: type[BilevelLoop] = BilevelLoop, *args: int, max_epochs: int | None = None, **kwargs: Any) -> Any:
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf(*args, **kwargs))), max_epochs=max_epochs)


def fit(model: Any, data: Any, *args: int, leaf: type[BilevelLoop] = BilevelLoop, **options: Any) -> Any:
    return Trainer(**{"max_epochs": 1, "fit_loop": bilevel(leaf, *args), **options}).fit(model, data)


def unrolled_loss(model: Regularized, batch: Batch, outer_batch: Batch, steps: int, rate: float) -> Tensor:
    """The outer loss as a function of the outer parameters, by torch's own graph through the inner steps."""
    weight, bias = model.net.weight.detach().requires_grad_(), model.net.bias.detach().requires_grad_()

    def loss(weight: Tensor, bias: Tensor, batch: Batch) -> Tensor:
        return cross_entropy(linear(batch[0], weight, bias) / model.log_heat.exp(), batch[1])

    for _ in range(steps):
        inner = loss(weight, bias, batch) + (model.log_decay_P.exp() * weight.square().sum(0)).sum()
        by_weight, by_bias = torch.autograd.grad(inner, [weight, bias], create_graph=True)
        weight, bias = weight - rate * by_weight, bias - rate * by_bias
    return loss(weight, bias, outer_batch)


@settings(max_examples=15, deadline=None)
@given(
    inner_steps=st.integers(1, 3),
    unrolled_steps=st.integers(0, 3),
    rate=st.sampled_from([None, 0.5]),
    clip=st.sampled_from([None, 0.1]),
)
def test_a_fit_is_the_loop_by_hand(
    inner_steps: int, unrolled_steps: int, rate: float | None, clip: float | None
) -> None:
    torch.manual_seed(0)
    ours, theirs = Regularized().double(), Regularized().double()
    theirs.load_state_dict(ours.state_dict())
    data = list(zip(batches(6, 8, torch.float64), batches(6, 4, torch.float64, start=48), strict=True))
    tree = bilevel(BilevelLoop, inner_steps, unrolled_steps, rate=rate)
    result = fit(ours, data, fit_loop=tree, gradient_clip_val=clip)
    inner, outer = theirs.configure_optimizers()
    last = None
    for batch_idx, (batch, outer_batch) in enumerate(data):
        if (batch_idx + 1) % inner_steps == 0:
            outer_loss = unrolled_loss(theirs, batch, outer_batch, unrolled_steps, rate or 0.1)
            last = outer_loss.item()
            outer.zero_grad()
            gradients = torch.autograd.grad(outer_loss, theirs.outer(), allow_unused=True)
            for parameter, gradient in zip(theirs.outer(), gradients, strict=True):
                parameter.grad = gradient
            if clip is not None:
                nn.utils.clip_grad_norm_(theirs.outer(), clip)
            outer.step()
        inner.zero_grad()
        theirs.inner_loss(batch, batch_idx).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(theirs.net.parameters(), clip)
        inner.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-8, atol=1e-10)
    assert result.steps_by_optimizer == (6, 6 // inner_steps)
    assert result.metrics["train_loss/optimizer_idx_1"] == pytest.approx(last)
    assert result.metrics["train_loss"] == result.metrics["train_loss/optimizer_idx_0"]


def test_alternating_has_the_bits_of_the_loop_by_hand() -> None:
    ours, theirs = Regularized(), Regularized()
    theirs.load_state_dict(ours.state_dict())
    data = list(zip(batches(6, 8), batches(6, 4, start=48), strict=True))
    fit(ours, data, 1, 0)
    inner, outer = theirs.configure_optimizers()
    for batch, outer_batch in data:
        for optimizer, loss, part in ((outer, theirs.outer_loss, outer_batch), (inner, theirs.inner_loss, batch)):
            optimizer.zero_grad()
            loss(part, 0).backward()
            optimizer.step()
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def test_what_only_the_inner_loss_sees_learns_through_its_steps() -> None:
    first_order, unrolled = Regularized(), Regularized()
    fit(first_order, pairs(), 1, 0)
    fit(unrolled, pairs(), 1, 1)
    assert torch.equal(first_order.log_decay_P, torch.full((64,), -3.0))
    assert not torch.equal(unrolled.log_decay_P, torch.full((64,), -3.0))


@pytest.mark.parametrize("leaf", [BilevelLoop, Unfused])
def test_turns_and_who_learns(leaf: type[BilevelLoop]) -> None:
    told: list[str] = []

    class Telling(Regularized):
        def on_before_backward(self, loss: Tensor) -> None:
            told.append(f"learn {int(self.net.bias.requires_grad)}{int(self.log_heat.requires_grad)}")

        def on_before_optimizer_step(self, optimizer: Optimizer, optimizer_idx: int) -> None:
            told.append(f"step {optimizer_idx}")

    model = Telling()
    fit(model, pairs(), 2, leaf=leaf)
    inner, outer = ["learn 10", "step 0"], ["learn 01", "step 1"]
    assert told == [*inner, *outer, *inner, *inner, *outer, *inner, *inner]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_running_statistics_see_inner_steps_alone() -> None:
    model = Stateful()
    fit(model, pairs(), 1, 2, max_epochs=2)
    assert int(model.state_dict()["before.0.num_batches_tracked"]) == 10


def test_what_is_frozen_takes_no_part_in_a_look_ahead() -> None:
    class Frozen(Regularized):
        def outer_loss(self, batch: Batch, batch_idx: int) -> Tensor:
            assert torch.equal(self.net.bias, torch.zeros(10))
            return super().outer_loss(batch, batch_idx)

    model = Frozen()
    nn.init.zeros_(model.net.bias).requires_grad_(False)
    assert fit(model, pairs(), 1, 2).steps_by_optimizer == (5, 5)
    assert not model.net.bias.requires_grad


OPTIONS: dict[str, dict[str, Any]] = {
    "bf16-mixed": {"precision": "bf16-mixed"},
    "16-mixed": {"precision": "16-mixed"},
    "64-true": {"precision": "64-true"},
    "watched": {"detect_nonfinite": "modules"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_settings_of_a_run_hold_for_it(name: str) -> None:
    torch.manual_seed(0)
    plain, other = Regularized(), Regularized()
    other.load_state_dict(plain.state_dict())
    data = list(zip(batches(6, 8), batches(6, 4, start=48), strict=True))
    fit(plain, data)
    fit(other, data, **OPTIONS[name])
    torch.testing.assert_close(plain.log_decay_P, other.log_decay_P.float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("inner_steps", "unrolled_steps"), [(1, 1), (2, 2), (3, 0)])
@pytest.mark.parametrize("killed_after", [1, 4, 5, 7])
def test_it_goes_on_with_the_same_bits(
    killed_after: int, inner_steps: int, unrolled_steps: int, tmp_path: Path
) -> None:
    def make_trainer(callbacks: Any = ()) -> Any:
        return Trainer(max_epochs=2, fit_loop=bilevel(BilevelLoop, inner_steps, unrolled_steps), callbacks=callbacks)

    def run(trainer: Any) -> Any:
        model = Stateful()
        result = trainer.fit(model, pairs())
        return model.state_dict(), result.metrics, result.steps_by_optimizer

    torch.manual_seed(0)
    whole = run(make_trainer())
    resumed = killed_and_resumed(make_trainer, run, tmp_path / "saved", killed_after)
    assert all(map(torch.equal, whole[0].values(), resumed[0].values()))
    assert whole[1:] == resumed[1:]
    assert whole[2] == (10, 5 // inner_steps * 2)


def test_it_runs_without_a_trainer() -> None:
    assert bilevel(max_epochs=2).run(Regularized(), pairs()).steps_by_optimizer == (10, 10)


def test_it_keeps_the_contract() -> None:
    data = list(zip(batches(2, 4), batches(2, 4, start=8), strict=True))
    check_loop_contract(lambda: bilevel(max_epochs=1), Regularized(), data)


def test_an_epoch_without_an_outer_step_is_told() -> None:
    with pytest.warns(UserWarning, match=r"^BilevelLoop\.inner_steps is 6 and an epoch has 5 batches, so that the"):
        assert fit(Regularized(), pairs(), 6).steps_by_optimizer == (5, 0)


def with_optimizers(configure: Callable[[Regularized], Any]) -> Regularized:
    class Case(Regularized):
        def configure_optimizers(self) -> Any:
            return configure(self)

    return Case()


def with_frequencies(model: Regularized) -> Any:
    return [{"optimizer": each, "frequency": 1} for each in Regularized.configure_optimizers(model)]


class Independent(Regularized):
    def outer_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])


def by_itself() -> Regularized:
    model = Regularized()
    model.automatic_optimization = False  # type: ignore[assignment]
    return model


def in_pieces() -> Regularized:
    model = Regularized()
    model.truncated_bptt_steps = 2  # type: ignore[assignment]
    return model


TURNS = (
    "and BilevelLoop takes turns between two. "
    "Return [inner, outer]; `inner_steps` is how many steps of the first there are to one of the second."
)
ERRORS: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "one optimizer": (
        lambda: with_optimizers(lambda model: SGD(model.parameters())),
        {},
        OptimizerError,
        f"Case.configure_optimizers: its optimizers are 1 in number, {TURNS}",
    ),
    "frequencies": (
        lambda: with_optimizers(with_frequencies),
        {},
        OptimizerError,
        f"Case.configure_optimizers: its optimizers are with frequencies, {TURNS}",
    ),
    "a shared parameter": (
        lambda: with_optimizers(lambda model: [SGD(model.parameters()), SGD(model.outer())]),
        {},
        OptimizerError,
        (
            "Case.configure_optimizers: its optimizers share a parameter, which is then inner and outer. "
            "Give it to one of them."
        ),
    ),
    "a parameter of its own": (
        lambda: with_optimizers(lambda model: [SGD([torch.zeros(1, requires_grad=True)]), SGD(model.outer())]),
        {},
        OptimizerError,
        (
            "SGD: it has a parameter that is none of Case, and BilevelLoop looks ahead of its step. "
            "Register it in the module."
        ),
    ),
    "windows": (
        Regularized,
        {"accumulate_grad_batches": 2},
        ConfigurationError,
        "accumulate_grad_batches: BilevelLoop steps once for each batch. Leave accumulate_grad_batches out.",
    ),
    "manual optimization": (
        by_itself,
        {},
        ModuleError,
        (
            "Regularized.automatic_optimization: it is False, and BilevelLoop steps the optimizers. "
            "Leave it out, or connect ManualOptimization."
        ),
    ),
    "pieces along time": (
        in_pieces,
        {},
        ConfigurationError,
        "truncated_bptt_steps: BilevelLoop steps once for each batch. Leave truncated_bptt_steps out.",
    ),
    "nothing to learn": (
        Independent,
        {"fit_loop": lambda: bilevel(BilevelLoop, 1, 0)},
        StepOutputError,
        (
            "Independent.outer_loss: it depends on no outer parameter, by itself or through 0 unrolled steps. "
            "Use an outer parameter in it, or in inner_loss and give unrolled_steps=1."
        ),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_had(name: str) -> None:
    make, options, kind, message = ERRORS[name]
    with pytest.raises(kind) as caught:
        fit(make(), pairs(), **{key: value() if callable(value) else value for key, value in options.items()})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: BilevelLoop(0),
            "BilevelLoop.inner_steps: 0 is no number of steps. Give an int from 1.",
        ),
        (
            lambda: BilevelLoop(1, -1),
            "BilevelLoop.unrolled_steps: -1 is no number of steps. Give an int from 0.",
        ),
        (lambda: BilevelLoop(rate=0.0), "BilevelLoop.rate: 0.0 is no rate. Give a number above 0."),
    ],
)
def test_settings_that_can_never_work(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == message


def test_a_module_without_an_outer_loss_is_refused_before_anything_runs() -> None:
    class Flat(nn.Linear):
        inner_loss = Regularized.inner_loss

        def configure_optimizers(self) -> Any:
            raise AssertionError("nothing runs before it is looked at")

    with pytest.raises(ModuleError, match=r"^Flat\.outer_loss: there is no such method, and BilevelLoop needs"):
        fit(Flat(1, 1), pairs())


def test_a_batch_that_is_no_pair() -> None:
    with pytest.raises(LoaderError) as caught:
        fit(Regularized(), [torch.zeros(3, 64)])
    assert str(caught.value) == (
        "train dataloader: its batch 0 is a Tensor, and no pair of an inner batch and an outer one. "
        'Give CombinedLoader((train, val), "max_size_cycle").'
    )
