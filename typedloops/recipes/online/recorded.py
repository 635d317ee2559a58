"""How an environment came to where it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor

from typedloops._core.escape import call
from typedloops._core.shapes import is_mapping
from typedloops.protocols.state import Stateful
from typedloops.recipes.online.environments import Environment, VectorEnvironment

BLOCK = 1024
"""How many actions are kept in one tensor: alone each of them would take far more memory than its numbers."""


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
        self._earlier: list[Tensor] = []
        self.resets: int = 0

    def reset(self) -> object:
        """The first observation from the next seed."""
        self.resets += 1
        self._actions, self._earlier = [], []
        # Seeded by a string it is the same on every machine and in every process.
        seed = random.Random(f"{self._seed}/{self.resets}").getrandbits(31)
        return call(partial(self._environment.reset, seed=seed))[0]

    def record(self, action: Tensor) -> None:
        """This is done in it."""
        if self._records:
            self._actions.append(action.clone())
            if len(self._actions) == BLOCK:
                self._earlier.append(torch.stack(self._actions))
                self._actions = []

    def state_dict(self) -> dict[str, object]:
        own = dict(self._environment.state_dict()) if isinstance(self._environment, Stateful) else None
        recent = [torch.stack(self._actions)] if self._actions else []
        return {"resets": self.resets, "own": own, "actions": [*self._earlier, *recent] if self._records else None}

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
        for block in cast("Sequence[Tensor]", actions):
            for action in block:
                act(action)
        return True


def resets_in(state: object) -> int:
    """How often it had been reset where `Recorded.state_dict` was taken."""
    return cast("Mapping[str, int]", state)["resets"]
