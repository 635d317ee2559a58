"""Optimization by the module itself, with the helpers of `ManualModule`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, FitLoop, ManualModule, ManualOptimization, ManualOptimizer, OptimizerLoop, TrainerView
from typedloops.errors import ConfigurationError, MisuseError, OptimizerError, StepOutputError
from typedloops.protocols.module import Scheduler

# Settings are taken from tables here, and some modules are wrong on purpose.
Trainer: Any = typedloops.Trainer


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


def pair(kind: Callable[[], Any]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    first, second = kind(), kind()
    second.load_state_dict(first.state_dict())
    torch.manual_seed(1)
    return first, second


def digits(size: int = 64) -> list[Tensor]:
    """Handwritten digits in batches, flat and from -1 to 1."""
    data = pytest.importorskip("sklearn.datasets").load_digits().data[:512]
    return list((torch.as_tensor(data, dtype=torch.float32) / 8 - 1).split(size))


class GAN(nn.Module, ManualModule):
    """Draws digits, and learns to tell them from real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.Tanh())
        self.discriminator = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def realness(self, images: Tensor, *, real: bool) -> Tensor:
        logits: Tensor = self.discriminator(images)
        return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    def fake(self, count: int) -> Tensor:
        images: Tensor = self.generator(torch.randn(count, 8))
        return images

    def training_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        generator, discriminator = self.optimizers()
        with generator.toggled():
            generator_loss = self.realness(self.fake(len(batch)), real=True)
            generator.zero_grad()
            self.manual_backward(generator_loss)
            if discriminator.steps == 0:
                assert all(parameter.grad is None for parameter in self.discriminator.parameters())
            generator.step()
        with self.toggled(discriminator):
            fake = self.fake(len(batch))
            assert not fake.requires_grad
            discriminator_loss = self.realness(batch, real=True) + self.realness(fake, real=False)
            discriminator.zero_grad()
            self.manual_backward(discriminator_loss)
            self.clip_gradients(discriminator, 0.5)
            discriminator.step()
        for scheduler in self.lr_schedulers():
            scheduler.step()  # type: ignore[call-arg]
        return {"generator_loss": generator_loss.detach(), "discriminator_loss": discriminator_loss.detach()}

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Scheduler]]:
        generator = Adam(self.generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
        discriminator = Adam(self.discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
        return [generator, discriminator], [StepLR(discriminator, 10, 0.5)]


def train_by_hand(gan: GAN, data: list[Tensor], epochs: int) -> list[float]:
    (generator, discriminator), (scheduler,) = gan.configure_optimizers()
    losses = [0.0, 0.0]
    for _ in range(epochs):
        for batch in data:
            loss = gan.realness(gan.fake(len(batch)), real=True)
            generator.zero_grad()
            loss.backward()
            generator.step()
            losses[0] = loss.item()
            loss = gan.realness(batch, real=True) + gan.realness(gan.fake(len(batch)).detach(), real=False)
            discriminator.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(gan.discriminator.parameters(), 0.5)
            discriminator.step()
            losses[1] = loss.item()
            scheduler.step()  # type: ignore[call-arg]
    return losses


class Unfused(ManualOptimization):
    def on_run_end(self) -> Any:
        return super().on_run_end()


@pytest.mark.parametrize("fused", [True, False])
def test_a_gan_on_digits_has_the_same_bits_as_by_hand(fused: bool) -> None:
    ours, theirs = pair(GAN)
    trainer = Trainer(max_epochs=3)
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(manual_loop=Unfused())
    result = trainer.fit(ours, digits())
    torch.manual_seed(1)
    losses = train_by_hand(theirs, digits(), epochs=3)
    assert same_bits(ours, theirs)
    assert [result.metrics["generator_loss"], result.metrics["discriminator_loss"]] == losses
    assert (result.batches, result.optimizer_steps, result.steps_by_optimizer) == (24, 48, (24, 24))
    assert losses[1] < 2 * 0.68, "it tells real digits from drawn ones better than by guessing"


class Manual(Classifier, ManualModule):
    """One optimizer, used as the test says."""

    def __init__(self, use: Callable[[Manual, Batch], object] | None = None) -> None:
        super().__init__()
        self.use = use

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        if self.use is not None:
            return self.use(self, batch)
        optimizer = self.optimizer()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()
        return None


def test_the_hooks_around_the_helpers() -> None:
    events: list[str] = []

    class Recorder(Callback[Classifier, Batch]):
        def on_before_zero_grad(self, trainer: TrainerView, module: Classifier, optimizer: Optimizer) -> None:
            assert isinstance(optimizer, SGD)
            events.append("before zero_grad")

        def on_before_backward(self, trainer: TrainerView, module: Classifier, loss: Tensor) -> None:
            assert loss.requires_grad
            events.append("before backward")

        def on_after_backward(self, trainer: TrainerView, module: Classifier) -> None:
            assert all(parameter.grad is not None for parameter in module.parameters())
            events.append("after backward")

    class Told(Manual):
        def on_before_optimizer_step(self, optimizer: Optimizer, optimizer_idx: int) -> None:
            assert optimizer is self.optimizers()[optimizer_idx].optimizer
            events.append(f"before step {self.optimizer().steps}")

    Trainer(max_epochs=1, callbacks=[Recorder()]).fit(Told(), batches(2))
    expected = ["before zero_grad", "before backward", "after backward"]
    assert events == [*expected, "before step 0", *expected, "before step 1"]


def test_an_optimizer_with_a_closure() -> None:
    told: list[None] = []

    class Searching(Manual):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            losses: list[Tensor] = []

            def closure() -> Tensor:
                self.optimizer().zero_grad()
                losses.append(self.loss(batch))
                self.manual_backward(losses[-1])
                return losses[-1]

            self.optimizer().step(closure)
            assert len(told) >= len(losses) > 1
            return losses[0].detach()

        def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
            told.append(None)

        def configure_optimizers(self) -> Optimizer:
            return LBFGS(self.parameters(), lr=0.1, max_iter=3)

    ours, theirs = pair(Searching)
    result = Trainer(max_epochs=2).fit(ours, batches(2))
    torch.manual_seed(1)
    optimizer = theirs.configure_optimizers()
    for batch in batches(2) * 2:

        def closure(batch: Batch = batch) -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = theirs.loss(batch)
            loss.backward()
            return loss

        optimizer.step(closure)
    assert same_bits(ours, theirs)
    assert result.steps_by_optimizer == (4,)


def test_clipping_tells_the_norm() -> None:
    norms: list[Tensor] = []

    class Watching(Callback[Classifier, Batch]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
        ) -> None:
            assert trainer.gradient_norm is not None
            norms.append(trainer.gradient_norm)

    def use(model: Manual, batch: Batch) -> None:
        (optimizer,) = model.optimizers()
        optimizer.zero_grad()
        model.manual_backward(model.loss(batch))
        assert model.clip_gradients(optimizer.optimizer, 0.001, "value") is None
        assert model.clip_gradients(optimizer, 1e-4) is not None
        assert nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]) <= 1.001e-4
        optimizer.step()

    Trainer(max_epochs=1, callbacks=[Watching()]).fit(Manual(use), batches(1))
    assert 1e-4 < norms[0] < 0.1


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_losses_are_scaled_in_16_bits(scale: float) -> None:
    """An overflow in the second batch leaves the step out, as torch's scaler does."""

    def use(model: Manual, batch: Batch) -> None:
        (optimizer,) = model.optimizers()
        optimizer.zero_grad()
        model.manual_backward(model.loss(batch) * (scale if optimizer.steps == 1 else 1))
        model.clip_gradients(optimizer, 0.1)
        optimizer.step()

    ours, theirs = pair(lambda: Manual(use))
    result = Trainer(max_epochs=1, precision="16-mixed").fit(ours, batches(3))
    torch.manual_seed(1)
    optimizer, scaler, steps = theirs.configure_optimizers(), torch.amp.GradScaler("cpu"), 0
    for batch in batches(3):
        with torch.autocast("cpu", torch.float16):
            loss = theirs.loss(batch) * (scale if steps == 1 else 1)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        finite = all(torch.isfinite(p.grad).all() for p in theirs.parameters())
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        steps += finite
    assert same_bits(ours, theirs)
    assert (result.optimizer_steps, result.skipped_steps) == ((3, 0) if scale == 1 else (1, 2))


