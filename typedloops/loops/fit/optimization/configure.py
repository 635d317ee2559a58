"""What `configure_optimizers` returned, understood once at the start of a fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from typedloops._core.escape import name_of
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import OptimizerError
from typedloops.loops.run.scheduled_rate import ScheduledRate
from typedloops.protocols.module import ConfiguresOptimizers

FORMS = (
    "Return an optimizer, a dict with `optimizer` and optionally `lr_scheduler`, a pair of lists "
    "(optimizers, schedulers), a list of optimizers or of such dicts, or None."
)
INTERVALS = ("epoch", "step")
SETTINGS = frozenset({"scheduler", "interval", "frequency", "monitor", "strict", "name", "reduce_on_plateau"})
TIMING = frozenset({"interval", "frequency", "monitor", "strict"})
"""Those that say when it is stepped, and by what metric."""


@dataclass(frozen=True)
class Configured:
    """What a module answered.

    Args:
        optimizers: Its optimizers.
        rates: Its schedulers.
        frequencies: On how many batches each optimizer has its turn before the next; none when all have it on
            every batch.
    """

    optimizers: list[Optimizer] = field(default_factory=list[Optimizer])
    rates: list[ScheduledRate] = field(default_factory=list[ScheduledRate])
    frequencies: list[int] = field(default_factory=list[int])


@dataclass(frozen=True)
class _Part:
    """An optimizer with what came in one dict with it."""

    optimizer: Optimizer
    schedulers: list[object] = field(default_factory=list[object])
    frequency: int | None = None


def configure(module: ConfiguresOptimizers, *, automatic: bool = True) -> Configured:
    """Ask the module for its optimizers and understand the answer.

    Args:
        module: What is asked.
        automatic: Whether the loops step the optimizers and schedulers; otherwise settings for that have no use.

    Raises:
        OptimizerError: The answer has none of the documented forms.
    """
    where = name_of(module.configure_optimizers)
    answer: object = module.configure_optimizers()
    parts, schedulers = _parts(where, answer)
    optimizers = [part.optimizer for part in parts]
    if len(set(map(id, optimizers))) < len(optimizers):
        raise OptimizerError(where, "it returned one optimizer twice", "Return each optimizer once.")
    schedulers += [scheduler for part in parts for scheduler in part.schedulers]
    rates = [_rate(where, scheduler, automatic=automatic) for scheduler in schedulers]
    for rate in rates:
        _check_owner(where, rate, optimizers)
    return Configured(optimizers, rates, _frequencies(where, [part.frequency for part in parts], automatic=automatic))


def _parts(where: str, answer: object) -> tuple[list[_Part], list[object]]:
    """The optimizers, and the schedulers that were returned beside them."""
    if answer is None:
        return [], []
    if is_mapping(answer):
        return [_from_mapping(where, answer)], []
    if not is_list_or_tuple(answer):
        return [_Part(_optimizer(where, answer))], []
    if len(answer) == 2 and is_list_or_tuple(optimizers := answer[0]):
        if not is_list_or_tuple(schedulers := answer[1]):
            raise OptimizerError(where, f"beside the optimizers it returned {_kind(schedulers)}", FORMS)
        return [_Part(_optimizer(where, item)) for item in optimizers], list(schedulers)
    return [_from_mapping(where, item) if is_mapping(item) else _Part(_optimizer(where, item)) for item in answer], []


def _from_mapping(where: str, answer: Mapping[str, object]) -> _Part:
    if unknown := sorted(map(str, answer.keys() - {"optimizer", "lr_scheduler", "frequency", "monitor"})):
        raise OptimizerError(where, f"it returned a mapping with unknown keys {unknown}", FORMS)
    if "optimizer" not in answer:
        raise OptimizerError(where, "it returned a mapping without the key `optimizer`", FORMS)
    scheduler = answer.get("lr_scheduler")
    if "monitor" in answer and isinstance(scheduler, ReduceLROnPlateau):
        scheduler = {"scheduler": scheduler, "monitor": answer["monitor"]}
    frequency = answer.get("frequency")
    if frequency is not None and not _is_count(frequency):
        raise OptimizerError(where, f"the frequency of an optimizer is {frequency!r}", "Give an int of 1 or more.")
    return _Part(
        _optimizer(where, answer["optimizer"]),
        [] if scheduler is None else [scheduler],
        frequency if isinstance(frequency, int) else None,
    )


def _frequencies(where: str, frequencies: Sequence[int | None], *, automatic: bool) -> list[int]:
    given = [frequency for frequency in frequencies if frequency is not None]
    if given and len(frequencies) == 1:
        raise OptimizerError(
            where,
            "it gave a frequency, which says how several optimizers take turns, and there is one",
            "Leave it out; accumulate_grad_batches has one step for several batches.",
        )
    if given and len(given) < len(frequencies):
        raise OptimizerError(
            where,
            f"{len(given)} of its {len(frequencies)} optimizers have a frequency",
            "Give one to each, so that they take turns, or to none.",
        )
    if given and not automatic:
        raise OptimizerError(
            where,
            "its optimizers have frequencies, which are for automatic optimization, and the module has "
            "`automatic_optimization = False`",
            "Leave them out, and choose in training_step which optimizer steps.",
        )
    return given


def _check_owner(where: str, rate: ScheduledRate, optimizers: Sequence[Optimizer]) -> None:
    if rate.optimizer is not None and all(rate.optimizer is not optimizer for optimizer in optimizers):
        raise OptimizerError(
            where,
            f"its {type(rate.scheduler).__name__} is for an optimizer that it did not return",
            "Return that optimizer as well, or make the scheduler with one that is returned.",
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _optimizer(where: str, thing: object) -> Optimizer:
    if not isinstance(thing, Optimizer):
        raise OptimizerError(where, f"it returned {_kind(thing)} where an optimizer is expected", FORMS)
    return thing


def _rate(where: str, thing: object, *, automatic: bool) -> ScheduledRate:
    """A scheduler, or a mapping or an object with one and when to step it."""
    if isinstance(thing, (LRScheduler, ReduceLROnPlateau)):
        settings: dict[str, object] = {"scheduler": thing}
    elif is_mapping(thing):
        settings = {str(name): value for name, value in thing.items()}
        if not automatic and (idle := sorted(settings.keys() & TIMING)):
            warnings.warn(
                f"{where}: nothing looks at {idle} of a scheduler, since the module has `automatic_optimization = "
                "False`. Step it in training_step or in a hook.",
                UserWarning,
                stacklevel=2,
            )
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
    if not isinstance(frequency, int) or not _is_count(frequency):
        raise OptimizerError(where, f"its frequency is {frequency!r}", "Give an int of 1 or more.")
    if automatic and isinstance(scheduler, ReduceLROnPlateau) and not isinstance(monitor, str):
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
