"""What the loops of one run share: the module, who listens, the request to stop, the metrics."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Generic

import torch
from typing_extensions import ParamSpec, Protocol, TypeVar, runtime_checkable

from typedloops._core import BatchProgress, BatchTransfer, Hook, StopFlag
from typedloops._core.calls import AnyCallable
from typedloops.errors import ConfigurationError
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.computing.devices import device_for, place
from typedloops.loops.run.computing.precision import NumberType, number_type
from typedloops.loops.run.computing.rng import isolated_rng
from typedloops.loops.run.given import given_callbacks, given_name, without_savers
from typedloops.loops.run.hidden import HiddenStates, check_without
from typedloops.loops.run.listeners import Listeners
from typedloops.loops.run.metrics import MetricStore, MetricValues, Scalar
from typedloops.loops.run.optimization import Optimization
from typedloops.loops.run.saving.place import Place
from typedloops.loops.run.saving.requests import SaveRequest, SaveRequests
from typedloops.loops.run.saving.sources import ResumeFrom
from typedloops.loops.run.settings.config import RunConfig
from typedloops.loops.run.stop_request import StopRequest
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.loops.run.watching.nonfinite import NonFiniteGuard
from typedloops.protocols.checkpoint import CheckpointFormat
from typedloops.protocols.trainer import Reduction, Stage, TrainerView

P = ParamSpec("P")
R = TypeVar("R", default=None)
T = TypeVar("T")


@runtime_checkable
class Host(TrainerView, Protocol):
    """What a run asks of the trainer that hosts it."""

    @property
    def config(self) -> RunConfig: ...
    @property
    def own_callbacks(self) -> Sequence[object]: ...
    @property
    def checkpoint_format(self) -> CheckpointFormat: ...
    def take_resumption(self) -> ResumeFrom | None: ...
    def run_began(self, context: RunContext) -> None: ...
    def run_ended(self, context: RunContext, error: BaseException | None) -> None: ...
    def publish(self, metrics: Mapping[str, float]) -> None: ...


class Saving(Protocol):
    """What saves a run.

    Its `order` is how many checkpoints the run has had, those of earlier processes included.
    """

    order: int

    def ask(self, request: SaveRequest, context: RunContext) -> None:
        """Save at the next boundary of a run."""
        ...

    def serve(self, loop: LoopNode) -> None:
        """Save what was asked for; `loop` is at one of its points."""
        ...

    def after_exception(self, error: BaseException, paths: Iterable[Path]) -> None:
        """Save a run that ends with `error`, where it was asked for and at `paths`."""
        ...

    def save(self, request: SaveRequest, at: LoopNode | None, note: str = "") -> None:
        """Save now; `at` is the innermost loop that is under way, or None; `note` why that is not exact."""
        ...


class NoSaving:
    """Saves nothing: where nobody has opened a run."""

    order: int = 0

    def ask(self, request: SaveRequest, context: RunContext) -> None:
        """Nobody does."""

    def serve(self, loop: LoopNode) -> None:
        """Nothing is asked for."""

    def after_exception(self, error: BaseException, paths: Iterable[Path]) -> None:
        """There is nothing to save."""

    def save(self, request: SaveRequest, at: LoopNode | None, note: str = "") -> None:
        """There is nothing to save."""


class Resuming(Protocol):
    """What a run goes on from."""

    @property
    def exact(self) -> bool: ...
    def begin_within(self, context: RunContext) -> None: ...
    def load_optimization(self, context: RunContext) -> None: ...
    def give_up(self) -> None: ...
    def end(self, context: RunContext) -> None: ...
    def arrived(self, loop: LoopNode, context: RunContext) -> None:
        """Every loop is where it was: random numbers go on from here."""
        ...


class RunContext:
    """One run of one module.

    Args:
        stage: What the run is for.
        module: What is run.
        host: The trainer, or None for a tree that is run without one.
        opened_by: The loop at the top of it.
        around: The run that it is within, or None.
    """

    def __init__(
        self, stage: Stage, module: object, host: Host | None, opened_by: LoopNode, around: RunContext | None = None
    ) -> None:
        self.stage = stage
        self.opened_by = opened_by
        self.outermost: bool = around is None
        self.module = module
        self.host = host
        self.config: RunConfig = RunConfig() if host is None else host.config
        self.number_type: NumberType = number_type(self.config.precision)
        self.device: torch.device = torch.device("cpu")
        self.asked_for_precision: bool = False
        self.guard: NonFiniteGuard | None = None
        self.name: str = given_name(opened_by, around)
        given = given_callbacks(opened_by, around, hosted=host is not None)
        own: Sequence[object] = () if host is None else host.own_callbacks
        self._heard_around: tuple[object, ...] = tuple(own) if around is None else around.shared_callbacks
        self.shared_callbacks: tuple[object, ...] = (*self._heard_around, *without_savers(given, self.config))
        """Those that hear the runs within this one as well."""
        self.listeners: Listeners = Listeners(self.shared_callbacks, unwrapped(module), host)
        self.stop: StopRequest = StopRequest(StopFlag())
        self.optimization: Optimization = Optimization()
        self.epoch = 0
        self.max_epochs: int | None = None
        self.validated_at: float = 0.0
        self.num_batches: int | None = None
        self.batch_progress: BatchProgress | None = None
        self.hidden: HiddenStates | None = None
        self.fitting = False
        self.sanity_checking: bool = False
        self.most_batches: int | None = None
        self.metrics: dict[str, float] = {}
        self.training_metrics: MetricStore = MetricStore(default="last")
        self.logging_to: MetricStore = self.training_metrics
        self.requests: SaveRequests = SaveRequests()
        self.saver: Saving = NoSaving()
        self.resuming: Resuming | None = None

    def takes_in(self, stage: Stage) -> bool:
        """Whether a loop for `stage` may be a part of this run; otherwise it needs one of its own.

        A fit brings its own optimizers, limits and steps: there is one at a time, in a run that is for fitting.
        """
        return stage is not Stage.FIT or (self.stage is Stage.FIT and not self.fitting)

    def in_precision(self, step: Callable[P, R]) -> Callable[P, R]:
        """`step`, a function of the module, computing in the numbers of this run."""
        return self.number_type.applied_to(step, self.device)

    def remembering(self, step: Callable[P, R], position: int = 0) -> Callable[P, R]:
        """`step`, a training step of the module, given the hidden state of the piece before where batches are split.

        Args:
            step: The module's own.
            position: Which of several optimizers it is for.

        Raises:
            ModuleError: It asks for a hidden state and there is none, or the other way round.
        """
        if self.hidden is not None:
            return self.hidden.give(step, position)
        check_without(step)
        return step

    def place_module(self) -> None:
        """Bring the module to its device, and make its numbers those of this run."""
        module, accelerator = unwrapped(self.module), self.config.accelerator
        self.device = device_for(accelerator, module)
        self.number_type.check(self.device)
        place(module, accelerator, self.device)
        self.number_type.convert(module)

    def on_device(self, value: T) -> T:
        """What a checkpoint held, which is on the CPU, where the run computes."""
        move = BatchTransfer(torch.Tensor, None if self.device.type == "cpu" else self.device)
        return move(value)

    def guard_against_nonfinite(self) -> None:
        """Look at what the fit that begins comes to, if that is asked for."""
        self.stop_guarding()
        if self.config.detect_nonfinite is not None:
            self.guard = NonFiniteGuard(self.config.detect_nonfinite, unwrapped(self.module), self.optimization)
            self.guard.install()

    def stop_guarding(self) -> None:
        """Leave module and optimizers as they were."""
        if self.guard is not None:
            self.guard.remove()
            self.guard = None

    @property
    def own_callbacks(self) -> tuple[object, ...]:
        """The callbacks that hear this run and not the one around it; of the outermost run all."""
        return self.listeners.callbacks[0 if self.outermost else len(self._heard_around) :]

    def own_listeners(self, event: str) -> Iterator[AnyCallable]:
        """The listeners of `own_callbacks`, then the module's."""
        yield from self.listeners.of_callbacks(event, self.own_callbacks)
        if (method := self.listeners.of_module(event)) is not None:
            yield method

    def hook(self, event: str) -> Hook:
        return self.listeners.hook(event)

    def log(self, name: str, value: Scalar, reduce: Reduction | None = None, batch_size: int | None = None) -> None:
        self.logging_to.log(name, value, reduce, batch_size)

    def current_metrics(self) -> MetricValues:
        """The newest value of every metric; this may wait for the device."""
        return MetricValues({**self.metrics, **self.logging_to.compute()})

    def publish(self, metrics: Mapping[str, float]) -> None:
        """Make metrics known to the trainer and its loggers."""
        self.metrics.update(metrics)
        if self.host is not None and metrics and not self.sanity_checking:
            self.host.publish({f"{self.name}/{name}" if self.name else name: metrics[name] for name in metrics})

    @contextmanager
    def called(self, name: str) -> Generator[None]:
        """For a while, loggers get metrics under a name: of several fits in one run, each has its own."""
        before, self.name = self.name, f"{self.name}/{name}" if self.name else name
        try:
            yield
        finally:
            self.name = before

    @contextmanager
    def sanity_check(self, batches: int) -> Generator[None]:
        """Let evaluations see a few batches and leave no trace: no metrics, and nothing for the loggers.

        Args:
            batches: How many of each loader; -1 is all.
        """
        before = dict(self.metrics)
        self.sanity_checking = True
        self.most_batches = None if batches == -1 else batches
        try:
            with self.log_to(MetricStore(default="mean")), isolated_rng():
                yield
        finally:
            self.sanity_checking = False
            self.most_batches = None
            self.metrics.clear()
            self.metrics.update(before)

    @contextmanager
    def log_to(self, store: MetricStore) -> Generator[None]:
        """Let everything logged go to `store`."""
        before, self.logging_to = self.logging_to, store
        try:
            yield
        finally:
            self.logging_to = before


