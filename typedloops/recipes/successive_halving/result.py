"""What successive halving plans, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from typing_extensions import TypeVar

from typedloops.errors import ConfigurationError

C_co = TypeVar("C_co", covariant=True, default=object)
M_co = TypeVar("M_co", covariant=True, default=object)


@dataclass(frozen=True)
class Rung:
    """One stage of successive halving.

    Args:
        candidates: How many train in it, at most.
        epochs: Until how many epochs each is trained, those of earlier rungs included.
    """

    candidates: int
    epochs: int


def rungs(candidates: int, *, eta: int = 3, min_epochs: int = 1, max_epochs: int | None = None) -> tuple[Rung, ...]:
    """The rungs for so many candidates: of each the best `1 / eta` go on, at least one, to `eta` times the epochs.

    The last rung is the one with a single candidate, or the one that comes to `max_epochs`.

    Args:
        candidates: How many there are, from 1.
        eta: By how much each rung divides the candidates and multiplies the epochs, from 2.
        min_epochs: The epochs of the first rung, from 1.
        max_epochs: Those of the last; None is `min_epochs * eta ** (number of rungs - 1)`.

    Returns:
        As many as it takes; `rungs(9)` are 9 candidates until epoch 1, 3 until epoch 3, 1 until epoch 9.

    Raises:
        ConfigurationError: A number is too small.
    """
    for name, value, least in (("candidates", candidates, 1), ("eta", eta, 2), ("min_epochs", min_epochs, 1)):
        _check_at_least(name, value, least)
    if max_epochs is not None:
        _check_at_least("max_epochs", max_epochs, min_epochs)
    most = math.inf if max_epochs is None else max_epochs
    planned, epochs = list[Rung](), min_epochs
    while candidates > 1 and epochs < most:
        planned.append(Rung(candidates, epochs))
        candidates, epochs = max(1, candidates // eta), epochs * eta
    return (*planned, Rung(candidates, epochs if max_epochs is None else max_epochs))


def _check_at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"successive halving: {name}", f"it is {value!r}", f"Give an int from {least} on.")


@dataclass(frozen=True)
class Candidate(Generic[C_co]):
    """One of the configurations, and how far it came.

    Args:
        index: Its place among the configurations, from 0.
        configuration: What its module was made of.
        scores: The monitored metric at the end of each rung that it took part in; NaN where its training failed.
        epochs: How many epochs it was trained.
        error: What its training failed with, or None.
    """

    index: int
    configuration: C_co
    scores: tuple[float, ...]
    epochs: int
    error: str | None = None

    @property
    def score(self) -> float:
        """The last of its scores."""
        return self.scores[-1]

    @property
    def rung(self) -> int:
        """The last rung that it took part in, from 0."""
        return len(self.scores) - 1


@dataclass(frozen=True)
class SuccessiveHalvingResult(Generic[C_co, M_co]):
    """What successive halving comes to; `str()` is a table.

    Args:
        ranking: The candidates, the best first: those that came to a later rung before the others, and of one rung
            by their scores there; of equal ones the first that was given.
        best_module: The module of the first, as it was at the end of its training.
        rungs: What was planned.
        monitor: The name of the metric that they were ranked by.
    """

    ranking: tuple[Candidate[C_co], ...]
    best_module: M_co = field(repr=False)
    rungs: tuple[Rung, ...]
    monitor: str

    @property
    def best(self) -> Candidate[C_co]:
        """The winner."""
        return self.ranking[0]

    @property
    def epochs(self) -> int:
        """How many epochs all candidates were trained together."""
        return sum(candidate.epochs for candidate in self.ranking)

    @property
    def epochs_saved(self) -> int:
        """How many epochs fewer that is than each of them trained to the end."""
        return len(self.ranking) * self.rungs[-1].epochs - self.epochs

    def __str__(self) -> str:
        lines = list(self._lines())
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _lines(self) -> Iterator[Sequence[str]]:
        scores = (f"{self.monitor} at epoch {rung.epochs}" for rung in self.rungs)
        yield ("rank", "candidate", "epochs", *scores, "configuration")
        for rank, candidate in enumerate(self.ranking, 1):
            known = [f"{score:.4g}" for score in candidate.scores]
            known += [""] * (len(self.rungs) - len(known))
            about = str(candidate.configuration) + (f"  ({candidate.error})" if candidate.error else "")
            yield (str(rank), str(candidate.index), str(candidate.epochs), *known, about)
