"""Precision: equal to hand-written loops, bit for bit, with steps that a scaler leaves out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import StepLR

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, FitLoop, ModuleHooks, OptimizerLoop, StepLoop, TrainerView
from typedloops.errors import ConfigurationError, OptimizerError
from typedloops.loops.run.computing.precision import NAMES, number_type

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "AdamW": lambda parameters: AdamW(parameters, lr=0.01),
    "fused Adam": lambda parameters: Adam(parameters, lr=0.01, fused=True),
}
MIXED = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
TRUE = {"16-true": torch.float16, "bf16-true": torch.bfloat16, "64-true": torch.float64}


class Model(Classifier):
    """Its loss overflows in the batches that it is told, and it writes down what it computes with."""

    def __init__(self, optimizer: str = "SGD", overflows: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.overflows = overflows
        self.seen: set[object] = set()

    def loss(self, batch: Batch) -> Tensor:
        logits = self.net(batch[0])
        self.seen.add((logits.dtype, torch.get_default_dtype(), torch.is_autocast_enabled("cpu")))
        return nn.functional.cross_entropy(logits, batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * 1e38 * 1e2 if batch_idx in self.overflows else loss

    def configure_optimizers(self) -> Optimizer:
        return OPTIMIZERS[self.optimizer](self.parameters())


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def pair(*args: Any, kind: Callable[..., Classifier] = Model) -> tuple[Any, Any]:
    torch.manual_seed(0)
    first, second = kind(*args), kind(*args)
    second.load_state_dict(first.state_dict())
    return first, second


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


def trainer_of(fused: bool = True, **settings: Any) -> Any:
    trainer = Trainer(**{"max_epochs": 2, **settings})
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    return trainer


def by_hand(model: Model, precision: str, count: int, size: int = 1, clip: float | None = None) -> int:
    """The loop that one writes with autocast and torch's own scaler; returns how many steps it took."""
    optimizer, data, steps = model.configure_optimizers(), batches(count), 0
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16-mixed")
    optimizer.register_step_post_hook(lambda *_: None)
    for _ in range(2):
        for start in range(0, count, size):
            window = data[start : start + size]
            optimizer.zero_grad()
            for batch_idx, batch in enumerate(window, start):
                with torch.autocast("cpu", MIXED[precision]):
                    loss = model.training_step(batch, batch_idx)
                scaler.scale(loss / len(window) if len(window) > 1 else loss).backward()
            scaler.unscale_(optimizer)
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            steps += scaler.get_scale() >= before
    return steps


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(("precision", "optimizer", "size"), [*itertools.product(MIXED, OPTIMIZERS, (1, 3))])
def test_mixed_has_the_same_bits_as_by_hand(
    precision: str, optimizer: str, size: int, clip: float | None, fused: bool
) -> None:
    ours, theirs = pair(optimizer)
    torch.manual_seed(1)
    trainer = trainer_of(fused, precision=precision, accumulate_grad_batches=size, gradient_clip_val=clip)
    result = trainer.fit(ours, batches(5))
    torch.manual_seed(1)
    steps = by_hand(theirs, precision, 5, size, clip)
    assert same_bits(ours, theirs)
    assert (result.optimizer_steps, result.skipped_steps) == (steps, 0)
    assert ours.seen == {(MIXED[precision], torch.float32, True)}
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(
    ("optimizer", "size", "overflows", "skips"),
    [
        ("SGD", 1, (1, 2), 4),
        ("AdamW", 1, (0, 4), 4),
        ("fused Adam", 1, (0, 3), 4),
        ("SGD", 2, (1,), 2),
        ("AdamW", 2, (0, 4), 4),
        ("fused Adam", 3, (1, 2), 2),
    ],
)
def test_steps_that_overflow_are_skipped_and_counted(
    optimizer: str, size: int, overflows: tuple[int, ...], skips: int, clip: float | None, fused: bool
) -> None:
    ours, theirs = pair(optimizer, overflows)
    torch.manual_seed(1)
    trainer = trainer_of(fused, precision="16-mixed", accumulate_grad_batches=size, gradient_clip_val=clip)
    result = trainer.fit(ours, batches(5))
    torch.manual_seed(1)
    steps = by_hand(theirs, "16-mixed", 5, size, clip)
    assert same_bits(ours, theirs)
    assert all(parameter.isfinite().all() for parameter in ours.parameters())
    windows = 2 * -(-5 // size)
    assert (result.optimizer_steps, result.skipped_steps) == (steps, skips) == (windows - skips, skips)
    assert (trainer.global_step, trainer.skipped_steps) == (steps, skips)
    progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer.step.total
    assert (progress.ready, progress.completed) == (windows, steps)


def test_skipped_steps_count_neither_for_max_steps_nor_for_schedulers() -> None:
    rates: list[float] = []

    class Scheduled(Model):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=1.0)
            return [optimizer], [{"scheduler": StepLR(optimizer, 1, 0.5), "interval": "step"}]

    class Watching(Callback[Classifier, Batch]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
        ) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer = Trainer(max_steps=3, precision=16, callbacks=[Watching()])
    result = trainer.fit(Scheduled("SGD", (1, 2)), batches(6))
    assert (result.optimizer_steps, result.skipped_steps, result.batches) == (3, 2, 5)
    assert rates == [0.5, 0.5, 0.5, 0.25, 0.125]


