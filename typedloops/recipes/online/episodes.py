"""What a policy gets in whole episodes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from typedloops.recipes.online.environments import AnyEnvironments
from typedloops.recipes.online.stepped import environments_of


@torch.no_grad()
def episode_returns(
    act: Callable[[Tensor], Tensor],
    environments: AnyEnvironments,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The sums of the rewards of one episode in each environment, from its beginning to its end.

    Args:
        act: Gives actions, (N, ...), for observations, (N, ...): a method of a policy, one that draws or one that does
            not.
        environments: Are reset first; their episodes must come to an end.  A vector of them is the fastest.
        seed: What the seeds of the episodes are made of: the same number is the same episodes.
        device: Where `act` computes.

    Returns:
        (N,), on the CPU.
    """
    played = environments_of(environments, seed=seed, replay=False)
    played.begin()
    returns = torch.zeros(played.count, dtype=torch.float64)
    running = torch.ones(played.count, dtype=torch.bool)
    while bool(running.any()):
        result = played.step(act(played.observations.to(device)).cpu())
        returns += result.rewards * running
        running &= ~result.ended
    return returns
