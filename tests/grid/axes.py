"""The axes of the grid, and what a cell of it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Act = Literal["raises", "lets StopIteration out", "ends", "asks for a stop", "answers -1", "gives None"]

TRAIN_BATCHES = 5
VAL_BATCHES = 2
LEARNING_RATE = 0.25


@dataclass(frozen=True)
class Optimizing:
    """How a module optimizes.

    Args:
        optimizers: How many optimizers it has.
        automatic: Whether the loops take the steps.
        own_step: Whether it has an `optimizer_step`.
        closures: How often its optimizer calls a closure in each step; 0 is none.
        frequencies: How many windows a turn of each optimizer has; none is turns on every batch.
        rates: The interval of each scheduler, and the index of its optimizer.
        pieces: In how many pieces a batch is taken, each with a step of its own.
    """

    optimizers: int = 1
    automatic: bool = True
    own_step: bool = False
    closures: int = 0
    frequencies: tuple[int, ...] = ()
    rates: tuple[tuple[str, int], ...] = (("step", 0), ("epoch", 0))
    pieces: int = 1

    @property
    def in_closures(self) -> bool:
        return self.closures > 0

    @property
    def monitors(self) -> bool:
        return any(interval == "plateau" for interval, _ in self.rates)


OPTIMIZING: dict[str, Optimizing] = {
    "none": Optimizing(optimizers=0, rates=()),
    "one": Optimizing(),
    "plateau": Optimizing(rates=(("plateau", 0), ("epoch", 0))),
    "own": Optimizing(own_step=True, closures=1),
    "lbfgs": Optimizing(closures=2),
    "manual": Optimizing(automatic=False),
    "pieces": Optimizing(pieces=2),
    "two": Optimizing(optimizers=2, rates=(("step", 0), ("step", 1), ("epoch", 1))),
    "turns": Optimizing(optimizers=2, frequencies=(2, 1), rates=(("step", 0), ("step", 1))),
}

WINDOWS: dict[str, int | Mapping[int, int]] = {"1": 1, "2": 2, "3": 3, "schedule": {1: 2, 2: 3}}

STEPS: list[tuple[str, str]] = [
    *[("one", window) for window in WINDOWS],
    *[("two", window) for window in ("1", "2", "schedule")],
    *[("turns", window) for window in ("1", "3")],
    *[("own", window) for window in ("1", "3")],
    ("plateau", "2"),
    ("none", "1"),
    *[(optimizing, "1") for optimizing in ("lbfgs", "manual", "pieces")],  # for these another is refused
]
"""How a module optimizes, and on how many batches at a time."""

LIMITS: dict[str, dict[str, int | float]] = {
    "unlimited": {"max_epochs": -1},
    "epochs": {"max_epochs": 3},
    "batches": {"max_epochs": 3, "limit_train_batches": 3, "limit_val_batches": 1},
    "share": {"max_epochs": 2, "limit_train_batches": 0.8, "limit_val_batches": 0.5},
    "steps": {"max_epochs": 3, "max_steps": 4},
    "minimums": {"max_epochs": 3, "min_epochs": 2, "min_steps": 7},
    "no_batches": {"max_epochs": 2, "limit_train_batches": 0},
}

CADENCES: dict[str, dict[str, int | float | None] | None] = {
    "never": None,
    "each_epoch": {},
    "second_epochs": {"check_val_every_n_epoch": 2},
    "each_2_batches": {"val_check_interval": 2},
    "half_epochs": {"val_check_interval": 0.5},
    "across_epochs": {"check_val_every_n_epoch": None, "val_check_interval": 4},
    "sanity_check": {"num_sanity_val_steps": 1},
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong: at the `nth` time that `where` happens, counted from 1, it `does` this."""

    where: str
    nth: int
    does: Act

    @property
    def in_validation(self) -> bool:
        return "val" in self.where

    @property
    def ends_the_fit(self) -> bool:
        return self.does in ("raises", "lets StopIteration out", "asks for a stop")


