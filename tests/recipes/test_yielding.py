"""A step that yields a loss for each optimizer: held against the loops it is made of, and against a loop by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.optim.lr_scheduler import StepLR

import typedloops
from tests.modules import Batch, batches
from tests.recipes.kills import killed_and_resumed
from typedloops import FitLoopOf, OptimizerLoop, TrainingBatchLoop, TrainingEpochLoop
from typedloops.errors import (
    ConfigurationError,
    EscapedStopIteration,
    ModuleError,
    NonFiniteError,
    OptimizerError,
    StepOutputError,
)
from typedloops.recipes.yielding import YieldLoop
from typedloops.testing import check_loop_contract

# Settings are taken from tables here, and some modules are wrong on purpose.
Trainer: Any = typedloops.Trainer


class Two(nn.Module):
    """Two networks, one on top of the other, each with a loss, an optimizer and a scheduler of its own."""

    def __init__(self, second_adam: bool = True) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1))
        self.second = nn.Linear(8, 3)
        self.second_adam = second_adam

    def loss_for(self, batch: Batch, index: int) -> Tensor:
        logits: Tensor = self.second(self.first(batch[0]))
        loss = cross_entropy(logits, batch[1])
        return loss if index == 0 else loss * 2 + logits.square().mean()

    def configure_optimizers(self) -> Any:
        first = SGD(self.first.parameters(), lr=0.1, momentum=0.9)
        second = (Adam if self.second_adam else SGD)(self.second.parameters(), lr=0.01)
        every_step = {"scheduler": StepLR(second, 3, gamma=0.5), "interval": "step"}
        return [first, second], [StepLR(first, 1, gamma=0.5), every_step]


class Yielding(Two):
    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
        yield self.loss_for(batch, 0)
        yield {"loss": self.loss_for(batch, 1), "batch_idx": float(batch_idx)}


class Told(Two):
    """The same for the default optimizer loop."""

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
        loss = self.loss_for(batch, optimizer_idx)
        return {"loss": loss, "batch_idx": float(batch_idx)} if optimizer_idx else loss


class Unfused(YieldLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def yielding(leaf: type[YieldLoop] = YieldLoop, max_epochs: int | None = None) -> Any:
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf())), max_epochs=max_epochs)


def fit(model: nn.Module, data: Any, *, leaf: type[YieldLoop] = YieldLoop, **settings: Any) -> Any:
    return Trainer(**{"max_epochs": 1, "fit_loop": yielding(leaf), **settings}).fit(model, data)


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


class Recorder:
    """The hooks of an optimizer's step, in their order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_before_zero_grad(self, trainer: Any, module: Any, optimizer: Optimizer, optimizer_idx: int) -> None:
        self.heard.append(f"zero_grad {optimizer_idx}")

    def on_before_backward(self, trainer: Any, module: Any, loss: Tensor) -> None:
        self.heard.append("backward")

    def on_after_backward(self, trainer: Any, module: Any) -> None:
        self.heard.append("after")

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Optimizer, optimizer_idx: int) -> None:
        self.heard.append(f"step {optimizer_idx}")


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "windows": {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1},
    "weights": {"accumulate_grad_batches": 2, "accumulation_weight": lambda batch: len(batch[0])},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "16-mixed": {"precision": "16-mixed", "accumulate_grad_batches": 2},
    "64-true": {"precision": "64-true", "gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"},
    "watched": {"detect_nonfinite": "modules"},
}


@pytest.mark.parametrize("leaf", [YieldLoop, Unfused])
@pytest.mark.parametrize("name", SETTINGS)
def test_losses_that_do_not_depend_on_steps_before_have_the_bits_of_the_default_loop(
    name: str, leaf: type[YieldLoop]
) -> None:
    ours, theirs = Yielding(), Told()
    ours.load_state_dict(theirs.state_dict())
    mine, other = Recorder(), Recorder()
    torch.manual_seed(1)
    by_default = Trainer(max_epochs=2, callbacks=[other], **SETTINGS[name]).fit(theirs, batches(5))
    torch.manual_seed(1)
    result = fit(ours, batches(5), leaf=leaf, max_epochs=2, callbacks=[mine], **SETTINGS[name])
    assert same_bits(ours, theirs)
    assert mine.heard == other.heard
    assert len(mine.heard) > 20
    assert result.metrics == by_default.metrics
    assert {"train_loss", "train_loss/optimizer_idx_0", "train_loss/optimizer_idx_1"} < result.metrics.keys()
    assert result.steps_by_optimizer == by_default.steps_by_optimizer
    assert result.last_output.keys() == {"loss", "batch_idx"}


