"""Environments of the shape of gymnasium's, one by one or vectorized, as one thing that is stepped."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, SupportsFloat, TypeAlias, cast

import torch
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import ConfigurationError, ModuleError, NonFiniteError, ResumeError, StateError
from typedloops.protocols.anything import Anything
from typedloops.protocols.state import Stateful


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


def environments_of(environments: AnyEnvironments, *, seed: int, replay: bool) -> Environments:
    """Those environments as one thing that is stepped.

    Raises:
        ConfigurationError: There are none, or something else.
    """
    from typedloops.recipes.online.separate import SeparateEnvironments
    from typedloops.recipes.online.vectorized import VectorizedEnvironments

    if isinstance(environments, VectorEnvironment):
        return VectorizedEnvironments(environments, seed=seed, replay=replay)
    several = environments if is_list_or_tuple(environments) else [environments]
    for environment in several or (None,):
        if not isinstance(environment, Environment):
            raise ConfigurationError(
                "environments",
                f"{environment!r} has no `reset` and `step`" if several else "there are none",
                "Give what has the shape of a gymnasium environment, a list of those, or a vector environment.",
            )
    return SeparateEnvironments(cast("Sequence[Environment]", several), seed=seed, replay=replay)


class Recorded:
    """An environment, or a vector of them, and how it came to where it is.

    Args:
        environment: What is reset with a seed and then acted in.
        seed: What its seeds are made of.
        replay: Whether to remember its actions, where it has no state that can be saved.
    """

    def __init__(self, environment: Environment | VectorEnvironment, seed: str, replay: bool) -> None:
        self._environment = environment
        self._seed = seed
        self._records = replay and not isinstance(environment, Stateful)
        self._actions: list[Tensor] = []
        self.resets = 0

    def reset(self) -> object:
        """The first observation from the next seed."""
        self.resets += 1
        self._actions.clear()
        # Seeded by a string it is the same on every machine and in every process.
        seed = random.Random(f"{self._seed}/{self.resets}").getrandbits(31)
        return self._environment.reset(seed=seed)[0]

    def record(self, action: Tensor) -> None:
        """This is done in it."""
        if self._records:
            self._actions.append(action.clone())

    def state_dict(self) -> dict[str, object]:
        own = dict(self._environment.state_dict()) if isinstance(self._environment, Stateful) else None
        actions: object = torch.stack(self._actions) if self._actions else []
        return {"resets": self.resets, "own": own, "actions": actions if self._records else None}

    def bring_back(self, state: Mapping[str, object], begin: Callable[[], None], act: Callable[[Tensor], None]) -> bool:
        """Go where that was taken; False where there is no way to, and a new episode has begun."""
        own, actions = state["own"], state["actions"]
        self.resets = resets_in(state)
        if is_mapping(own) and isinstance(self._environment, Stateful):
            self._environment.load_state_dict(own)
            return True
        if actions is None or not self._records:
            begin()
            return False
        self.resets -= 1
        begin()
        for action in cast("Sequence[Tensor]", actions):
            act(action)
        return True


def resets_in(state: object) -> int:
    """How often it had been reset where `Recorded.state_dict` was taken."""
    return cast("Mapping[str, int]", state)["resets"]


def indices_of(mask: Tensor) -> list[int]:
    """Where a mask, (N,), is true."""
    return [int(index) for index in mask.nonzero()]


def as_observation(name: str, observation: object) -> Tensor:
    """An observation, or those of N environments, as a tensor of its own.

    Args:
        name: What to call the environment in an error.
        observation: What it gave.

    Raises:
        ConfigurationError: It is made of several arrays.
        NonFiniteError: There is a number in it that is none.
    """
    if is_mapping(observation) or isinstance(observation, (tuple, str)):
        raise ConfigurationError(
            name,
            f"its observation is a {type(cast('object', observation)).__name__}",
            "Wrap it so that it is one array: gymnasium.wrappers.FlattenObservation.",
        )
    # A copy: an environment may give the same array again and again.
    tensor = observation.clone() if isinstance(observation, Tensor) else torch.tensor(observation)
    if not tensor.is_floating_point():
        return tensor
    if not bool(tensor.isfinite().all()):
        raise NonFiniteError(name, f"it gave the observation {tensor}", "Look at the actions that it was given before.")
    return tensor.to(torch.get_default_dtype())


def as_rewards(name: str, rewards: object) -> Tensor:
    """Rewards, (N,).

    Raises:
        NonFiniteError: One of them is not a number.
    """
    tensor = torch.as_tensor(rewards, dtype=torch.get_default_dtype())
    if not bool(tensor.isfinite().all()):
        raise NonFiniteError(name, f"it gave the rewards {tensor}", "Look at how it rewards.")
    return tensor


def check_action(name: str, environment: object, action: object) -> None:
    """Raise `ModuleError` if an environment that has an action space does not have this action in it."""
    space: object = getattr(environment, "action_space", None)
    if isinstance(space, ActionSpace) and not space.contains(action):
        raise ModuleError(
            f"{name}.step",
            f"the policy gave the action {action!r}, which is not in {space!r}",
            "Give actions of this space, or wrap the environment: gymnasium.wrappers.ClipAction.",
        )


def as_array(actions: Tensor) -> Anything:
    """Actions as the NumPy array that an environment wants; of a single number that number."""
    actions = actions.float() if actions.dtype in (torch.bfloat16, torch.float16) else actions
    return actions.numpy() if actions.ndim else actions.item()