def test_batches_without_a_loss_are_neither_scaled_nor_skipped() -> None:
    class Missing(Model):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            return None if batch_idx in (0, 2) else super().training_step(batch, batch_idx)

    result = trainer_of(precision="16-mixed", accumulate_grad_batches=2).fit(Missing(), batches(3))
    assert (result.optimizer_steps, result.skipped_steps) == (2, 0)


def test_gradients_are_unscaled_for_the_hook_before_the_step_and_for_clipping() -> None:
    norms: list[float] = []
    clipped: list[float] = []
    losses: list[float] = []

    class Watching(Callback[Classifier, Batch]):
        def on_before_backward(self, trainer: TrainerView, module: Classifier, loss: Tensor) -> None:
            losses.append(loss.item())

        def on_before_optimizer_step(self, trainer: TrainerView, module: Classifier, optimizer: Optimizer) -> None:
            norms.append(nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]).item())

        def on_train_batch_end(
            self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
        ) -> None:
            assert trainer.gradient_norm is not None
            clipped.append(trainer.gradient_norm.item())

    trainer_of(precision="16-mixed", gradient_clip_val=0.1, callbacks=[Watching()]).fit(Model(), batches(2))
    assert norms == clipped
    assert max(norms) < 10 > max(losses), "2 ** 16 times as much while they are scaled"


def test_the_scale_follows_overflows_and_has_a_state() -> None:
    states: list[dict[str, Any]] = []

    class Watching(Callback[Classifier, Batch]):
        def on_train_end(self, trainer: TrainerView, module: Classifier) -> None:
            optimization = fit.fit_loop.context.optimization
            scaler = optimization.scaler
            state = scaler.state_of(optimization.optimizers)
            states.append(state["scaler"])
            scaler.load_state_of(optimization.optimizers, {**state, "scaler": {**states[0], "scale": 4.0}})
            states.append(scaler.state_of(optimization.optimizers)["scaler"])

    fit = trainer_of(precision="16-mixed", max_epochs=1, callbacks=[Watching()])
    fit.fit(Model("SGD", (1, 2)), batches(5))
    assert [state["scale"] for state in states] == [2.0**14, 4.0]
    assert states[0]["_growth_tracker"] == 2


