"""Environments of the shape of gymnasium's, one by one or vectorized, as one thing that is stepped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, SupportsFloat, TypeAlias, cast

import torch
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import ResumeError, StateError
from typedloops.protocols.anything import Anything


@runtime_checkable
class Environment(Protocol):
    """What is asked of an environment: `gymnasium.Env` fits.

    `step` returns the observation, the reward, whether the episode has terminated, whether it was
    truncated, and anything else.
    """

    def reset(self, *, seed: int | None = None) -> tuple[object, object]: ...
    def step(self, action: Anything, /) -> tuple[object, SupportsFloat, bool, bool, object]: ...


@runtime_checkable
class VectorEnvironment(Protocol):
    """What is asked of several environments that are stepped together: `gymnasium.vector.VectorEnv` fits.

    What it does when an episode is over is in its `metadata["autoreset_mode"]`: gymnasium's `NEXT_STEP`, which is taken
    for granted where nothing is said, `SAME_STEP` or `DISABLED`.
    """

    num_envs: int

    def reset(self, *, seed: int | None = None, options: Anything = None) -> tuple[object, object]: ...
    def step(self, actions: Anything, /) -> tuple[object, object, object, object, Mapping[str, Anything]]: ...


@runtime_checkable
class ActionSpace(Protocol):
    """What tells whether an action can be done; an environment need not have one."""

    def contains(self, x: Anything, /) -> bool: ...


AnyEnvironments: TypeAlias = VectorEnvironment | Environment | Sequence[Environment]
"""Several environments, vectorized or one by one, or one alone."""


class StepResult(NamedTuple):
    """One step in each of N environments; see `Rollout`, whose rows these are."""

    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor

    @property
    def ended(self) -> Tensor:
        """Whether an episode is over, (N,)."""
        return self.terminated | self.truncated


class Environments(ABC):
    """N environments that go on from episode to episode.

    Args:
        seed: What the seeds of all episodes are made of.
        replay: Whether to remember what brings them back: the actions since the last seed.
    """

    def __init__(self, seed: int, replay: bool) -> None:
        self.seed = seed
        self.replay = replay
        self.observations: Tensor = torch.empty(0)
        """What is to be acted on next, (N, ...)."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call them in an error."""

    @abstractmethod
    def restart(self) -> None:
        """Forget everything: the episode that begins next is the first."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a new episode in each, from the next seed."""

    @abstractmethod
    def step(self, actions: Tensor) -> StepResult:
        """Do one action in each; where an episode is over the next one begins.

        Args:
            actions: On the CPU, (N, ...).

        Raises:
            ModuleError: One is outside of the action space.
            NonFiniteError: What came of it is infinite or not a number.
        """

    @abstractmethod
    def come_from(self) -> dict[str, object]:
        """What brings the environments to where they are."""

    @abstractmethod
    def go_to(self, came_from: Mapping[str, object]) -> bool:
        """Bring them there; False where that could not be, and they have begun new episodes."""

    @abstractmethod
    def begin_after(self, came_from: Mapping[str, object]) -> None:
        """Begin the episodes that would have come next there."""

    def state_dict(self) -> dict[str, object]:
        """Where the environments are, as data."""
        return {"of": self._told, "came_from": self.come_from(), "observations": self.observations.clone()}

    def load_state_dict(self, state_dict: Mapping[str, object], *, begins: bool = False) -> None:
        """Bring the environments to where they were.

        Args:
            state_dict: What `state_dict` gave.
            begins: Whether they are to begin new episodes there.

        Raises:
            StateError: They were others.
            ResumeError: They have come elsewhere.
        """
        if state_dict["of"] != self._told:
            raise StateError(
                "CollectLoop.environments",
                f"the state is that of {state_dict['of']}, and here is {self._told}",
                "Give the environments and the seed that there were.",
            )
        came_from = cast("Mapping[str, object]", state_dict["came_from"])
        if begins:
            self.begin_after(came_from)
            return
        there = cast("Tensor", state_dict["observations"])
        self.observations = there.clone()  # an environment that loads its state gives none
        if self.go_to(came_from) and not torch.equal(self.observations, there):
            raise ResumeError(
                self.name,
                "brought back by its actions it gives other observations than it gave: not everything that it does "
                "follows from its seed and its actions, or it keeps something from episode to episode",
                "Give it `state_dict` and `load_state_dict`; or CollectLoop(..., replay=False), which begins new "
                "episodes where a run goes on.",
            )

    @property
    def _told(self) -> str:
        return f"{self.count} of {self.name}, {type(self).__name__} with the seed {self.seed}"
