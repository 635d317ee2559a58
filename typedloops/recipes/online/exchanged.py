"""What goes to an environment and what comes from it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from typedloops._core.shapes import is_mapping
from typedloops.errors import ConfigurationError, ModuleError, NonFiniteError
from typedloops.protocols.anything import Anything
from typedloops.recipes.online.environments import ActionSpace


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