class InRun(Loop[P, R], Generic[P, R]):
    """A loop that takes part in a run of a module: it finds the run's context from its place in the tree."""

    transient_fields: ClassVar[tuple[str, ...]] = ("_context", "_place")

    points: ClassVar[tuple[str, ...]] = ()
    """Where in its work a run may be saved, in their order; see `passed` and `mark`."""

    @property
    def place(self) -> Place:
        """Where in its work this loop is."""
        place: object = vars(self).get("_place")
        if not isinstance(place, Place):
            place = vars(self)["_place"] = Place(self.points)
        return place

    def passed(self, point: str) -> bool:
        """Whether this point was passed before the run was resumed, so that what leads to it is not done again."""
        place = self.place
        if not place.skips(point):
            return False
        if place.arrives(point) and (context := self.context).resuming is not None:
            context.resuming.arrived(self, context)
        return True

    def mark(self, point: str) -> None:
        """This point is passed; what was asked to be saved is saved here."""
        self.place.point = point
        context = self.context
        # Nothing is kept of a sanity check: there is no going on from the middle of one.
        if context.requests.flag.requested and not context.sanity_checking:
            context.saver.serve(self)

    def run_state(self) -> dict[str, object]:
        """What there is of a run under way, besides the declared fields: what data a checkpoint can hold."""
        return {}

    @property
    def resumed_state(self) -> Mapping[str, object]:
        """What `run_state` gave where the run was saved; empty in a run that is not resumed, or once it goes on."""
        resumed = self.place.resumed
        return {} if resumed is None else resumed.state

    @property
    def context(self) -> RunContext:
        """The innermost run around this loop.

        Raises:
            ConfigurationError: Nothing above this loop has opened one.
        """
        context = find_context(self)
        if context is None:
            raise ConfigurationError(
                type(self).__name__,
                "it is a part of a tree and was run by itself",
                "Run the loop at the top: FitLoop, ValidationLoop, TestLoop or PredictionLoop. An entry loop of your "
                f"own is run by a trainer: Trainer(fit_loop={type(self).__name__}(...)).fit(...).",
            )
        return context

    @property
    def config(self) -> RunConfig:
        """The settings for what this loop has no value of its own for: its run's, or those of its trainer."""
        context, trainer = find_context(self), self.root._trainer
        if context is not None:
            return context.config
        return trainer.config if isinstance(trainer, Host) else RunConfig()


def find_context(loop: LoopNode) -> RunContext | None:
    node: LoopNode | None = loop
    while node is not None:
        context = vars(node).get("_context")
        if isinstance(context, RunContext):
            return context
        node = node._parent  # pyright: ignore[reportPrivateUsage]
    return None


def contexts_of(node: LoopNode) -> list[RunContext]:
    """The runs that a loop takes part in, the outermost first."""
    found = [context for loop in node.ancestry() if isinstance(context := vars(loop).get("_context"), RunContext)]
    return found[::-1]


@contextmanager
def running(loop: LoopNode) -> Generator[None]:
    """Mark `loop` as being in the middle of a run."""
    vars(loop)["_running"] = True
    try:
        yield
    finally:
        vars(loop).pop("_running", None)
