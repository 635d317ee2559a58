"""A learning-rate scheduler and when it steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from typedloops._core import SchedulerProgress
from typedloops._core.calls import AnyCallable
from typedloops.errors import OptimizerError
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
        progress: Counts its steps.
        due: How many intervals have passed.
        pending: Whether its optimizer has stepped and it has not: a plateau scheduler waits for its metric.
        own: The module's own `lr_scheduler_step(scheduler, metric)`, or None.
    """

    scheduler: Scheduler
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None
    progress: SchedulerProgress = field(default_factory=SchedulerProgress)
    due: int = 0
    pending: bool = False
    own: AnyCallable | None = None

    @property
    def waits_for_metrics(self) -> bool:
        """Whether it is for plateaus: it is stepped once a validation that is due has given its metrics."""
        return isinstance(self.scheduler, ReduceLROnPlateau)

    @property
    def optimizer(self) -> Optimizer | None:
        """Whose learning rate it sets; None for a scheduler that does not say."""
        optimizer: object = getattr(self.scheduler, "optimizer", None)
        return optimizer if isinstance(optimizer, Optimizer) else None

    def step(self, metrics: Callable[[], Mapping[str, float]]) -> None:
        """Count one interval; step the scheduler when `frequency` of them have passed.

        Args:
            metrics: What there is to be monitored.

        Raises:
            OptimizerError: The monitored metric is not there and `strict` is True.
        """
        self.due += 1
        if self.due % self.frequency:
            return
        self.progress.increment_ready()
        metric = None
        if isinstance(self.scheduler, ReduceLROnPlateau) or (self.own is not None and self.monitor is not None):
            known = metrics()
            if self.monitor is None or self.monitor not in known:
                self._check_strictness(known)
                return
            metric = known[self.monitor]
        if self.own is not None:
            self.own(self.scheduler, metric)
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
