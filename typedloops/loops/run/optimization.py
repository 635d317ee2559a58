"""The optimizers and schedulers of a fit at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from typing_extensions import Protocol

from typedloops._core import CallCounter, Progress, ReadyCompleted
from typedloops._core.calls import AnyCallable
from typedloops.errors import OptimizerError
from typedloops.loops.run.computing.scaling import LossScaler
from typedloops.loops.run.metrics import Scalar
from typedloops.loops.run.position import OptimizerPosition
from typedloops.loops.run.scheduled_rate import ScheduledRate

Metrics: TypeAlias = Callable[[], Mapping[str, float]]


def step_counter() -> Progress[ReadyCompleted]:
    """What counts the steps of an optimizer, or of all."""
    return Progress(ReadyCompleted(), ReadyCompleted())


class OpenWindow(Protocol):
    """Gradients of several batches that are added up, as far as its state goes."""

    @property
    def is_open(self) -> bool: ...
    def state_dict(self) -> Mapping[str, object]: ...


@dataclass(eq=False)
class Optimization:
    """The optimizers and schedulers of a fit, and how many steps they have taken.

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
        frequencies: On how many batches each of several optimizers has its turn before the next; none
            when all have it on every batch.
        steps_of_each: Counts the steps of each of several optimizers; empty with one.
        scalars: Those of the newest output for each of several optimizers, by their indices.
        windows: What adds up the gradients of several batches for each optimizer, or None, by their indices; empty
            while no loop of the library optimizes.
        resumed_windows: Where those were when the run was saved, until they are made anew.
    """

    optimizers: Sequence[Optimizer] = ()
    rates: Sequence[ScheduledRate] = ()
    automatic: bool = True
    steps: Progress[ReadyCompleted] = field(default_factory=step_counter)
    max_steps: int | None = None
    gradient_norm: Tensor | None = None
    own_scheduler_step: AnyCallable | None = None
    scaler: LossScaler | None = None
    skipped: Progress[ReadyCompleted] = field(default_factory=step_counter)
    frequencies: Sequence[int] = ()
    steps_of_each: Sequence[Progress[ReadyCompleted]] = ()
    scalars: dict[int, dict[str, Scalar]] = field(default_factory=dict[int, dict[str, Scalar]])
    windows: dict[int, OpenWindow | None] = field(default_factory=dict[int, "OpenWindow | None"])
    resumed_windows: dict[int, Mapping[str, object]] = field(default_factory=dict[int, Mapping[str, object]])
    forgets_casts: bool = False
    _handles: list[RemovableHandle] = field(default_factory=list[RemovableHandle])

    def __post_init__(self) -> None:
        if self.own_scheduler_step is None:
            return
        for rate in self.rates:
            index = next((i for i, other in enumerate(self.optimizers) if other is rate.optimizer), 0)
            rate.own = OptimizerPosition(index, len(self.optimizers)).told(self.own_scheduler_step, 2)

    def begin_epoch(self) -> None:
        """Forget what belongs to an epoch: the newest outputs, and windows of the one that the run was saved in."""
        self.scalars.clear()
        self.resumed_windows.clear()

    def start_counting(self) -> None:
        """Count every step of every optimizer, whoever calls it."""
        for index, optimizer in enumerate(self.optimizers):
            if self.forgets_casts:
                self._handles.append(optimizer.register_step_post_hook(_forget_casts))
            for counter in (self.steps, *self.steps_of_each[index : index + 1]):
                self._handles += (
                    optimizer.register_step_pre_hook(CallCounter(counter, completed=False)),
                    optimizer.register_step_post_hook(CallCounter(counter, completed=True)),
                )

    def stop_counting(self) -> None:
        """Leave the optimizers as they were."""
        while self._handles:
            self._handles.pop().remove()

    def steps_of(self, optimizer: Optimizer | None) -> Progress[ReadyCompleted]:
        """What counts the steps of one optimizer; of all, for None and with one alone."""
        counters = zip(self.optimizers, self.steps_of_each, strict=False)
        return next((counter for other, counter in counters if other is optimizer), self.steps)

    def backward(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Differentiate a loss of a module that optimizes by itself, scaled where losses are."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward(retain_graph=retain_graph)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open

    def unscale(self, optimizer: Optimizer) -> None:
        """Make the gradients those of the losses themselves, where these were scaled."""
        if self.scaler is not None:
            self.scaler.unscale(optimizer)

    def step(self, optimizer: Optimizer, closure: Callable[[], Tensor] | None = None) -> None:
        """Let an optimizer of a module that optimizes by itself step.

        Raises:
            OptimizerError: There is a closure, and losses are scaled.
        """
        if closure is not None:
            if self.scaler is not None:
                raise OptimizerError(
                    f"{type(optimizer).__name__}.step",
                    "'16-mixed' scales the loss, and a closure may be called several times for each step",
                    "Use 'bf16-mixed' or '32-true', or step without a closure.",
                )
            # torch declares the closure of `step` as one that returns a float; its optimizers take a loss.
            optimizer.step(cast("Callable[[], float]", closure))
        elif self.scaler is None or self.scaler.may_step(optimizer):
            optimizer.step()

    @property
    def adds_up(self) -> bool:
        """Whether gradients may wait for batches to come; otherwise the next batch puts them away."""
        windows = self.windows.values()
        return not self.automatic or not windows or any(window is not None and window.is_open for window in windows)

    @property
    def steps_by_optimizer(self) -> tuple[int, ...]:
        """How many steps each optimizer has taken."""
        return tuple(self.steps_of(optimizer).total.completed for optimizer in self.optimizers)

    def step_epoch_rates(self, metrics: Metrics, *, lenient: bool = False) -> None:
        """Step the schedulers with the interval `epoch`.

        Args:
            metrics: What there is to be monitored.
            lenient: Whether those that wait for a metric are left out: it may be that of an earlier epoch.
        """
        for rate in self._rates_of("epoch"):
            if not (lenient and rate.waits_for_metrics):
                rate.step(metrics)

    def step_plateau_rates(self, metrics: Metrics) -> None:
        """Step the plateau schedulers with the interval `step` whose optimizer has stepped since the last time."""
        for rate in self._plateau_rates:
            if rate.pending:
                rate.pending = False
                rate.step(metrics)

    def after_step(self, metrics: Metrics) -> Callable[[], None] | None:
        """What to call after each batch: steps the schedulers whose optimizer has stepped, but for plateau ones."""
        parts = [self._watching(rate, metrics) for rate in self._rates_of("step")]
        if len(parts) <= 1:
            return parts[0] if parts else None

        def step_rates() -> None:
            for part in parts:
                part()

        return step_rates

    def _watching(self, rate: ScheduledRate, metrics: Metrics) -> Callable[[], None]:
        steps = self.steps_of(rate.optimizer).total
        seen = steps.completed

        def step_rate() -> None:
            nonlocal seen
            if steps.completed != seen:
                seen = steps.completed
                if rate.waits_for_metrics:
                    rate.pending = True
                else:
                    rate.step(metrics)

        return step_rate

    @property
    def monitors_steps(self) -> bool:
        """Whether a scheduler looks at a metric after each step."""
        return any(rate.monitor is not None for rate in self._rates_of("step"))

    @property
    def has_plateau_rates(self) -> bool:
        """Whether a plateau scheduler has the interval `step`."""
        return bool(self._plateau_rates)

    @property
    def _plateau_rates(self) -> list[ScheduledRate]:
        return [rate for rate in self._rates_of("step") if rate.waits_for_metrics]

    def _rates_of(self, interval: str) -> list[ScheduledRate]:
        return [rate for rate in self.rates if self.automatic and rate.interval == interval]


def _forget_casts(*_: object) -> None:
    """Within `torch.autocast`, weights that were cast before a step are stale after it."""
    torch.clear_autocast_cache()