@pytest.mark.parametrize("precision", TRUE)
def test_true_converts_module_and_batches_before_the_optimizers_are_made(precision: str) -> None:
    made: list[torch.dtype] = []
    dtypes: set[object] = set()

    class Converted(Model):
        def configure_optimizers(self) -> Optimizer:
            made.extend(parameter.dtype for parameter in self.parameters())
            return SGD(self.parameters(), lr=0.01, momentum=0.9)

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            dtypes.add((batch[0].dtype, batch[1].dtype, torch.zeros(1).dtype))
            return super().training_step(batch, batch_idx)

    dtype = TRUE[precision]
    ours, theirs = pair(kind=Converted)
    data = batches(3)
    torch.manual_seed(1)
    trainer = trainer_of(precision=precision)
    trainer.fit(ours, data, data)
    assert (set(made), dtypes) == ({dtype}, {(dtype, torch.int64, dtype)})
    assert ours.seen == {(dtype, dtype, False)}
    assert torch.get_default_dtype() is torch.float32
    assert data[0][0].dtype is torch.float32
    torch.manual_seed(1)
    theirs.to(dtype)
    optimizer = theirs.configure_optimizers()
    for _ in range(2):
        for batch_idx, (x, y) in enumerate(data):
            optimizer.zero_grad()
            theirs.training_step((x.to(dtype), y), batch_idx).backward()
            optimizer.step()
    assert same_bits(ours, theirs)


@pytest.mark.parametrize("precision", [*MIXED, *TRUE])
def test_every_step_of_the_module_is_in_this_precision(precision: str) -> None:
    model = Model()
    trainer = trainer_of(precision=precision)
    dtype = {**MIXED, **TRUE}[precision]
    expected = {(dtype, dtype if precision in TRUE else torch.float32, precision in MIXED)}
    trainer.fit(model, batches(1), batches(1))
    assert model.seen == expected
    model.seen.clear()
    trainer.validate(model, batches(2))
    assert model.seen == expected
    enabled: list[bool] = []
    model.net.register_forward_hook(lambda *_: enabled.append(torch.is_autocast_enabled("cpu")))
    trainer.test(model, batches(2))
    trainer.predict(model, batches(2))
    FitLoop(max_epochs=1).run(Model().double(), [(x.double(), y) for x, y in batches(1)])
    assert enabled == [precision in MIXED] * 4


class Manual(Model):
    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.own = SGD(self.parameters(), lr=0.1)

    def configure_optimizers(self) -> Optimizer:
        return self.own

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.own.zero_grad()
        loss.backward()
        self.own.step()
        return loss.detach()


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_manual_optimization_computes_in_it_as_well(precision: str) -> None:
    model = Manual()
    dtype = {**MIXED, **TRUE}[precision]
    assert trainer_of(precision=precision).fit(model, batches(2)).optimizer_steps == 4
    assert {seen[0] for seen in model.seen} == {dtype}  # type: ignore[index]


def test_a_module_that_steps_by_itself_is_not_scaled_behind_its_back() -> None:
    with pytest.raises(ConfigurationError) as told:
        trainer_of(precision="16-mixed").fit(Manual(), batches(1))
    assert str(told.value) == (
        "precision: '16-mixed' scales losses and gradients, and the module has `automatic_optimization = False`. "
        "Give 'bf16-mixed', which needs no scaling, or inherit ManualModule and use what it offers."
    )


def test_nothing_is_wrapped_in_32_bits() -> None:
    steps: list[object] = []

    class Looking(OptimizerLoop):
        def bind(self, model: Any) -> Any:
            step: Any = super().bind(model)
            steps.append(step.__wrapped__)
            return step

    trainer = trainer_of()
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Looking())
    model = Model()
    trainer.fit(model, batches(1))
    assert steps == [model.training_step] * 2
    assert trainer.fit_loop.epoch_loop._driver is None


class Own(StepLoop[Any, Batch, Tensor]):
    """A leaf of one's own, that asks for the precision or forgets to."""

    def __init__(self, asks: bool = True) -> None:
        self.asks = asks

    def advance(self, model: Any, batch: Batch, batch_idx: int) -> None:
        step = self.in_precision(model.training_step) if self.asks else model.training_step
        self.output = step(batch, batch_idx)


