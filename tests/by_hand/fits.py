"""Fits, each in a few words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

TRAIN_BATCHES = 5
VAL_BATCHES = 2

ACCUMULATION: dict[str, int | dict[int, int]] = {"1 batch": 1, "2 batches": 2, "3 batches": 3, "1 then 2": {1: 2}}
"""Batches to an optimizer step."""

OPTIMIZERS = ("none", "one", "scheduled", "two", "taking turns", "own step", "LBFGS", "manual")
TURNS = (2, 1)
"""The frequencies of those that take turns."""


@dataclass(frozen=True)
class Limit:
    """How far a fit goes.

    Args:
        settings: The trainer's.
        epochs: How many epochs there are at most.
        train: How many batches of an epoch, where the loader gives more.
        val: How many batches of a validation, where the loader gives more.
        steps: How many optimizer steps there are at most.
        sized: Whether the loader says how many batches it has.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 2
    train: int | None = None
    val: int | None = None
    steps: int | None = None
    sized: bool = True

    @property
    def known(self) -> int | None:
        """How many batches an epoch has, as far as that is known when it begins."""
        if self.train is not None:
            return self.train
        return TRAIN_BATCHES if self.sized else None


LIMITS: dict[str, Limit] = {
    "2 epochs": Limit(),
    "1 epoch of 3 batches": Limit({"limit_train_batches": 3, "limit_val_batches": 1}, epochs=1, train=3, val=1),
    "3 batches": Limit({"limit_train_batches": 3, "limit_val_batches": 1}, train=3, val=1),
    "half of them": Limit({"limit_train_batches": 0.5, "limit_val_batches": 0.5}, train=2, val=1),
    "3 steps": Limit({"max_steps": 3}, steps=3),
    "no length": Limit(sized=False),
    "3 of no length": Limit({"limit_train_batches": 3}, train=3, sized=False),
}


@dataclass(frozen=True)
class Cadence:
    """When a fit validates.

    Args:
        settings: The trainer's.
        validates: Whether there is anything to validate on.
        epochs: In every n-th epoch; None counts batches across epochs.
        batches: After so many batches, or None for at the end of an epoch.
        share: After such a share of an epoch, or None likewise.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    validates: bool = True
    epochs: int | None = 1
    batches: int | None = None
    share: float | None = None


CADENCES: dict[str, Cadence] = {
    "no validation": Cadence(validates=False),
    "each epoch": Cadence(),
    "each 2nd epoch": Cadence({"check_val_every_n_epoch": 2}, epochs=2),
    "each 2 batches": Cadence({"val_check_interval": 2}, batches=2),
    "each half epoch": Cadence({"val_check_interval": 0.5}, share=0.5),
    "each 3 of all batches": Cadence(
        {"val_check_interval": 3, "check_val_every_n_epoch": None}, epochs=None, batches=3
    ),
}


@dataclass(frozen=True)
class Failure:
    """What happens to a fit from outside.

    Args:
        line: At the event before which there were so many.
        does: `raise` an error, let `StopIteration` out, ask for a `stop`, skip the epoch (`-1`), have no loss (`None`).
    """

    line: int
    does: str


@dataclass(frozen=True)
class Fit:
    """One fit, by the names of its settings."""

    accumulation: str
    optimizers: str
    limit: str
    cadence: str

    def __str__(self) -> str:
        return ", ".join((self.optimizers, f"steps on {self.accumulation}", self.limit, self.cadence))

    @property
    def is_refused(self) -> bool:
        """Whether it can never work, which is told and tested elsewhere."""
        alone = self.optimizers in ("LBFGS", "manual") and self.window != 1
        return alone or (CADENCES[self.cadence].share is not None and LIMITS[self.limit].known is None)

    @property
    def window(self) -> int | dict[int, int]:
        return ACCUMULATION[self.accumulation]

    @property
    def settings(self) -> dict[str, Any]:
        """What the trainer is given."""
        limit, cadence = LIMITS[self.limit], CADENCES[self.cadence]
        return {
            "max_epochs": limit.epochs,
            "accumulate_grad_batches": self.window,
            **limit.settings,
            **cadence.settings,
        }


def fits() -> list[Fit]:
    """Each way to optimize with each limit; the other settings take turns."""
    found = [
        Fit(turn(ACCUMULATION, row + column), optimizers, limit, turn(CADENCES, row + 2 * column))
        for row, optimizers in enumerate(OPTIMIZERS)
        for column, limit in enumerate(LIMITS)
    ]
    return [fit for fit in found if not fit.is_refused]


def turn(words: Collection[str], index: int) -> str:
    return list(words)[index % len(words)]