def test_a_graph_that_is_used_twice() -> None:
    def use(model: Manual, batch: Batch) -> None:
        loss = model.loss(batch)
        model.manual_backward(loss, retain_graph=True)
        model.manual_backward(loss)
        model.optimizer().step()

    assert Trainer(max_epochs=1).fit(Manual(use), batches(1)).optimizer_steps == 1


HELPERS: dict[str, Callable[[Manual], object]] = {
    "optimizers": lambda model: model.optimizers(),
    "optimizer": lambda model: model.optimizer(0),
    "lr_schedulers": lambda model: model.lr_schedulers(),
    "manual_backward": lambda model: model.manual_backward(torch.ones((), requires_grad=True)),
    "toggled": lambda model: model.toggled(SGD(model.parameters(), lr=0.1)),
    "clip_gradients": lambda model: model.clip_gradients(SGD(model.parameters(), lr=0.1), 1.0),
}


@pytest.mark.parametrize("when", ["before", "after", "after an error", "validating"])
@pytest.mark.parametrize("helper", HELPERS)
def test_outside_of_a_fit_the_helpers_say_so(helper: str, when: str) -> None:
    def fail(model: Manual, batch: Batch) -> None:
        raise ZeroDivisionError

    model = Manual(fail if when == "after an error" else None)
    before = set(vars(model))
    if when == "after":
        Trainer(max_epochs=1).fit(model, batches(1))
    if when == "after an error":
        with pytest.raises(ZeroDivisionError):
            Trainer(max_epochs=1).fit(model, batches(1))
    if when == "validating":
        Trainer().validate(model, batches(1))
    with pytest.raises(MisuseError) as told:
        HELPERS[helper](model)
    assert str(told.value) == (
        f"Manual.{helper}: no fit of this module is under way. Call it from training_step or a hook of a fit, on the "
        "module that is fitted and not on a copy."
    )
    assert set(vars(model)) == before