def test_a_leaf_of_ones_own_asks_for_the_precision() -> None:
    model = Model()
    trainer = trainer_of(precision="bf16-mixed")
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Own())
    trainer.fit(model, batches(2))
    assert {seen[0] for seen in model.seen} == {torch.bfloat16}  # type: ignore[index]
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Own(asks=False))
    with pytest.warns(UserWarning, match="precision is 'bf16-mixed', and the loop that trains did not ask for it. Let"):
        trainer.fit(model, batches(2))


class Stepping(Model, ModuleHooks[Batch]):
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Any) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("precision", MIXED)
def test_a_step_of_the_modules_own_is_scaled_as_well(precision: str, clip: float | None, size: int) -> None:
    overflows = (2,) if precision == "16-mixed" else ()
    ours, theirs = pair("AdamW", overflows, kind=Stepping)
    torch.manual_seed(1)
    trainer = trainer_of(precision=precision, gradient_clip_val=clip, accumulate_grad_batches=size)
    result = trainer.fit(ours, batches(5))
    torch.manual_seed(1)
    steps = by_hand(theirs, precision, 5, size, clip)
    assert same_bits(ours, theirs)
    assert (result.optimizer_steps, result.skipped_steps) == (steps, 2 * len(overflows))


class Two(Model):
    """Two halves, each with its own optimizer; the loss of the first overflows where it is told."""

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:  # type: ignore[override]
        loss = self.loss(batch)
        return loss * 1e38 * 1e2 if optimizer_idx == 0 and batch_idx in self.overflows else loss

    def configure_optimizers(self) -> Any:
        return [SGD(self.net[0].parameters(), lr=0.1), SGD(self.net[3].parameters(), lr=0.1)]


@pytest.mark.parametrize("size", [1, 2])
def test_the_scale_does_not_change_while_another_optimizer_has_gradients(size: int) -> None:
    ours, theirs = pair("SGD", (1, 2), kind=Two)
    for model in (ours, theirs):
        model.net[2] = nn.Identity()  # no dropout
    result = trainer_of(precision="16-mixed", accumulate_grad_batches=size).fit(ours, batches(6))
    data, scaler = batches(6), torch.amp.GradScaler("cpu")
    optimizers = theirs.configure_optimizers()
    for batch_idx in [*range(6)] * 2:
        for index, optimizer in enumerate(optimizers):
            theirs.requires_grad_(False)
            theirs.net[(0, 3)[index]].requires_grad_(True)
            if batch_idx % size == 0:
                optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = theirs.training_step(data[batch_idx], batch_idx, index)
            scaler.scale(loss / size if size > 1 else loss).backward()
            if (batch_idx + 1) % size == 0:
                scaler.step(optimizer)
                if size == 1:
                    scaler.update()
        if size > 1 and (batch_idx + 1) % size == 0:
            scaler.update()
    assert same_bits(ours, theirs)
    assert result.skipped_steps == 4


@pytest.mark.filterwarnings("ignore:fit_loop. an epoch of 2 batches took no optimizer step")
def test_an_epoch_in_which_everything_overflows_is_told() -> None:
    with pytest.warns(
        UserWarning, match=r"an epoch of 2 batches took no optimizer step\. Every gradient overflowed\.$"
    ):
        result = trainer_of(precision="16-mixed").fit(Model("SGD", (0, 1)), batches(2))
    assert (result.optimizer_steps, result.skipped_steps) == (0, 4)


def test_skipped_steps_are_counted_on_after_loading_and_anew_otherwise() -> None:
    trainer = trainer_of(precision="16-mixed", max_epochs=1)
    trainer.fit(Model("SGD", (1,)), batches(3))
    state = trainer.fit_loop.state_dict()
    assert trainer.fit(Model("SGD", (1,)), batches(3)).skipped_steps == 1
    other = trainer_of(precision="16-mixed", max_epochs=2)
    other.fit_loop.load_state_dict(state)
    assert other.fit(Model("SGD", (1,)), batches(3)).skipped_steps == 2


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        *((name, name) for name in NAMES),
        *((64, "64-true"), ("64", "64-true"), (32, "32-true"), ("32", "32-true")),
        *((16, "16-mixed"), ("16", "16-mixed"), ("bf16", "bf16-mixed")),
    ],
)
def test_the_names_of_precisions(given: Any, meant: str) -> None:
    assert number_type(given).name == meant
    assert Trainer(precision=given).config.precision == given


