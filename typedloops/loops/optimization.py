"""What `configure_optimizers` returned, understood once at the start of a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.hooks import RemovableHandle
from typing_extensions import TypeVar

from typedloops._core import Progress, ReadyCompleted, SchedulerProgress
from typedloops._core.escape import name_of
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import OptimizerError
from typedloops.protocols.module import ConfiguresOptimizers, Scheduler

T = TypeVar("T")

FORMS = (
    "Return an optimizer, a dict with `optimizer` and optionally `lr_scheduler`, a pair of lists "
    "(optimizers, schedulers), a list of optimizers, or None."
)
INTERVALS = ("epoch", "step")
SETTINGS = frozenset({"scheduler", "interval", "frequency", "monitor", "strict", "name", "reduce_on_plateau"})


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

    def step(self, metrics: Mapping[str, float]) -> None:
        """Count one interval; step the scheduler when `frequency` of them have passed.

        Raises:
            OptimizerError: The monitored metric is not there and `strict` is True.
        """
        self.due += 1
        if self.due % self.frequency:
            return
        self.progress.increment_ready()
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        elif self.monitor is not None and self.monitor in metrics:
            self.scheduler.step(metrics[self.monitor])  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open
        elif self.strict:
            raise OptimizerError(
                f"ReduceLROnPlateau(monitor={self.monitor!r})",
                f"there is no such metric after this {self.interval}; there are {sorted(metrics)}",
                "Return it from a step, log it, monitor another one, or set strict=False.",
            )
        else:
            return
        self.progress.increment_completed()


@dataclass
class Optimization:
    """The optimizers and schedulers of a fit, and how many steps all of them have taken.

    Args:
        optimizers: What `configure_optimizers` returned.
        rates: The schedulers that it returned.
        automatic: Whether the loops step the schedulers; otherwise the module does.
        steps: Counts the steps of all optimizers.
        max_steps: How many steps to take at most, or None.
    """

    optimizers: Sequence[Optimizer] = ()
    rates: Sequence[ScheduledRate] = ()
    automatic: bool = True
    steps: Progress[ReadyCompleted] = field(default_factory=lambda: Progress(ReadyCompleted(), ReadyCompleted()))
    max_steps: int | None = None
    _handles: list[RemovableHandle] = field(default_factory=list[RemovableHandle])

    def start_counting(self) -> None:
        """Count every step of every optimizer, whoever calls it."""
        for optimizer in self.optimizers:
            self._handles += (
                optimizer.register_step_pre_hook(partial(_count, self.steps.increment_ready)),
                optimizer.register_step_post_hook(partial(_count, self.steps.increment_completed)),
            )

    def stop_counting(self) -> None:
        """Leave the optimizers as they were."""
        while self._handles:
            self._handles.pop().remove()

    def step_rates(self, interval: str, metrics: Mapping[str, float]) -> None:
        """Step the schedulers of this interval."""
        for rate in self._rates_of(interval):
            rate.step(metrics)

    def after_step(self, metrics: Mapping[str, float]) -> Callable[[], None] | None:
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

    def _rates_of(self, interval: str) -> list[ScheduledRate]:
        return [rate for rate in self.rates if self.automatic and rate.interval == interval]


def _count(increment: Callable[[], None], *_: object) -> None:
    increment()


def configure(module: ConfiguresOptimizers) -> tuple[list[Optimizer], list[ScheduledRate]]:
    """Ask the module for its optimizers and understand the answer: its optimizers and its schedulers.

    Raises:
        OptimizerError: The answer has none of the documented forms.
    """
    where = name_of(module.configure_optimizers)
    answer: object = module.configure_optimizers()
    optimizers, schedulers = _parts(where, answer)
    return optimizers, [_rate(where, scheduler) for scheduler in schedulers]


def _parts(where: str, answer: object) -> tuple[list[Optimizer], list[object]]:
    if answer is None:
        return [], []
    if is_mapping(answer):
        return _from_mapping(where, answer)
    if not is_list_or_tuple(answer):
        return [_optimizer(where, answer)], []
    if len(answer) == 2 and is_list_or_tuple(optimizers := answer[0]):
        if not is_list_or_tuple(schedulers := answer[1]):
            raise OptimizerError(where, f"beside the optimizers it returned {_kind(schedulers)}", FORMS)
        return [_optimizer(where, item) for item in optimizers], list(schedulers)
    parts: list[tuple[list[Optimizer], list[object]]] = [
        _from_mapping(where, item) if is_mapping(item) else ([_optimizer(where, item)], []) for item in answer
    ]
    return _chain(optimizers for optimizers, _ in parts), _chain(schedulers for _, schedulers in parts)


def _chain(lists: Iterable[list[T]]) -> list[T]:
    return [item for items in lists for item in items]


def _from_mapping(where: str, answer: Mapping[str, object]) -> tuple[list[Optimizer], list[object]]:
    if unknown := sorted(map(str, answer.keys() - {"optimizer", "lr_scheduler", "frequency", "monitor"})):
        raise OptimizerError(where, f"it returned a mapping with unknown keys {unknown}", FORMS)
    if "optimizer" not in answer:
        raise OptimizerError(where, "it returned a mapping without the key `optimizer`", FORMS)
    scheduler = answer.get("lr_scheduler")
    if "monitor" in answer and isinstance(scheduler, ReduceLROnPlateau):
        scheduler = {"scheduler": scheduler, "monitor": answer["monitor"]}
    return [_optimizer(where, answer["optimizer"])], [] if scheduler is None else [scheduler]


def _optimizer(where: str, thing: object) -> Optimizer:
    if not isinstance(thing, Optimizer):
        raise OptimizerError(where, f"it returned {_kind(thing)} where an optimizer is expected", FORMS)
    return thing


def _rate(where: str, thing: object) -> ScheduledRate:
    if isinstance(thing, (LRScheduler, ReduceLROnPlateau)):
        settings: dict[str, object] = {"scheduler": thing}
    elif is_mapping(thing):
        settings = {str(name): value for name, value in thing.items()}
    else:
        settings = {name: getattr(thing, name) for name in SETTINGS if hasattr(thing, name)}
    where = f"{where}, lr_scheduler"
    if unknown := sorted(settings.keys() - SETTINGS):
        raise OptimizerError(where, f"it has unknown settings {unknown}", f"There are {sorted(SETTINGS)}.")
    scheduler = settings.get("scheduler")
    if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
        raise OptimizerError(
            where, f"{_kind(scheduler or thing)} is not a scheduler", "Give one of torch.optim.lr_scheduler."
        )
    interval, frequency = settings.get("interval", "epoch"), settings.get("frequency", 1)
    monitor, name = settings.get("monitor"), settings.get("name")
    if interval not in INTERVALS:
        raise OptimizerError(where, f"its interval is {interval!r}", "Give 'epoch' or 'step'.")
    if isinstance(frequency, bool) or not isinstance(frequency, int) or frequency < 1:
        raise OptimizerError(where, f"its frequency is {frequency!r}", "Give an int of 1 or more.")
    if isinstance(scheduler, ReduceLROnPlateau) and not isinstance(monitor, str):
        raise OptimizerError(
            where, "a ReduceLROnPlateau needs to know its metric", "Give {'scheduler': ..., 'monitor': 'val_loss'}."
        )
    return ScheduledRate(
        scheduler=scheduler,
        interval=str(interval),
        frequency=frequency,
        monitor=monitor if isinstance(monitor, str) else None,
        strict=bool(settings.get("strict", True)),
        name=name if isinstance(name, str) else None,
    )


def _kind(thing: object) -> str:
    return f"a {type(thing).__name__}"
