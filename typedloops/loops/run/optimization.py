"""The optimizers and schedulers of a fit at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.hooks import RemovableHandle

from typedloops._core import CallCounter, Progress, ReadyCompleted, SchedulerProgress
from typedloops._core.calls import AnyCallable
from typedloops.errors import OptimizerError
from typedloops.loops.run.scaling import LossScaler
from typedloops.protocols.module import Scheduler


def step_scheduler(scheduler: Scheduler, metric: float | None) -> None:
    """Step a scheduler; one for plateaus by its metric.

    Raises:
        OptimizerError: It is for plateaus and there is no metric.
    """
    if not isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step()
    elif metric is None:
        raise OptimizerError("lr_scheduler_step", "a ReduceLROnPlateau is stepped by a metric", "Pass the metric on.")
    else:
        scheduler.step(metric)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open


@dataclass
class ScheduledRate:
    """A learning-rate scheduler and when it steps.

    Args:
        scheduler: What steps.
        interval: After each `epoch` or each optimizer `step`.
        frequency: Only every n-th time.
        monitor: The metric that a plateau scheduler looks at.
        strict: Whether a missing metric is an error; otherwise the step is left out.
        name: What to call it.
    """

    scheduler: Scheduler
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None
    progress: SchedulerProgress = field(default_factory=SchedulerProgress)
    due: int = 0

    def step(self, metrics: Callable[[], Mapping[str, float]], own: AnyCallable | None = None) -> None:
        """Count one interval; step the scheduler when `frequency` of them have passed.

        Args:
            metrics: What there is to be monitored.
            own: The module's own `lr_scheduler_step(scheduler, metric)`, or None.

        Raises:
            OptimizerError: The monitored metric is not there and `strict` is True.
        """
        self.due += 1
        if self.due % self.frequency:
            return
        self.progress.increment_ready()
        metric = None
        if isinstance(self.scheduler, ReduceLROnPlateau) or (own is not None and self.monitor is not None):
            known = metrics()
            if self.monitor is None or self.monitor not in known:
                self._check_strictness(known)
                return
            metric = known[self.monitor]
        if own is not None:
            own(self.scheduler, metric)
        else:
            step_scheduler(self.scheduler, metric)
        self.progress.increment_completed()

    def _check_strictness(self, known: Mapping[str, float]) -> None:
        if self.strict:
            raise OptimizerError(
                f"ReduceLROnPlateau(monitor={self.monitor!r})",
                f"there is no such metric after this {self.interval}; there are {sorted(known)}",
                "Return it from a step, log it, monitor another one, or set strict=False.",
            )


@dataclass(eq=False)
class Optimization:
    """The optimizers and schedulers of a fit, and how many steps all of them have taken.

    Args:
        optimizers: What `configure_optimizers` returned.
        rates: The schedulers that it returned.
        automatic: Whether the loops step the schedulers; otherwise the module does.
        steps: Counts the steps of all optimizers.
        max_steps: How many steps to take at most, or None.
        scaler: Scales the losses of a fit in 16 bits, or None.
        skipped: Counts the steps that it left out.
        own_scheduler_step: The module's own `lr_scheduler_step`, or None.
        gradient_norm: The norm that the last clipping found, or None.
    """

    optimizers: Sequence[Optimizer] = ()
    rates: Sequence[ScheduledRate] = ()
    automatic: bool = True
    steps: Progress[ReadyCompleted] = field(default_factory=lambda: Progress(ReadyCompleted(), ReadyCompleted()))
    max_steps: int | None = None
    gradient_norm: Tensor | None = None
    own_scheduler_step: AnyCallable | None = None
    scaler: LossScaler | None = None
    skipped: Progress[ReadyCompleted] = field(default_factory=lambda: Progress(ReadyCompleted(), ReadyCompleted()))
    _handles: list[RemovableHandle] = field(default_factory=list[RemovableHandle])

    def start_counting(self) -> None:
        """Count every step of every optimizer, whoever calls it."""
        for optimizer in self.optimizers:
            self._handles += (
                optimizer.register_step_pre_hook(CallCounter(self.steps, completed=False)),
                optimizer.register_step_post_hook(CallCounter(self.steps, completed=True)),
            )

    def stop_counting(self) -> None:
        """Leave the optimizers as they were."""
        while self._handles:
            self._handles.pop().remove()

    def step_rates(self, interval: str, metrics: Callable[[], Mapping[str, float]]) -> None:
        """Step the schedulers of this interval."""
        for rate in self._rates_of(interval):
            rate.step(metrics, self.own_scheduler_step)

    def after_step(self, metrics: Callable[[], Mapping[str, float]]) -> Callable[[], None] | None:
        """What to call after each batch: steps the schedulers when an optimizer has stepped."""
        if not self._rates_of("step"):
            return None
        seen = self.steps.total.completed

        def step_rates() -> None:
            nonlocal seen
            if self.steps.total.completed != seen:
                seen = self.steps.total.completed
                self.step_rates("step", metrics)

        return step_rates

    @property
    def monitors_steps(self) -> bool:
        """Whether a scheduler looks at a metric after each step."""
        return any(rate.monitor is not None for rate in self._rates_of("step"))

    def _rates_of(self, interval: str) -> list[ScheduledRate]:
        return [rate for rate in self.rates if self.automatic and rate.interval == interval]