@settings(max_examples=15, deadline=None)
@given(
    rests=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6),
    window=st.integers(1, 3),
    clip=st.sampled_from([None, 0.1]),
)
def test_whichever_optimizers_rest_on_whichever_batches(
    rests: list[tuple[bool, bool]], window: int, clip: float | None
) -> None:
    class Resting(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
            for index, rest in enumerate(rests[batch_idx]):
                yield None if rest else self.loss_for(batch, index)

    class RestingAsTold(Two):
        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
            return None if rests[batch_idx][optimizer_idx] else self.loss_for(batch, optimizer_idx)

    torch.manual_seed(0)
    ours, theirs, data = Resting(), RestingAsTold(), batches(len(rests))
    ours.load_state_dict(theirs.state_dict())
    done = []
    for model, loop in ((ours, YieldLoop()), (theirs, OptimizerLoop())):
        trainer = Trainer(
            max_epochs=2, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(loop))), gradient_clip_val=clip
        )
        loop.accumulate_grad_batches = window
        torch.manual_seed(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of windows larger than an epoch, and epochs without a step
            done.append(trainer.fit(model, data).steps_by_optimizer)
    assert done[0] == done[1]
    assert same_bits(ours, theirs)


class Gan(nn.Module):
    """Each loss is computed by the weights that the step before has left."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())
        self.discriminator = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(), nn.Linear(32, 1))
        self.register_buffer("steps_seen", torch.zeros(3))

    def judged(self, image_BP: Tensor, real: float) -> Tensor:
        logit_B1: Tensor = self.discriminator(image_BP)
        return binary_cross_entropy_with_logits(logit_B1, torch.full_like(logit_B1, real))

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        fake_BP = self.generator(torch.randn(len(batch[0]), 8))
        yield self.judged(fake_BP, 1.0)
        fake_BP = self.generator(torch.randn(len(batch[0]), 8)).detach()
        yield self.judged(batch[0], 1.0) + self.judged(fake_BP, 0.0)
        self.state_dict()["steps_seen"] += 1  # a buffer, whose type is not known otherwise

    def configure_optimizers(self) -> list[Optimizer]:
        return [Adam(part.parameters(), lr=1e-3) for part in (self.generator, self.discriminator)]


def digit_batches(count: int = 12, size: int = 16) -> list[Batch]:
    digits = load_digits()
    image_BP = torch.as_tensor(digits.data, dtype=torch.float32).div(16)
    digit_B = torch.as_tensor(digits.target)
    return list(zip(image_BP.split(size)[:count], digit_B.split(size)[:count], strict=True))


def test_a_gan_on_digits_has_the_bits_of_the_loop_by_hand() -> None:
    ours, theirs = Gan(), Gan()
    theirs.load_state_dict(ours.state_dict())
    data = digit_batches()
    torch.manual_seed(1)
    result = fit(ours, data, max_epochs=2)
    torch.manual_seed(1)
    generator, discriminator = theirs.configure_optimizers()
    for image_BP, _ in data * 2:
        generator.zero_grad()
        theirs.judged(theirs.generator(torch.randn(16, 8)), 1.0).backward()
        generator.step()
        with torch.no_grad():
            fake_BP = theirs.generator(torch.randn(16, 8))
        discriminator.zero_grad()
        (theirs.judged(image_BP, 1.0) + theirs.judged(fake_BP, 0.0)).backward()
        discriminator.step()
        theirs.state_dict()["steps_seen"] += 1
    assert same_bits(ours, theirs)
    assert ours.state_dict()["steps_seen"].tolist() == [24, 24, 24]
    assert result.steps_by_optimizer == (24, 24)


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("killed_after", [1, 5, 12, 20])
def test_it_goes_on_with_the_same_bits(killed_after: int, window: int, tmp_path: Path) -> None:
    def make_trainer(callbacks: Any = ()) -> Any:
        return Trainer(max_epochs=2, fit_loop=yielding(), accumulate_grad_batches=window, callbacks=callbacks)

    def run(trainer: Any) -> Any:
        model = Gan()
        result = trainer.fit(model, digit_batches())
        progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress
        return model.state_dict(), result.metrics, result.steps_by_optimizer, progress.state_dict()

    torch.manual_seed(0)
    whole = run(make_trainer())
    resumed = killed_and_resumed(make_trainer, run, tmp_path / "saved", killed_after)
    assert all(map(torch.equal, whole[0].values(), resumed[0].values()))
    assert whole[1:] == resumed[1:]
    assert whole[2] == (24 // window, 24 // window)


def test_the_loss_of_one_optimizer_is_enough() -> None:
    class One(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
            yield self.loss_for(batch, 0)

        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=0.1)

    result = fit(One(), batches(4))
    assert result.optimizer_steps == 4
    assert "train_loss/optimizer_idx_0" not in result.metrics


def test_the_documented_way_of_a_default_tree() -> None:
    trainer = Trainer(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=YieldLoop())
    assert trainer.fit(Yielding(), batches(4)).steps_by_optimizer == (4, 4)


def test_it_runs_without_a_trainer() -> None:
    assert yielding(max_epochs=1).run(Yielding(), batches(4)).steps_by_optimizer == (4, 4)


def test_it_keeps_the_contract() -> None:
    check_loop_contract(lambda: yielding(max_epochs=1), Gan(), digit_batches(3))


@pytest.mark.parametrize("leaf", [YieldLoop, Unfused])
def test_what_is_between_the_yields_comes_after_the_step(leaf: type[YieldLoop]) -> None:
    told: list[str] = []

    class Telling(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
            told.append(f"begin {self._learning()}")
            yield self.loss_for(batch, 0)
            told.append(f"between {self._learning()}")
            yield self.loss_for(batch, 1)
            told.append(f"end {self._learning()}")

        def _learning(self) -> str:
            return "".join(str(int(next(part.parameters()).requires_grad)) for part in (self.first, self.second))

        def on_before_optimizer_step(self, optimizer: Optimizer, optimizer_idx: int) -> None:
            told.append(f"step {optimizer_idx}")

    fit(Telling(), batches(1), leaf=leaf)
    assert told == ["begin 10", "step 0", "between 01", "step 1", "end 11"]


def test_a_step_of_the_modules_own_may_leave_a_step_out() -> None:
    class Own(Yielding):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any, optimizer_idx: int) -> None:
            if optimizer_idx == 0 or batch_idx % 2:
                optimizer.step(closure)
            else:
                closure()

    assert fit(Own(), batches(4)).steps_by_optimizer == (4, 2)


class Closing(Yielding):
    """Remembers that its step was left."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
        try:
            yield self.loss_for(batch, 0)
            yield from self.rest(batch)
        finally:
            self.closed += 1

    def rest(self, batch: Batch) -> Iterator[Any]:
        yield self.loss_for(batch, 1)


class Raising:
    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Optimizer, optimizer_idx: int) -> None:
        if optimizer_idx == 1:
            raise ZeroDivisionError


