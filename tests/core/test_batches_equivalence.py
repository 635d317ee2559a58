"""Whatever batches are driven through whatever steps, both cores leave the same trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAlias, TypeVar

from tests.core.cores import Core
from typedloops._core.calls import AnyCallable
from typedloops._core.status import BatchStatus

T = TypeVar("T")

STAGES = ("transform", "before0", "before1", "gate", "step", "consume", "after_step", "after0", "after1")
OPTIMIZATION = ("loss_of", "zero_grad", "set_grad", "backward", "explain", "optimizer_step")
OPTIMIZER_HOOKS = ("before_zero_grad", "before_backward", "after_backward", "before_optimizer_step")
ERRORS: dict[str, type[Exception]] = {"stop": StopIteration, "value": ValueError, "runtime": RuntimeError}
ANSWERS = (-1, None, 0, True, -1.0, "-1")

Fault: TypeAlias = "tuple[str, int, str]"
"""A place, which of its calls, and what it raises then."""


@dataclass(frozen=True)
class Epoch:
    """An epoch to drive.

    Args:
        items: What the loader gives; `None` is a batch that is None.
        length: What the loader says its length is.
        limit: How many batches at most.
        ready: How many batches were ready before.
        absent: The stages that there are not.
        faults: What goes wrong.
        stops: A place and which of its calls requests the stop.
        reloads: A place and at which of its calls other counters are loaded.
        answers: What the gate answers, call by call.
        outputs: What the step returns, call by call, and then again.
        max_steps: How many steps to take at most; every step takes `stride` of them.
        collects: Whether outputs are collected.
        optimizes: Whether the step is an `OptimizerStep`.
    """

    items: tuple[int | None, ...]
    length: int | None
    limit: int | None
    ready: int
    absent: frozenset[str]
    faults: tuple[Fault, ...]
    stops: tuple[str, int] | None
    reloads: tuple[str, int] | None
    answers: tuple[object, ...]
    outputs: tuple[int | None, ...]
    max_steps: int | None
    stride: int
    collects: bool
    optimizes: bool


PLAIN = Epoch(
    items=(10, 11, 12),
    length=None,
    limit=None,
    ready=0,
    absent=frozenset(),
    faults=(),
    stops=None,
    reloads=None,
    answers=(None,),
    outputs=(1,),
    max_steps=None,
    stride=0,
    collects=True,
    optimizes=False,
)
IS_LOSS = 1
PLACES = ("fetch", *STAGES, *OPTIMIZATION, *OPTIMIZER_HOOKS)


def mostly(usual: st.SearchStrategy[T], *unusual: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Three times out of four the usual."""
    return st.integers(0, 3).flatmap(lambda die: st.one_of(*unusual) if die == 3 else usual)


def epochs() -> st.SearchStrategy[Epoch]:
    absent = (*(stage for stage in STAGES if stage != "step"), *OPTIMIZER_HOOKS, "zero_grad", "loss_of")
    batches: st.SearchStrategy[list[int | None]] = st.lists(st.integers(0, 99), min_size=1, max_size=5)
    fault = st.tuples(st.sampled_from(PLACES), st.integers(0, 2), st.sampled_from(sorted(ERRORS)))
    return st.builds(
        Epoch,
        items=mostly(batches, st.lists(st.none() | st.integers(0, 99), max_size=4)).map(tuple),
        length=st.none() | st.integers(0, 7),
        limit=mostly(st.none(), st.integers(0, 7)),
        ready=mostly(st.just(0), st.integers(1, 3)),
        absent=st.frozensets(st.sampled_from(absent)),
        faults=st.just(()) | st.lists(fault, min_size=1, max_size=3).map(tuple),
        stops=mostly(st.none(), st.tuples(st.sampled_from(PLACES), st.integers(0, 3))),
        reloads=mostly(st.none(), st.tuples(st.sampled_from(PLACES), st.integers(0, 3))),
        answers=mostly(st.just((None,)), st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3).map(tuple)),
        outputs=mostly(st.just((1,)), st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=3).map(tuple)),
        max_steps=mostly(st.none(), st.integers(0, 6)),
        stride=st.integers(0, 2),
        collects=st.booleans(),
        optimizes=st.booleans(),
    )


class NoLoss:
    """Never the type of an output: the loss has to be found."""

    def backward(self) -> None:
        raise AssertionError


