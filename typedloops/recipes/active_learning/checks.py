"""What active learning refuses."""

from __future__ import annotations

from torch import Tensor

from typedloops._core.escape import name_of
from typedloops.errors import ConfigurationError


def check_settings(initial: int | tuple[int, ...], query: int, budget: int | None, max_rounds: int | None) -> None:
    """Raise `ConfigurationError` unless these numbers make a run that begins and ends."""
    first = initial if isinstance(initial, int) else len(initial)
    numbers = {"initial": first, "query": query, "budget": budget, "max_rounds": max_rounds}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigurationError(f"ActiveLearningLoop.{name}", f"it is {number}", "Give a positive number.")
    if budget is None and max_rounds is None:
        raise ConfigurationError(
            "ActiveLearningLoop", "nothing says when it ends", "Give a `budget` of labels, or `max_rounds`."
        )
    if budget is not None and first > budget:
        raise ConfigurationError(
            "ActiveLearningLoop.budget", f"it is {budget}, and {first} items are labelled first", "Raise it."
        )
    if not isinstance(initial, int) and (len(set(initial)) < len(initial) or min(initial) < 0):
        raise ConfigurationError(
            "ActiveLearningLoop.initial", f"{list(initial)} are no indices of different items", "Give each index once."
        )


def check_scores(name: str, scores: Tensor, items: int, *, limited: bool = False) -> None:
    """Raise `ConfigurationError` unless there is a score for each item; with a limit on batches, for the first ones."""
    if scores.shape != (items,) and not (limited and scores.ndim == 1 and 0 < len(scores) < items):
        raise ConfigurationError(
            name,
            f"it gave scores of shape {tuple(scores.shape)} for {items} items",
            "Return one number for each item that is predicted for, in their order.",
        )
    if scores.isnan().any():
        raise ConfigurationError(name, "a score is not a number", "Look at the predictions that it is given.")


def wrong_count(oracle: object, given: int, asked: int) -> ConfigurationError:
    return ConfigurationError(
        name_of(oracle), f"it was asked for {asked} labels and gave {given}", "Give one for each index, in their order."
    )
