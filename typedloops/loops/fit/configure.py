"""What `configure_optimizers` returned, understood once at the start of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from typing_extensions import TypeVar

from typedloops._core.escape import name_of
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import OptimizerError
from typedloops.loops.run.optimization import ScheduledRate
from typedloops.protocols.module import ConfiguresOptimizers

T = TypeVar("T")

FORMS = (
    "Return an optimizer, a dict with `optimizer` and optionally `lr_scheduler`, a pair of lists "
    "(optimizers, schedulers), a list of optimizers, or None."
)
INTERVALS = ("epoch", "step")
SETTINGS = frozenset({"scheduler", "interval", "frequency", "monitor", "strict", "name", "reduce_on_plateau"})


def configure(module: ConfiguresOptimizers) -> tuple[list[Optimizer], list[ScheduledRate]]:
    """Ask the module for its optimizers and understand the answer: its optimizers and its schedulers.

    Raises:
        OptimizerError: The answer has none of the documented forms.
    """
    where = name_of(module.configure_optimizers)
    answer: object = module.configure_optimizers()
    optimizers, schedulers = _parts(where, answer)
    if len(set(map(id, optimizers))) < len(optimizers):
        raise OptimizerError(where, "it returned one optimizer twice", "Return each optimizer once.")
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
