"""What active learning comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

Y = TypeVar("Y")


@dataclass(frozen=True)
class LearningRound:
    """What one round came to.

    Args:
        labels: How many items had a label.
        metrics: Those of its fit, the last validation's among them.
    """

    labels: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ActiveLearningResult(Generic[Y]):
    """What active learning comes to.

    Args:
        rounds: The learning curve.
        indices: The items that have a label, in the order in which they got it.
        labels: Their labels.
    """

    rounds: tuple[LearningRound, ...]
    indices: tuple[int, ...]
    labels: tuple[Y, ...]