def test_a_step_that_is_left_is_closed_and_everything_learns_again() -> None:
    model = Closing()
    with pytest.raises(ZeroDivisionError):
        fit(model, batches(2), callbacks=[Raising()])
    assert model.closed == 1
    assert all(parameter.requires_grad for parameter in model.parameters())
    fit(model, batches(2))
    assert model.closed == 3


def test_an_error_in_the_middle_of_a_step_is_the_users_own() -> None:
    class Broken(Closing):
        def rest(self, batch: Batch) -> Iterator[Any]:
            raise KeyError("in the middle")

    model = Broken()
    with pytest.raises(KeyError, match="in the middle"):
        fit(model, batches(2))
    assert model.closed == 1
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_error_that_only_looks_like_an_escaped_stop_iteration_is_left_as_it_is() -> None:
    class Lookalike(Closing):
        def rest(self, batch: Batch) -> Iterator[Any]:
            raise RuntimeError("mine") from StopIteration()

    with pytest.raises(RuntimeError, match="mine") as caught:
        fit(Lookalike(), batches(1))
    assert not isinstance(caught.value, EscapedStopIteration)


def step_yielding(make: Callable[[Any, Batch], Iterator[Any]]) -> Any:
    class Case(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
            yield from make(self, batch)

    return Case()


def losses(*indices: int) -> Callable[[Any, Batch], Iterator[Any]]:
    return lambda model, batch: (model.loss_for(batch, index) for index in indices)


def stopping(model: Any, batch: Batch) -> Iterator[Any]:
    yield model.loss_for(batch, 0)
    next(iter(()))


COUNT_REMEDY = "Yield one loss for each optimizer, in the order of configure_optimizers; None leaves one out."
BAD_STEPS: dict[str, tuple[Callable[[Any, Batch], Iterator[Any]], type[Exception], str]] = {
    "none": (
        losses(),
        StepOutputError,
        f"Case.training_step: it yielded 0 losses for a batch, and the number of optimizers is 2. {COUNT_REMEDY}",
    ),
    "too few": (
        losses(0),
        StepOutputError,
        f"Case.training_step: it yielded 1 loss for a batch, and the number of optimizers is 2. {COUNT_REMEDY}",
    ),
    "too many": (
        losses(0, 1, 1),
        StepOutputError,
        "Case.training_step: it yielded more than 2 losses for a batch, and the number of optimizers is 2. "
        + COUNT_REMEDY,
    ),
    "a number": (
        lambda model, batch: iter([1.5, 2.5]),
        StepOutputError,
        (
            "Case.training_step: it yielded a float as the loss. "
            "Yield a scalar loss, a mapping with the key 'loss', or None to skip the optimization of this batch."
        ),
    ),
    "no loss": (
        lambda model, batch: iter([{"accuracy": 1.0}, None]),
        StepOutputError,
        (
            "Case.training_step: it yielded a mapping without the key 'loss'; it has ['accuracy']. "
            "Yield a scalar loss, a mapping with the key 'loss', or None to skip the optimization of this batch."
        ),
    ),
    "no scalar": (
        lambda model, batch: iter([model.first(batch[0]).sum(0), None]),
        StepOutputError,
        "Case.training_step: its loss has shape (8,). Reduce it: loss.mean().",
    ),
    "the other's parameters": (
        lambda model, batch: iter([model.second(torch.ones(8)).sum(), None]),
        StepOutputError,
        (
            "Case.training_step: its loss does not depend on any parameter that requires a gradient. "
            "Was it detached, computed under no_grad, or are all parameters frozen? "
            "Yield a scalar loss, a mapping with the key 'loss', or None to skip the optimization of this batch."
        ),
    ),
    "stop iteration": (
        stopping,
        EscapedStopIteration,
        (
            "Case.training_step: StopIteration escaped from it. StopIteration ends a loop only when the loop's own "
            "`on_advance_start`, `advance` or `on_advance_end` raises it; catch it here, or let the loop raise it."
        ),
    ),
}


@pytest.mark.parametrize("leaf", [YieldLoop, Unfused])
@pytest.mark.parametrize("name", BAD_STEPS)
def test_a_step_that_yields_what_cannot_be_trained_on(name: str, leaf: type[YieldLoop]) -> None:
    make, kind, message = BAD_STEPS[name]
    with pytest.raises(kind) as caught:
        fit(step_yielding(make), batches(2), leaf=leaf)
    assert str(caught.value) == message


class Plain(Two):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        raise AssertionError("nothing runs before it is looked at")

    def configure_optimizers(self) -> Any:
        raise AssertionError("nothing runs before it is looked at")


@pytest.mark.parametrize("deep", [True, False])
def test_a_step_that_is_no_generator_is_refused_before_anything_runs(deep: bool) -> None:
    trainer = Trainer(max_epochs=1) if deep else Trainer(max_epochs=1, fit_loop=yielding())
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=YieldLoop())
    with pytest.raises(ModuleError) as caught:
        trainer.fit(Plain(), batches(1))
    assert str(caught.value) == (
        "Plain.training_step: it is not a generator function, and YieldLoop needs a YieldingModule. "
        "Yield the losses, or connect a loop that takes a plain step."
    )


