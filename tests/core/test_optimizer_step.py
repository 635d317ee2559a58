"""`OptimizerStep`: the order of automatic optimization, its counters and its errors."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from tests.core.cores import Core
from typedloops._core.calls import AnyCallable
from typedloops._core.status import BatchStatus
from typedloops.errors import EscapedStopIteration

if TYPE_CHECKING:
    from typedloops._core.compiled.batches import OptimizerStep
    from typedloops._core.compiled.progress import Progress, ReadyCompleted, Started

HOOKS = ("before_zero_grad", "before_backward", "after_backward", "before_optimizer_step")


class Parameter:
    def __init__(self) -> None:
        self.grad: object | None = 1.0


class Bench:
    """Everything around a step: the module, the loss and the optimizer.

    It writes down what is called and what has been counted by then, and raises `faults`.
    """

    def __init__(self, core: Core, faults: Mapping[str, Exception] | None = None) -> None:
        self.core = core
        self.faults = faults or {}
        self.seen: list[str] = []
        self.heard: dict[str, tuple[object, ...]] = {}
        self.output: Bench | None = self
        self.loss_type: type[Bench] = OtherLoss
        self.sets_grads_to_none = False
        self.parameters = [Parameter(), Parameter(), Parameter()]
        self.param_groups: list[dict[str, object]] = [
            {"params": self.parameters[:1], "lr": 0.1},
            {"params": self.parameters[1:]},
        ]
        self.zero_grads: Progress[Started] = core.Progress(core.Started())
        self.steps: Progress[ReadyCompleted] = core.Progress(core.ReadyCompleted())

    def note(self, name: str) -> None:
        counted = (*self.zero_grads.current.state_dict().values(), *self.steps.current.state_dict().values())
        self.seen.append(f"{name} {counted}")
        if name in self.faults:
            raise self.faults[name]

    def training_step(self, batch: str, batch_idx: int) -> Bench | None:
        self.heard["training_step"] = (batch, batch_idx)
        self.note("training_step")
        return self.output

    def loss_of(self, output: Bench | None) -> Bench:
        assert output is self
        self.note("loss_of")
        return self

    def zero_grad(self) -> None:
        self.note("zero_grad")

    def backward(self) -> None:
        self.note("backward")

    def explain(self, loss: Bench, error: RuntimeError) -> None:
        assert loss is self
        self.note("explain")

    def step(self) -> None:
        self.note("step")

    def hook(self, name: str) -> AnyCallable:
        def listener(*args: object) -> None:
            self.heard[name] = args
            self.note(name)

        listener.__qualname__ = f"Bench.hook.<locals>.{name}"
        return listener

    def make(self, hooks: Mapping[str, AnyCallable | None] | None = None) -> OptimizerStep[str, Bench | None]:
        hooks = {name: self.hook(name) for name in HOOKS} if hooks is None else hooks
        return self.core.OptimizerStep(
            self.training_step,
            self,
            self.zero_grads,
            self.steps,
            zero_grad=None if self.sets_grads_to_none else self.zero_grad,
            loss_type=self.loss_type,
            loss_of=self.loss_of,
            explain=self.explain,
            before_zero_grad=hooks.get("before_zero_grad"),
            before_backward=hooks.get("before_backward"),
            after_backward=hooks.get("after_backward"),
            before_optimizer_step=hooks.get("before_optimizer_step"),
        )

    @property
    def called(self) -> list[str]:
        return [name.partition(" ")[0] for name in self.seen]


class Loss:
    def backward(self) -> None:
        pass


class OtherLoss(Bench):
    """Not the type of the output: the loss has to be found."""


def test_the_step_calls_everything_in_order_and_counts_on_the_way(core: Core) -> None:
    bench = Bench(core)
    assert bench.make()("batch", 7) is bench
    assert bench.seen == [
        # The zero_grads ready, started and completed, and the steps ready and completed, by then.
        "training_step (0, 0, 0, 0, 0)",
        "loss_of (0, 0, 0, 0, 0)",
        "before_zero_grad (1, 0, 0, 0, 0)",
        "zero_grad (1, 1, 0, 0, 0)",
        "before_backward (1, 1, 1, 0, 0)",
        "backward (1, 1, 1, 0, 0)",
        "after_backward (1, 1, 1, 0, 0)",
        "before_optimizer_step (1, 1, 1, 0, 0)",
        "step (1, 1, 1, 1, 0)",
    ]
    assert bench.steps.total == bench.steps.current == core.ReadyCompleted(1, 1)
    assert bench.zero_grads.total == bench.zero_grads.current == core.Started(1, 1, 1)


def test_everybody_is_given_what_it_is_about(core: Core) -> None:
    bench = Bench(core)
    bench.make()("batch", 7)
    assert bench.heard == {
        "training_step": ("batch", 7),
        "before_zero_grad": (bench,),
        "before_backward": (bench,),
        "after_backward": (),
        "before_optimizer_step": (bench,),
    }


@pytest.mark.parametrize("kind", ["none", "no listeners"])
def test_an_event_without_listeners_is_left_out(core: Core, kind: str) -> None:
    bench = Bench(core)
    bench.make({name: core.Hook(name, []) for name in HOOKS} if kind == "no listeners" else {})("batch", 0)
    assert bench.called == ["training_step", "loss_of", "zero_grad", "backward", "step"]


def test_an_output_of_none_skips_the_optimization(core: Core) -> None:
    bench = Bench(core)
    bench.output = None
    assert bench.make()("batch", 0) is None
    assert bench.called == ["training_step"]
    assert bench.zero_grads == core.Progress(core.Started())


def test_the_counters_add_up_over_the_steps(core: Core) -> None:
    bench = Bench(core)
    step = bench.make()
    for batch_idx in range(3):
        step("batch", batch_idx)
    assert bench.steps.total == core.ReadyCompleted(3, 3)
    assert bench.zero_grads.total == core.Started(3, 3, 3)


def test_the_step_says_what_it_wraps(core: Core) -> None:
    bench = Bench(core)
    assert bench.make().__wrapped__ == bench.training_step


@pytest.mark.parametrize("place", ["training_step", "loss_of", *HOOKS, "zero_grad", "backward", "step"])
def test_an_error_comes_through_and_nothing_more_is_done(core: Core, place: str) -> None:
    error = KeyError(place)
    bench = Bench(core, {place: error})
    with pytest.raises(KeyError) as raised:
        bench.make()("batch", 0)
    assert raised.value is error
    assert bench.called[-1] == place


def test_a_loss_that_cannot_be_differentiated_may_be_explained(core: Core) -> None:
    error, better = RuntimeError("no grad"), ValueError("detached")
    bench = Bench(core, {"backward": error, "explain": better})
    with pytest.raises(ValueError, match="detached"):
        bench.make()("batch", 0)


def test_without_an_explanation_the_error_of_the_loss_stands(core: Core) -> None:
    error = RuntimeError("no grad")
    bench = Bench(core, {"backward": error})
    with pytest.raises(RuntimeError) as raised:
        bench.make()("batch", 0)
    assert raised.value is error
    assert bench.called[-2:] == ["backward", "explain"]
    assert bench.steps.total == core.ReadyCompleted()


def test_only_the_loss_is_explained(core: Core) -> None:
    bench = Bench(core, {"step": RuntimeError("out of memory")})
    with pytest.raises(RuntimeError, match="out of memory"):
        bench.make()("batch", 0)
    assert "explain" not in bench.called


METHODS = ("training_step", "loss_of", "zero_grad", "backward", "step")


@pytest.mark.parametrize("place", [*METHODS, *HOOKS])
def test_a_stop_iteration_out_of_a_step_names_where_it_escaped(core: Core, place: str) -> None:
    name = rf"Bench\.{place}" if place in METHODS else f"Bench.hook.<locals>.{place}"
    with pytest.raises(EscapedStopIteration, match=f"^{name}: StopIteration escaped from it"):
        Bench(core, {place: StopIteration()}).make()("batch", 0)


@pytest.mark.parametrize("place", [*METHODS, *HOOKS])
def test_no_stop_iteration_of_a_step_ends_an_epoch(core: Core, place: str) -> None:
    step = Bench(core, {place: StopIteration()}).make()
    driver = core.BatchDriver(["a", "b"], step, core.BatchProgress(), core.StopFlag(), source="loader")
    with pytest.raises(EscapedStopIteration, match=rf"{place}: StopIteration escaped from it"):
        driver.run()


def test_an_output_of_the_type_of_a_loss_is_the_loss(core: Core) -> None:
    bench = Bench(core)
    bench.loss_type = Bench
    assert bench.make({})("batch", 0) is bench
    assert bench.called == ["training_step", "zero_grad", "backward", "step"]


def test_gradients_are_set_to_none_in_all_groups(core: Core) -> None:
    bench = Bench(core)
    bench.sets_grads_to_none = True
    step = bench.make({})
    late = Parameter()
    bench.param_groups.append({"params": [late]})
    step("batch", 0)
    assert bench.called == ["training_step", "loss_of", "backward", "step"]
    assert [parameter.grad for parameter in (*bench.parameters, late)] == [None] * 4
    assert bench.zero_grads.total == core.Started(1, 1, 1)


def test_the_last_loss_lives_until_there_is_a_new_one(core: Core) -> None:
    bench = Bench(core)
    losses: list[weakref.ref[Loss]] = []
    alive: list[bool] = []

    def training_step(batch: str, batch_idx: int) -> Loss:
        alive.extend(last() is not None for last in losses)
        loss = Loss()
        losses[:] = [weakref.ref(loss)]
        return loss

    step = core.OptimizerStep(
        training_step,
        bench,
        bench.zero_grads,
        bench.steps,
        zero_grad=None,
        loss_type=Loss,
        loss_of=lambda output: output,
        explain=lambda loss, error: None,
    )
    for batch_idx in range(3):
        step("batch", batch_idx)
    assert alive == [True, True]
    del step
    assert losses[0]() is None


def test_a_driver_runs_it_for_every_batch(core: Core) -> None:
    bench, progress = Bench(core), core.BatchProgress()
    driver = core.BatchDriver(["a", "b"], bench.make(), progress, core.StopFlag(), source="loader")
    assert driver.run() is BatchStatus.EXHAUSTED
    assert driver.last_output is bench
    assert bench.heard["training_step"] == ("b", 1)
    assert bench.steps.total == core.ReadyCompleted(2, 2)


def test_counters_loaded_after_the_step_was_made_go_on(core: Core) -> None:
    bench = Bench(core)
    step = bench.make()
    bench.steps.load_state_dict(core.Progress(core.ReadyCompleted(8, 8)).state_dict())
    step("batch", 0)
    assert bench.steps.total == core.ReadyCompleted(9, 9)


def test_steps_cannot_be_counted_where_zero_grads_are_to_be_started(core: Core) -> None:
    bench = Bench(core)
    bench.zero_grads = core.Progress(core.ReadyCompleted())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        bench.make()("batch", 0)


class Scaling:
    """A scaler that leaves out the steps that it is told to."""

    def __init__(self, bench: Bench, *, steps: bool = True) -> None:
        self.bench = bench
        self.steps = steps

    def scale(self, loss: object) -> Scaled:
        self.bench.note("scale")
        return Scaled(self.bench, loss)

    def unscale(self) -> None:
        self.bench.note("unscale")

    def step(self) -> bool:
        self.bench.note("scaler_step")
        return self.steps


class Scaled:
    def __init__(self, bench: Bench, loss: object) -> None:
        self.bench = bench
        self.loss = loss

    def backward(self) -> None:
        assert self.loss is self.bench
        self.bench.note("backward")


def scaled_step(bench: Bench, scaler: Scaling) -> OptimizerStep[str, Bench | None]:
    return bench.core.OptimizerStep(
        bench.training_step,
        bench,
        bench.zero_grads,
        bench.steps,
        zero_grad=bench.zero_grad,
        loss_type=Bench,
        loss_of=bench.loss_of,
        explain=bench.explain,
        scaler=scaler,
        clip=bench.hook("clip"),
        before_zero_grad=bench.hook("before_zero_grad"),
        before_backward=bench.hook("before_backward"),
        after_backward=bench.hook("after_backward"),
        before_optimizer_step=bench.hook("before_optimizer_step"),
    )


@pytest.mark.parametrize("steps", [True, False])
def test_a_scaler_scales_before_backward_and_unscales_before_hook_and_clipping(core: Core, steps: bool) -> None:
    bench = Bench(core)
    step = scaled_step(bench, Scaling(bench, steps=steps))
    assert step("batch", 0) is bench
    assert bench.heard["before_backward"] == (bench,), "the loss itself, not the scaled one"
    assert bench.called == [
        *("training_step", "before_zero_grad", "zero_grad", "before_backward"),
        *("scale", "backward", "after_backward"),
        *("unscale", "before_optimizer_step", "clip", "scaler_step"),
    ]
    assert bench.steps.total == bench.steps.current == core.ReadyCompleted(1, int(steps))


def test_an_output_of_none_is_not_scaled(core: Core) -> None:
    bench = Bench(core)
    bench.output = None
    assert scaled_step(bench, Scaling(bench))("batch", 0) is None
    assert bench.called == ["training_step"]


@pytest.mark.parametrize("place", ["scale", "unscale", "scaler_step"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_stop_iteration_out_of_a_scaler_names_it(core: Core, place: str, fused: bool) -> None:
    bench = Bench(core, {place: StopIteration()})
    step = scaled_step(bench, Scaling(bench))
    driver = core.BatchDriver(["a"], step, core.BatchProgress(), core.StopFlag(), source="loader")
    with pytest.raises(
        EscapedStopIteration, match=rf"^Scaling\.{place.removeprefix('scaler_')}: StopIteration escaped"
    ):
        driver.run() if fused else step("batch", 0)


def test_a_scaled_loss_that_cannot_be_differentiated_is_explained_as_itself(core: Core) -> None:
    better = ValueError("detached")
    bench = Bench(core, {"backward": RuntimeError("no grad"), "explain": better})
    with pytest.raises(ValueError, match="detached"):
        scaled_step(bench, Scaling(bench))("batch", 0)
