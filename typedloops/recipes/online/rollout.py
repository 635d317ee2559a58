"""What a policy has met with in its environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Transitions(NamedTuple):
    """Steps in no order, K of them: what a replay buffer keeps.

    Args:
        observations: (K, ...)
        actions: (K, ...)
        rewards: (K,)
        next_observations: (K, ...); at the end of an episode the last observation of that.
        terminated: (K,), whether there is nothing to come after; a time limit leaves it False.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor


@dataclass(frozen=True)
class Rollout:
    """T steps in each of N environments, in their order.

    Args:
        observations: What was acted on, (T, N, ...).
        actions: What was done, (T, N, ...).
        rewards: What it was worth, (T, N).
        next_observations: Where it led, (T, N, ...); at the end of an episode that is the last observation of it,
            not the first of the next.
        terminated: Whether the episode has come to its end there, (T, N): no reward is to come.
        truncated: Whether it was cut off there, by a time limit say, (T, N): rewards would have come.
        valid: Whether it was a step, (T, N): some environments use one up to begin an episode.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor

    def __len__(self) -> int:
        """How many steps there are in all environments."""
        return int(self.valid.sum())

    @property
    def ended(self) -> Tensor:
        """Whether an episode is over after this step, (T, N)."""
        return self.terminated | self.truncated

    def transitions(self) -> Transitions:
        """The steps one by one, whatever environment they are of."""
        return Transitions(
            self.observations[self.valid],
            self.actions[self.valid],
            self.rewards[self.valid],
            self.next_observations[self.valid],
            self.terminated[self.valid],
        )
