"""Environments that are stepped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor

from typedloops._core.escape import call
from typedloops._core.shapes import is_mapping
from typedloops.errors import ConfigurationError
from typedloops.protocols.anything import Anything
from typedloops.recipes.online.environments import Environments, StepResult, VectorEnvironment
from typedloops.recipes.online.exchanged import as_array, as_observation, as_rewards, check_action, indices_of
from typedloops.recipes.online.recorded import Recorded, resets_in

Autoreset: TypeAlias = Literal["NextStep", "SameStep", "Disabled"]
"""What a vector environment does when an episode is over: gymnasium's `AutoresetMode` by its values."""


class VectorizedEnvironments(Environments):
    """Environments that are stepped together and begin their next episodes by themselves, or are told to.

    Where an episode is over,

    - `NEXT_STEP` gives its last observation, and uses the next step up to begin another, whatever the action;
    - `SAME_STEP` gives the first observation of the next one, and the last one in `infos["final_obs"]`;
    - `DISABLED` is told, by `reset(options={"reset_mask": ended})`.

    Only the first episodes begin with a seed that is known here, so that all actions since bring them back.

    Args:
        environment: Is stepped.
        seed: What its seeds are made of.
        replay: Whether to remember what brings it back.
    """

    def __init__(self, environment: VectorEnvironment, *, seed: int, replay: bool) -> None:
        super().__init__(seed, replay)
        self._environment = environment
        self._mode = _autoreset_of(environment)
        self._ended = torch.zeros(environment.num_envs, dtype=torch.bool)
        self.restart()

    @property
    def count(self) -> int:
        return self._environment.num_envs

    @property
    def name(self) -> str:
        return type(self._environment).__name__

    def restart(self) -> None:
        self._recorded = Recorded(self._environment, str(self.seed), self.replay)

    def begin(self) -> None:
        self.observations: Tensor = as_observation(self.name, self._recorded.reset())
        self._ended = torch.zeros(self.count, dtype=torch.bool)

    def step(self, actions: Tensor) -> StepResult:
        given, began = as_array(actions), self._ended if self._mode == "NextStep" else None
        check_action(self.name, self._environment, given)
        self._recorded.record(actions)
        observations, rewards, terminated, truncated, infos = call(self._environment.step, given)
        # The next step may be written into the same arrays.
        result = StepResult(
            as_rewards(self.name, rewards).clone(),
            as_observation(self.name, observations),
            torch.as_tensor(terminated, dtype=torch.bool).clone(),
            torch.as_tensor(truncated, dtype=torch.bool).clone(),
            torch.ones(self.count, dtype=torch.bool) if began is None else ~began,
        )
        self._ended = result.ended
        self.observations = result.next_observations
        if self._mode != "NextStep" and bool(self._ended.any()):
            return self._continued(result, infos)
        return result

    def come_from(self) -> dict[str, object]:
        return {**self._recorded.state_dict(), "ended": self._ended}

    def go_to(self, came_from: Mapping[str, object]) -> bool:
        def act(action: Tensor) -> None:
            self.step(action)

        goes = self._recorded.bring_back(came_from, self.begin, act)
        if goes:
            self._ended = cast("Tensor", came_from["ended"])
        return goes

    def begin_after(self, came_from: Mapping[str, object]) -> None:
        self._recorded.resets = resets_in(came_from)
        self.begin()

    def _continued(self, result: StepResult, infos: Mapping[str, Anything]) -> StepResult:
        """The step with the last observations of the episodes that are over, the next of which have begun."""
        if self._mode == "Disabled":
            first, _ = self._environment.reset(options={"reset_mask": self._ended.numpy()})
            self.observations = as_observation(self.name, first)
            return result
        if "final_obs" not in infos:
            raise ConfigurationError(
                self.name,
                'its autoreset mode is SAME_STEP, and `infos` has no "final_obs" where episodes are over',
                "Let it give their last observations there, as gymnasium's do.",
            )
        last = result.next_observations.clone()
        for index in indices_of(self._ended):
            last[index] = as_observation(self.name, cast("Sequence[object]", infos["final_obs"])[index])
        return StepResult(result.rewards, last, result.terminated, result.truncated, result.valid)


def _autoreset_of(environment: VectorEnvironment) -> Autoreset:
    metadata: object = getattr(environment, "metadata", None)
    told: object = metadata.get("autoreset_mode", "NextStep") if is_mapping(metadata) else "NextStep"
    mode: object = getattr(told, "value", told)
    if mode not in ("NextStep", "SameStep", "Disabled"):
        raise ConfigurationError(
            f"{type(environment).__name__}.metadata",
            f"the autoreset mode {told!r} is not known",
            "It is one of gymnasium's: NEXT_STEP, SAME_STEP, DISABLED.",
        )
    return mode