class Bench:
    """Everything around a driver of one core; writes down what is called, with what has been counted by then."""

    def __init__(self, core: Core, epoch: Epoch) -> None:
        ready = core.Processed(epoch.ready, epoch.ready // 2)
        self.epoch = epoch
        self.trace: list[str] = []
        self.calls: dict[str, int] = {}
        self.progress = core.BatchProgress(current=ready)
        self.stop_flag = core.StopFlag()
        self.steps = core.ReadyCompleted()
        self.zero_grads = core.Progress(core.Started())
        self.optimizer_steps = core.Progress(core.ReadyCompleted())
        self.reloaded = core.BatchProgress(core.Processed(70, 60, 50, 40), core.Processed(7, 6, 5, 4)).state_dict()
        self.reloaded_steps = core.Progress(core.ReadyCompleted(80, 80)).state_dict()
        self.outputs: list[object] | None = [] if epoch.collects else None
        self.optimizer_step = self.optimized(core)
        self.driver = core.BatchDriver(
            self.loader(),
            self.optimizer_step if epoch.optimizes else self.step,
            self.progress,
            self.stop_flag,
            source="the loader",
            length=epoch.length,
            limit=epoch.limit,
            transform=None if "transform" in epoch.absent else self.transform,
            before=self.all_of("before0", "before1"),
            gate=self.at("gate"),
            outputs=self.outputs,
            consume=self.at("consume"),
            after_step=self.at("after_step"),
            after=self.all_of("after0", "after1"),
            steps=self.steps,
            max_steps=epoch.max_steps,
            on_exhausted=lambda stop: self.visit("on_exhausted", stop),
        )

    def optimized(self, core: Core) -> AnyCallable:
        return core.OptimizerStep(
            self.step,
            self,
            self.zero_grads,
            self.optimizer_steps,
            zero_grad=self.at("zero_grad"),
            loss_type=Bench if "loss_of" in self.epoch.absent else NoLoss,
            loss_of=self.loss_of,
            explain=lambda loss, error: self.visit("explain", str(error)),
            before_zero_grad=self.at("before_zero_grad"),
            before_backward=self.at("before_backward"),
            after_backward=self.at("after_backward"),
            before_optimizer_step=self.at("before_optimizer_step"),
        )

    def visit(self, place: str, *args: object) -> None:
        call = self.calls[place] = self.calls.get(place, -1) + 1
        told = ", ".join(map(repr, args))
        self.trace.append(f"{place}({told}) {self.counted()}")
        if (place, call) == self.epoch.stops:
            self.stop_flag.requested = True
        if (place, call) == self.epoch.reloads:
            self.progress.load_state_dict(self.reloaded)
            self.optimizer_steps.load_state_dict(self.reloaded_steps)
        for where, when, error in self.epoch.faults:
            if (where, when) == (place, call):
                raise ERRORS[error](place)

    def counted(self) -> str:
        trackers = (self.progress.total, self.progress.current, self.zero_grads.total, self.optimizer_steps.total)
        counts = [tuple(tracker.state_dict().values()) for tracker in trackers]
        return f"{counts} {self.progress.is_last_batch}"

    def loader(self) -> Iterator[int]:
        return Loader(self)

    def at(self, place: str) -> AnyCallable | None:
        if place in self.epoch.absent:
            return None

        def stage(*args: object) -> object:
            self.visit(place, *args)
            return self.answer() if place == "gate" else None

        stage.__qualname__ = place
        return stage

    def transform(self, batch: int) -> int:
        self.visit("transform", batch)
        return batch + 100

    def all_of(self, *places: str) -> list[AnyCallable]:
        return [stage for place in places if (stage := self.at(place)) is not None]

    def answer(self) -> object:
        answers = self.epoch.answers
        return answers[self.calls["gate"] % len(answers)]

    def step(self, batch: object = None, batch_idx: int = 0) -> int | Bench | None:
        if batch is None:
            # The optimizer's step, which has no inputs.
            self.visit("optimizer_step")
            return None
        self.visit("step", batch, batch_idx)
        self.steps.completed += self.epoch.stride
        output = self.epoch.outputs[batch_idx % len(self.epoch.outputs)]
        return self if output == IS_LOSS and "loss_of" in self.epoch.absent else output

    def __repr__(self) -> str:
        return "bench"

    def loss_of(self, output: object) -> Bench:
        self.visit("loss_of", output)
        return self

    @property
    def param_groups(self) -> list[dict[str, object]]:
        return [{"params": [self]}, {"params": []}]

    @property
    def grad(self) -> object | None:
        return None

    @grad.setter
    def grad(self, grad: object | None) -> None:
        self.visit("set_grad", grad)

    def backward(self) -> None:
        self.visit("backward")

    def run(self, count: int) -> BatchStatus | None:
        """Run, and write down what comes of it."""
        status = None
        try:
            status = self.driver.run(count)
            self.trace.append(f"run: {status!r}")
        except Exception as error:
            self.trace.append(f"run: {type(error).__name__}: {error}; because of {error.__cause__!r}")
        self.trace.append(f"{self.driver.status!r} {self.driver.last_output} {self.outputs} {self.counted()}")
        return status


class Loader:
    """Gives the items of an epoch."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.given = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.bench.visit("fetch")
        if self.given == len(self.bench.epoch.items):
            raise StopIteration
        self.given += 1
        return self.bench.epoch.items[self.given - 1]  # type: ignore[return-value]  # None is to be refused


def traced(core: Core, epoch: Epoch, counts: list[int]) -> list[str]:
    bench = Bench(core, epoch)
    for count in counts:
        bench.run(count)
    return bench.trace


def steps_traced(core: Core, epoch: Epoch) -> list[str]:
    """What steps that are called without a driver do."""
    bench = Bench(core, epoch)
    for batch_idx in range(4):
        try:
            bench.trace.append(f"step: {bench.optimizer_step(50, batch_idx)}")
        except Exception as error:
            bench.trace.append(f"step: {type(error).__name__}: {error}; because of {error.__cause__!r}")
    return bench.trace


COUNTS = st.lists(st.sampled_from([-1, 0, 1, 1, 2, 3]), min_size=1, max_size=5)


@settings(deadline=None, max_examples=800)
@given(epoch=epochs(), counts=COUNTS)
def test_both_cores_leave_the_same_trace(cores: tuple[Core, Core], epoch: Epoch, counts: list[int]) -> None:
    compiled, reference = cores
    assert traced(compiled, epoch, counts) == traced(reference, epoch, counts)


def one_fault_each() -> Iterator[Epoch]:
    for error in ERRORS:
        for place in ("fetch", *STAGES):
            yield replace(PLAIN, faults=((place, 1, error),))
        for place in (*OPTIMIZATION, *OPTIMIZER_HOOKS):
            cause: tuple[Fault, ...] = (("backward", 1, "runtime"),) if place == "explain" else ()
            absent = frozenset({"zero_grad"} if place == "set_grad" else ())
            yield replace(PLAIN, absent=absent, faults=(*cause, (place, 0 if cause else 1, error)), optimizes=True)
    yield replace(PLAIN, faults=(("on_exhausted", 0, "value"),))


@pytest.mark.parametrize("epoch", [*one_fault_each()], ids=lambda epoch: "-".join(map(str, epoch.faults[-1])))
@pytest.mark.parametrize("length", [None, 2, 3])
def test_an_error_at_every_place_leaves_the_same_trace(
    cores: tuple[Core, Core], epoch: Epoch, length: int | None
) -> None:
    compiled, reference = cores
    epoch = replace(epoch, length=length)
    trace = traced(compiled, epoch, [-1, -1])
    assert trace == traced(reference, epoch, [-1, -1])
    assert any(event.startswith(f"{epoch.faults[-1][0]}(") for event in trace)


@settings(deadline=None, max_examples=200)
@given(epoch=epochs())
def test_steps_without_a_driver_leave_the_same_trace(cores: tuple[Core, Core], epoch: Epoch) -> None:
    compiled, reference = cores
    assert steps_traced(compiled, epoch) == steps_traced(reference, epoch)


@settings(deadline=None, max_examples=200)
@given(epoch=epochs(), count=st.integers(1, 2))
def test_batch_by_batch_is_the_same_as_all_at_once(core: Core, epoch: Epoch, count: int) -> None:
    at_once, by_and_by = Bench(core, epoch), Bench(core, epoch)
    at_once.run(-1)
    while by_and_by.run(count) is BatchStatus.RUNNING:
        # What is between two batches is not seen when all are driven at once.
        del by_and_by.trace[-2:]
    assert by_and_by.trace == at_once.trace


@settings(deadline=None, max_examples=200)
@given(epoch=epochs())
def test_the_counters_never_overtake_each_other(core: Core, epoch: Epoch) -> None:
    bench = Bench(core, replace(epoch, reloads=None))
    bench.run(-1)
    total = bench.progress.total
    assert total.ready >= total.started >= total.processed >= total.completed
    assert total.ready <= total.completed + 1
    assert epoch.limit is None or total.ready <= max(0, epoch.limit - epoch.ready)


@settings(deadline=None, max_examples=200)
@given(epoch=epochs())
def test_a_loader_is_asked_no_more_than_it_needs(core: Core, epoch: Epoch) -> None:
    """At most once for each batch, and once more to see the end or to look ahead."""
    bench = Bench(core, replace(epoch, faults=(), reloads=None))
    bench.run(-1)
    fetched = sum(event.startswith("fetch") for event in bench.trace)
    assert fetched <= bench.progress.total.ready + 1
