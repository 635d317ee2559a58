"""Environments that are stepped one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from typedloops._core.escape import call
from typedloops.recipes.online.environments import Environment, Environments, StepResult
from typedloops.recipes.online.exchanged import as_array, as_observation, as_rewards, check_action, indices_of
from typedloops.recipes.online.recorded import Recorded, resets_in


class SeparateEnvironments(Environments):
    """Environments one by one.

    Each of their episodes begins with a seed of its own, so that only the actions of the one under
    way bring an environment back.

    Args:
        environments: Of one kind, at least one.
        seed: What the seeds of all episodes are made of.
        replay: Whether to remember what brings them back.
    """

    def __init__(self, environments: Sequence[Environment], *, seed: int, replay: bool) -> None:
        super().__init__(seed, replay)
        self._environments = list(environments)
        self._names = [type(environment).__name__ for environment in environments]
        self.restart()

    @property
    def count(self) -> int:
        return len(self._environments)

    @property
    def name(self) -> str:
        return self._names[0]

    def restart(self) -> None:
        self._recorded = [
            Recorded(environment, f"{self.seed}/{index}", self.replay)
            for index, environment in enumerate(self._environments)
        ]

    def begin(self) -> None:
        self.observations: Tensor = torch.stack([self._begun(index) for index in range(self.count)])

    def step(self, actions: Tensor) -> StepResult:
        results = [self._done(index, action) for index, action in enumerate(actions)]
        next_observations = torch.stack([observation for observation, *_ in results])
        terminated = torch.tensor([terminated for _, _, terminated, _ in results])
        truncated = torch.tensor([truncated for *_, truncated in results])
        self.observations = next_observations.clone()
        for index in indices_of(terminated | truncated):
            self.observations[index] = self._begun(index)
        return StepResult(
            as_rewards(self.name, [reward for _, reward, _, _ in results]),
            next_observations,
            terminated,
            truncated,
            torch.ones(self.count, dtype=torch.bool),
        )

    def come_from(self) -> dict[str, object]:
        return {str(index): recorded.state_dict() for index, recorded in enumerate(self._recorded)}

    def go_to(self, came_from: Mapping[str, object]) -> bool:
        there = [self._go_to(index, came_from[str(index)]) for index in range(self.count)]
        return all(there)

    def begin_after(self, came_from: Mapping[str, object]) -> None:
        for index, recorded in enumerate(self._recorded):
            recorded.resets = resets_in(came_from[str(index)])
        self.begin()

    def _go_to(self, index: int, came_from: object) -> bool:
        def begin() -> None:
            self.observations[index] = self._begun(index)

        def act(action: Tensor) -> None:
            self.observations[index] = self._done(index, action)[0]

        return self._recorded[index].bring_back(cast("Mapping[str, object]", came_from), begin, act)

    def _begun(self, index: int) -> Tensor:
        return as_observation(self._names[index], self._recorded[index].reset())

    def _done(self, index: int, action: Tensor) -> tuple[Tensor, float, bool, bool]:
        environment, name, given = self._environments[index], self._names[index], as_array(action)
        check_action(name, environment, given)
        self._recorded[index].record(action)
        observation, reward, terminated, truncated, _ = call(environment.step, given)
        return as_observation(name, observation), float(reward), bool(terminated), bool(truncated)