def test_a_generator_is_refused_by_the_default_loop() -> None:
    with pytest.raises(ModuleError, match=r"^Yielding\.training_step: it is a generator function, and OptimizerLoop"):
        Trainer(max_epochs=1).fit(Yielding(), batches(1))


def with_optimizers(configure: Callable[[Any], Any], **attributes: Any) -> Any:
    class Case(Yielding):
        def configure_optimizers(self) -> Any:
            return configure(self)

    model = Case()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def both(model: Any, make: Any = SGD) -> list[Any]:
    return [make(part.parameters(), lr=0.1) for part in (model.first, model.second)]


def sharing(model: Any) -> list[Any]:
    return [SGD(model.parameters(), lr=0.1), SGD(model.second.parameters(), lr=0.1)]


BAD_SETTINGS: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "no optimizer": (
        lambda: with_optimizers(lambda model: None),
        {},
        OptimizerError,
        (
            "Case.configure_optimizers: it returned no optimizer, and YieldLoop takes a step for each loss that is "
            "yielded. Return an optimizer for each loss."
        ),
    ),
    "frequencies": (
        lambda: with_optimizers(lambda model: [{"optimizer": each, "frequency": 2} for each in both(model)]),
        {},
        OptimizerError,
        (
            "Case.configure_optimizers: its optimizers have frequencies, and with YieldLoop each has its loss on every "
            "batch. Leave them out, and yield None where an optimizer is to rest."
        ),
    ),
    "manual optimization": (
        lambda: with_optimizers(both, automatic_optimization=False),
        {},
        ModuleError,
        (
            "Case.automatic_optimization: it is False, and YieldLoop steps the optimizers. "
            "Leave it out, or connect ManualOptimization."
        ),
    ),
    "LBFGS": (
        lambda: with_optimizers(lambda model: both(model, LBFGS)),
        {},
        OptimizerError,
        (
            "Case.configure_optimizers: LBFGS looks at its loss several times for each step, and YieldLoop has it "
            "once. Use another optimizer, or OptimizerLoop, whose step can be called anew."
        ),
    ),
    "pieces along time": (
        lambda: with_optimizers(both, truncated_bptt_steps=2),
        {},
        ConfigurationError,
        (
            "truncated_bptt_steps: YieldLoop goes through a step once for each batch. "
            "Leave truncated_bptt_steps out, or use OptimizerLoop."
        ),
    ),
    "a shared parameter": (
        lambda: with_optimizers(sharing),
        {"accumulate_grad_batches": 2},
        OptimizerError,
        (
            "accumulate_grad_batches: optimizers 0 and 1 share a parameter, whose gradients cannot be added up for "
            "both. Give each parameter to one optimizer, give them frequencies, or step on every batch."
        ),
    ),
}