@pytest.mark.parametrize("precision", ["8-true", 8, "32-mixed", None, True, 16.0, [16], torch.float16])
def test_a_precision_that_is_none(precision: object) -> None:
    with pytest.raises(ConfigurationError) as told:
        Trainer(precision=precision)
    assert str(told.value) == (
        f"precision: {precision!r} is no precision. "
        "Give one of 32-true, 16-mixed, bf16-mixed, 16-true, bf16-true, 64-true."
    )


def test_an_optimizer_that_needs_a_closure_cannot_be_scaled() -> None:
    class Searching(Model):
        def configure_optimizers(self) -> Optimizer:
            return LBFGS(self.parameters(), lr=0.1)

    with pytest.raises(OptimizerError) as told:
        trainer_of(precision="16-mixed").fit(Searching(), batches(1))
    assert str(told.value) == (
        "precision: '16-mixed' scales the loss, and LBFGS looks at it several times for each step. "
        "Use 'bf16-mixed' or '32-true', or another optimizer."
    )
    trainer_of(precision="bf16-mixed").fit(Searching(), batches(1))


def test_a_device_without_autocast() -> None:
    with pytest.raises(ConfigurationError) as told:
        trainer_of(precision="bf16-mixed", accelerator="meta").fit(Model(), batches(1))
    assert str(told.value) == (
        "precision: 'bf16-mixed' cannot be had on 'meta', which torch has no autocast for. Give '32-true'."
    )


@pytest.mark.parametrize("precision", ["16-mixed", "64-true"])
def test_an_error_in_a_step_leaves_torch_as_it_was(precision: str) -> None:
    class Failing(Model):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            raise KeyError

    with pytest.raises(KeyError):
        trainer_of(precision=precision).fit(Failing(), batches(1))
    assert torch.get_default_dtype() is torch.float32
    assert not torch.is_autocast_enabled("cpu")


class Elsewhere(nn.Module):
    """Its first loss does not reach what is optimized."""

    def __init__(self) -> None:
        super().__init__()
        self.optimized, self.other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return (self.other if batch_idx == 0 else self.optimized).sum()

    def configure_optimizers(self) -> Optimizer:
        return SGD([self.optimized], lr=1.0)


def test_a_step_without_gradients_leaves_the_next_ones_to_be_unscaled() -> None:
    model = Elsewhere()
    result = trainer_of(precision="16-mixed", max_epochs=1).fit(model, batches(3))
    assert float(model.optimized.detach()) == -2.0
    assert (result.optimizer_steps, result.skipped_steps) == (3, 0)


class ByHand(typedloops.ManualModule, nn.Module):
    """Steps, and looks at once at what the step came to."""

    scaled = True

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1, bias=False)
        self.seen: list[float] = []

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizer, ones = self.optimizer(), torch.ones(1, 1)
        optimizer.zero_grad()
        loss = self.net(ones).sum()
        if self.scaled:
            self.manual_backward(loss)
        else:
            loss.backward()
        optimizer.step()
        self.seen.append(float(self.net(ones).detach()) - float(self.net.weight.detach()))

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "32-true"])
def test_a_module_that_steps_by_itself_sees_its_new_weights_at_once(precision: str) -> None:
    model = ByHand()
    nn.init.ones_(model.net.weight)
    trainer_of(precision=precision, max_epochs=1).fit(model, batches(3))
    assert model.seen == [0.0, 0.0, 0.0]


def test_gradients_of_a_loss_that_was_not_scaled() -> None:
    model = ByHand()
    model.scaled = False
    with pytest.raises(OptimizerError) as refused:
        trainer_of(precision="16-mixed").fit(model, batches(1))
    assert str(refused.value) == (
        "SGD.step: '16-mixed' scales losses, and its gradients are of one that was not. "
        "Differentiate with `self.manual_backward(loss)`."
    )
