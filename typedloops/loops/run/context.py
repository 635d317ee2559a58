"""What the loops of one run share: the module, who listens, the request to stop, the metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import ClassVar, Generic, cast

import torch
from typing_extensions import ParamSpec, Protocol, TypeVar, runtime_checkable

from typedloops._core import BatchProgress, Hook, StopFlag
from typedloops.errors import ConfigurationError, MisuseError, add_note
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.computing.devices import device_for, place
from typedloops.loops.run.computing.precision import NumberType, number_type
from typedloops.loops.run.computing.rng import isolated_rng
from typedloops.loops.run.computing.torch_settings import torch_settings
from typedloops.loops.run.hidden import HiddenStates, check_without
from typedloops.loops.run.listeners import Listeners
from typedloops.loops.run.metrics import MetricStore, MetricValues, Scalar
from typedloops.loops.run.misnamed import warn_of_misnamed_hooks
from typedloops.loops.run.optimization import Optimization
from typedloops.loops.run.requirements import check_tree
from typedloops.loops.run.settings.config import RunConfig
from typedloops.loops.run.stop_request import StopRequest
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.loops.run.watching.nonfinite import NonFiniteGuard
from typedloops.protocols.loop import AnyLoop
from typedloops.protocols.trainer import Reduction, Stage, TrainerView

P = ParamSpec("P")
R = TypeVar("R", default=None)


@runtime_checkable
class Host(TrainerView, Protocol):
    """What a run asks of the trainer that hosts it."""

    @property
    def config(self) -> RunConfig: ...
    def run_began(self, context: RunContext) -> None: ...
    def run_ended(self, context: RunContext, error: BaseException | None) -> None: ...
    def publish(self, metrics: Mapping[str, float]) -> None: ...


class RunContext:
    """One run of one module.

    Args:
        stage: What the run is for.
        module: What is run.
        host: The trainer, or None for a tree that is run without one.
    """

    def __init__(self, stage: Stage, module: object, host: Host | None) -> None:
        self.stage = stage
        self.module = module
        self.host = host
        self.config: RunConfig = RunConfig() if host is None else host.config
        self.number_type: NumberType = number_type(self.config.precision)
        self.device: torch.device = torch.device("cpu")
        self.asked_for_precision: bool = False
        self.guard: NonFiniteGuard | None = None
        self.listeners: Listeners = Listeners(() if host is None else host.callbacks, unwrapped(module), host)
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
            self.host.publish(metrics)

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

    transient_fields: ClassVar[tuple[str, ...]] = ("_context",)

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
                "Run the loop at the top: FitLoop, ValidationLoop, TestLoop or PredictionLoop.",
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


@contextmanager
def open_run(loop: LoopNode, stage: Stage, module: object, unused: Collection[str] = ()) -> Generator[RunContext]:
    """The run of `module` that `loop` is a part of: the one under way, or a new one.

    A new one checks the module against the tree, and then:

    ```
    M.configure_callbacks, M.prepare_data, C/M.setup(stage), M.configure_model
    the module moved to its device, in the precision of the run
    ...                                   # on an exception: C/M.on_exception
    C/M.teardown(stage); teardown of every loop, children first
    ```

    Args:
        loop: The loop that is about to run.
        stage: What a new run is for.
        module: What is to be run.
        unused: Paths, relative to `loop`, of loops that will not be run.
    """
    if loop.at_work:
        raise MisuseError(
            type(loop).__name__, "it is already running", "Run another loop from here: a run cannot be inside itself."
        )
    current = find_context(loop)
    check_tree(unwrapped(module), loop, unused)
    with running(loop):
        if current is not None and current.module is module and current.takes_in(stage):
            yield current
        else:
            with _new_run(loop, stage, module) as context:
                yield context
    for node in _below(loop):
        if isinstance(node, Loop):
            node.restarting = False  # in what was not run this time as well


@contextmanager
def running(loop: LoopNode) -> Generator[None]:
    """Mark `loop` as being in the middle of a run."""
    vars(loop)["_running"] = True
    try:
        yield
    finally:
        vars(loop).pop("_running", None)


@contextmanager
def _new_run(loop: LoopNode, stage: Stage, module: object) -> Generator[RunContext]:
    trainer = loop.root._trainer  # pyright: ignore[reportPrivateUsage]
    context = RunContext(stage, module, trainer if isinstance(trainer, Host) else None)
    vars(loop)["_context"] = context
    at_start = _below(loop)
    try:
        with _settings_of(context.config), _hosted(context):
            _set_up(context)
            yield context
    finally:
        # Last in, first out: loops are torn down while they know their run, those put into the tree since as well.
        with ExitStack() as ending:
            ending.callback(vars(loop).pop, "_context", None)
            ending.callback(context.optimization.stop_counting)
            for node in dict.fromkeys([*at_start, *_below(loop)]):
                if isinstance(node, Loop):
                    ending.callback(node.teardown)


def _settings_of(config: RunConfig) -> AbstractContextManager[None]:
    return torch_settings(config.float32_matmul_precision, config.deterministic, config.benchmark)


def _below(loop: LoopNode) -> list[AnyLoop]:
    return [node for _, node in loop.walk()]


@contextmanager
def _hosted(context: RunContext) -> Generator[None]:
    if context.host is not None:
        context.host.run_began(context)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        _tell(context, error)
        raise
    finally:
        with noted_on(failure, "teardown"):
            context.hook("teardown")(str(context.stage))
        if context.host is not None:
            with noted_on(failure, "the end of the run"):
                context.host.run_ended(context, failure)


@contextmanager
def noted_on(failure: BaseException | None, what: str) -> Generator[None]:
    """Let an error become a note of `failure`, which is the one to be told; without a failure it is raised."""
    try:
        yield
    except Exception as second:
        if failure is None:
            raise
        add_note(failure, f"{what} raised as well: {second!r}")


def _tell(context: RunContext, error: BaseException) -> None:
    """Call `on_exception`; the error that ended the run is the one to be raised, whatever the hook does."""
    with noted_on(error, "on_exception"):
        context.hook("on_exception")(error)


def _set_up(context: RunContext) -> None:
    configure_callbacks = context.listeners.of_module("configure_callbacks")
    if configure_callbacks is not None:
        callbacks = configure_callbacks()
        context.listeners.add_callbacks(_several(callbacks))
    context.listeners.check()
    warn_of_misnamed_hooks(context.listeners.everybody)
    for event in ("prepare_data", "configure_model"):
        own = context.listeners.of_module(event)
        if event == "configure_model":
            context.hook("setup")(str(context.stage))
        if own is not None:
            own()
    context.place_module()


def _several(callbacks: object) -> Iterable[object]:
    """What `configure_callbacks` returned as callbacks: several, one, or None for none."""
    if callbacks is None:
        return ()
    one = isinstance(callbacks, type) or not isinstance(callbacks, Iterable)
    return [callbacks] if one else cast("Iterable[object]", callbacks)