FAULTS: dict[str, Fault | None] = {
    "well": None,
    "step_raises": Fault("training_step", 4, "raises"),
    "step_lets_out": Fault("training_step", 3, "lets StopIteration out"),
    "no_loss": Fault("training_step", 2, "gives None"),
    "no_loss_at_the_end": Fault("training_step", 5, "gives None"),
    "step_stops": Fault("training_step", 7, "asks for a stop"),
    "callback_raises": Fault("C.on_train_batch_end", 3, "raises"),
    "callback_lets_out": Fault("C.on_train_batch_start", 4, "lets StopIteration out"),
    "callback_stops": Fault("C.on_train_batch_end", 3, "asks for a stop"),
    "epoch_start_stops": Fault("C.on_train_epoch_start", 2, "asks for a stop"),
    "skips": Fault("M.on_train_batch_start", 4, "answers -1"),
    "skips_an_epoch": Fault("M.on_train_batch_start", 6, "answers -1"),
    "loader_raises": Fault("fetch", 4, "raises"),
    "loader_ends": Fault("fetch", 3, "ends"),
    "val_step_raises": Fault("validation_step", 2, "raises"),
    "val_callback_raises": Fault("C.on_validation_end", 1, "raises"),
    "val_callback_stops": Fault("C.on_validation_end", 1, "asks for a stop"),
    "val_loader_raises": Fault("val_fetch", 2, "raises"),
}


class Way(NamedTuple):
    """How the tree is made, who listens, and what the loaders are."""

    fused: bool
    heard: bool
    sized: bool

    def __str__(self) -> str:
        words = ("fused" if self.fused else "unfused", "heard" if self.heard else "quiet")
        return "-".join((*words, "sized" if self.sized else "stream"))


WAYS = [Way(fused, heard, sized) for fused in (True, False) for heard in (True, False) for sized in (True, False)]

ALONE = ("limit_train_batches", "limit_val_batches", "max_epochs", "max_steps")
"""The limits that loops have of their own, for a fit without a trainer."""

AXES: list[Sequence[object]] = [STEPS, list(LIMITS), list(CADENCES), list(FAULTS), WAYS]


class Cell(NamedTuple):
    """A place in the grid: a name on each axis."""

    steps: tuple[str, str]
    limit: str
    cadence: str
    fault_name: str
    way: Way

    def __str__(self) -> str:
        return "-".join((*self.steps, self.limit, self.cadence, self.fault_name, str(self.way)))

    @property
    def optimizing(self) -> Optimizing:
        return OPTIMIZING[self.steps[0]]

    @property
    def windows(self) -> int | Mapping[int, int]:
        return WINDOWS[self.steps[1]]

    @property
    def limits(self) -> dict[str, int | float]:
        return LIMITS[self.limit]

    @property
    def fault(self) -> Fault | None:
        return FAULTS[self.fault_name]

    @property
    def validates(self) -> bool:
        return CADENCES[self.cadence] is not None

    @property
    def settings(self) -> dict[str, object]:
        """What the trainer is told."""
        return {"accumulate_grad_batches": self.windows, **self.limits, **(CADENCES[self.cadence] or {})}

    @property
    def makes_sense(self) -> bool:
        """Whether there is such a fit, and its fault can come about in it."""
        fault, limited = self.fault, self.limit in ("batches", "no_batches")
        if not self.way.sized and (self.limit == "share" or (self.cadence == "half_epochs" and not limited)):
            return False  # there is no share of what has no length
        if self.limit == "unlimited" and (fault is None or fault.in_validation or not fault.ends_the_fit):
            return False  # it would go on for ever
        if self.limit == "no_batches" and fault is not None:
            return False
        return self.validates or fault is None or not fault.in_validation

    @property
    def makes_sense_alone(self) -> bool:
        """Whether there is such a fit without a trainer, which has no callbacks and cannot be asked for a stop."""
        fault = self.fault
        loops_know = self.cadence in ("never", "each_epoch") and set(self.limits) <= set(ALONE)
        of_trainers = fault is not None and (fault.does == "asks for a stop" or fault.where.startswith("C."))
        return self.makes_sense and loops_know and not of_trainers


class Plan:
    """Knows when the fault of a cell comes about."""

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._times = 0

    def at(self, event: str) -> Act | None:
        """What the fault does at this event, if it is time for it."""
        if self._fault is None or event != self._fault.where:
            return None
        self._times += 1
        return self._fault.does if self._times == self._fault.nth else None