@pytest.mark.filterwarnings("ignore:.*returned None. this fit calls the training step")
@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_what_cannot_be_had(name: str) -> None:
    make, options, kind, message = BAD_SETTINGS[name]
    with pytest.raises(kind) as caught:
        fit(make(), batches(2), **options)
    assert str(caught.value) == message


def test_a_loss_is_there_once() -> None:
    class Twice(Yielding):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any, optimizer_idx: int) -> None:
            closure()
            optimizer.step(closure)

    with pytest.raises(OptimizerError) as caught:
        fit(Twice(), batches(2))
    assert str(caught.value) == (
        "optimizer 0: its loss was asked for twice on one batch, and Twice.training_step has yielded it. "
        "Call the closure of `optimizer_step` once for each step."
    )


@pytest.mark.parametrize("early", [True, False])
def test_a_loss_of_what_an_earlier_one_was_made_of_is_explained(early: bool) -> None:
    class Sharing(Gan):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
            fake_BP = self.generator(torch.randn(len(batch[0]), 8))
            hidden_BH = self.generator[0](torch.randn(1, 8)).relu()
            second = self.generator[2](hidden_BH).sum() if early else None
            yield self.judged(fake_BP, 1.0)
            yield self.judged(fake_BP, 0.0) if second is None else second

    with pytest.raises(RuntimeError) as caught:
        fit(Sharing(), digit_batches(1))
    assert (
        "Sharing.training_step: what an earlier loss was made of has lost its graph by now, or its parameters have "
        "changed since. Detach it, or compute it anew after the yield."
    ) in caught.value.__notes__


def test_every_loss_is_looked_at() -> None:
    class Infinite(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
            yield self.loss_for(batch, 0)
            yield self.loss_for(batch, 1) / (0.0 if batch_idx == 2 else 1.0)

    with pytest.raises(NonFiniteError, match="batch 2"):
        fit(Infinite(), batches(4), detect_nonfinite="loss")


def test_its_steps_compute_in_the_precision_of_the_run() -> None:
    seen: list[torch.dtype] = []

    class Looking(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Any, None, None]:
            for index in (0, 1):
                seen.append(self.second(self.first(batch[0])).dtype)
                yield self.loss_for(batch, index)
            seen.append(self.second(self.first(batch[0])).dtype)

    fit(Looking(), batches(1), precision="bf16-mixed")
    assert seen == [torch.bfloat16] * 3