class Copying(Classifier, ManualModule):
    """Copies itself in the middle of a fit."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        copies: list[Copying] = [copy.deepcopy(self), pickle.loads(pickle.dumps(self))]
        for copied in copies:
            with pytest.raises(MisuseError, match=r"^Copying\.optimizers: no fit of this module is under way"):
                copied.optimizers()
        kept.append(copy.copy(self))
        self.optimizer().step()


kept: list[Copying] = []


def test_a_copy_of_the_module_has_no_part_in_the_fit() -> None:
    assert Trainer(max_epochs=1).fit(Copying(), batches(1)).optimizer_steps == 1
    with pytest.raises(MisuseError, match=r"^Copying\.optimizers: no fit of this module is under way"):
        kept.pop().optimizers()


def test_a_fit_inside_of_a_fit_of_the_same_module() -> None:
    steps: list[int] = []

    class Inside(Callback):
        def on_train_epoch_end(self, trainer: TrainerView, module: Any) -> None:
            before = module.optimizer().steps
            inner = FitLoop(max_epochs=1).run(module, batches(2))
            steps.extend((before, inner.optimizer_steps, module.optimizer().steps))

    Trainer(max_epochs=1, callbacks=[Inside()]).fit(Manual(), batches(3))
    assert steps == [3, 2, 3]


def test_a_compiled_module_has_the_helpers() -> None:
    compiled = torch.compile(Manual(), backend="eager")
    assert Trainer(max_epochs=1).fit(compiled, batches(2)).steps_by_optimizer == (2,)


def test_the_helpers_in_automatic_optimization() -> None:
    seen: list[int] = []

    class Automatic(Classifier, ManualModule):
        automatic_optimization = True

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            assert isinstance(self.optimizer(), ManualOptimizer)
            seen.append(self.optimizer().steps)
            with pytest.raises(MisuseError) as told:
                self.manual_backward(self.loss(batch))
            assert str(told.value).startswith(
                "Automatic.manual_backward: the module has `automatic_optimization = True`"
            )
            return self.loss(batch)

    Trainer(max_epochs=1).fit(Automatic(), batches(3))
    assert seen == [0, 1, 2]


def configured(answer: Callable[[Optimizer, Optimizer], object]) -> Manual:
    class Configured(Manual):
        def configure_optimizers(self) -> Any:
            return answer(SGD(self.net[0].parameters(), lr=0.1), SGD(self.net[3].parameters(), lr=0.1))

    return Configured()


def with_loop(loop: OptimizerLoop) -> Any:
    trainer = Trainer(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop)
    return trainer


FOR_AUTOMATIC = "it is for automatic optimization, and the module has `automatic_optimization = False`. Do it in train"
REFUSED: dict[str, tuple[Callable[[], object], type[MisuseError], str]] = {
    "an index too high": (
        lambda: Trainer(max_epochs=1).fit(Manual(lambda model, batch: model.optimizer(1)), batches(1)),
        MisuseError,
        "Manual.optimizer(1): configure_optimizers returned 1 optimizers. Give the index of one of them, from 0.",
    ),
    "a negative index": (
        lambda: Trainer(max_epochs=1).fit(Manual(lambda model, batch: model.optimizer(-1)), batches(1)),
        MisuseError,
        "Manual.optimizer(-1): configure_optimizers returned 1 optimizers.",
    ),
    "a loss without a graph": (
        lambda: Trainer(max_epochs=1).fit(
            Manual(lambda model, batch: model.manual_backward(model.loss(batch).detach())), batches(1)
        ),
        StepOutputError,
        "Manual.manual_backward: its loss does not depend on any parameter that requires a gradient.",
    ),
    "several losses": (
        lambda: Trainer(max_epochs=1).fit(
            Manual(lambda model, batch: model.manual_backward(model.net(batch[0]))), batches(1)
        ),
        StepOutputError,
        "Manual.manual_backward: its loss has shape (6, 3). Reduce it: loss.mean().",
    ),
    "a number": (
        lambda: Trainer(max_epochs=1).fit(Manual(lambda model, batch: model.manual_backward(0.5)), batches(1)),  # type: ignore[arg-type]
        StepOutputError,
        "Manual.manual_backward: it was given a float. Give it a scalar loss.",
    ),
    "clipping to nothing": (
        lambda: Trainer(max_epochs=1).fit(
            Manual(lambda model, batch: model.clip_gradients(model.optimizer(), 0)), batches(1)
        ),
        ConfigurationError,
        "gradient_clip_val: 0 is no largest size.",
    ),
    "a closure and scaled losses": (
        lambda: Trainer(max_epochs=1, precision="16-mixed").fit(
            Manual(lambda model, batch: model.optimizer().step(lambda: model.loss(batch))), batches(1)
        ),
        OptimizerError,
        "SGD.step: '16-mixed' scales the loss, and a closure may be called several times for each step.",
    ),
    "frequencies": (
        lambda: Trainer(max_epochs=1).fit(
            configured(lambda a, b: [{"optimizer": a, "frequency": 1}, {"optimizer": b, "frequency": 2}]), batches(1)
        ),
        OptimizerError,
        "Configured.configure_optimizers: its optimizers have frequencies, which are for automatic optimization, and",
    ),
    "a trainer that accumulates": (
        lambda: Trainer(max_epochs=1, accumulate_grad_batches=2).fit(Manual(), batches(1)),
        ConfigurationError,
        f"accumulate_grad_batches: {FOR_AUTOMATIC}",
    ),
    "a loop that accumulates": (
        lambda: with_loop(OptimizerLoop(accumulate_grad_batches=2)).fit(Manual(), batches(1)),
        ConfigurationError,
        f"OptimizerLoop.accumulate_grad_batches: {FOR_AUTOMATIC}",
    ),
    "a loop that clips": (
        lambda: with_loop(OptimizerLoop(gradient_clip_val=1.0)).fit(Manual(), batches(1)),
        ConfigurationError,
        f"OptimizerLoop.gradient_clip_val: {FOR_AUTOMATIC}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done(case: str) -> None:
    run, kind, told = REFUSED[case]
    with pytest.raises(kind) as caught:
        run()
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "name", ["optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping", "lr_scheduler_step"]
)
def test_a_hook_that_nothing_calls_is_told(name: str) -> None:
    model = type("Own", (Manual,), {name: lambda self, *args: pytest.fail("it was called")})()
    with pytest.warns(UserWarning, match=r"it is for automatic optimization, .*: nothing calls it\. Do it in"):
        Trainer(max_epochs=1).fit(model, batches(1))


def test_the_timing_of_schedulers_is_the_modules_business() -> None:
    model = configured(lambda a, b: ([a, b], [{"scheduler": StepLR(a, 1), "interval": "step", "frequency": 2}]))
    with pytest.warns(UserWarning, match=r"nothing looks at \['frequency', 'interval'\] of a scheduler, since"):
        Trainer(max_epochs=1).fit(model, batches(1))
    schedulers: list[Scheduler] = []
    model = configured(lambda a, b: ([a, b], [ReduceLROnPlateau(a), StepLR(b, 1)]))
    model.use = lambda model, batch: schedulers.extend(model.lr_schedulers())
    Trainer(max_epochs=1).fit(model, batches(1))
    assert [type(scheduler) for scheduler in schedulers] == [ReduceLROnPlateau, StepLR]
    assert [scheduler.last_epoch for scheduler in schedulers] == [0, 0], "nobody but the module steps them"
