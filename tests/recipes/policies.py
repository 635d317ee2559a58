"""Policies, environments and fits of online learning that are small and real."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from typedloops import FitLoopOf, OptimizerLoop, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.online import (
    CollectLoop,
    OnlineLoop,
    PolicyGradientLoop,
    PolicySamples,
    clipped_surrogate,
    episode_returns,
)


class CartPolicy(nn.Module):
    """Proximal policy optimization on CartPole."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
        self.actor, self.critic = nn.Linear(16, 2), nn.Linear(16, 1)

    def distribution(self, observations: Tensor) -> Distribution:
        return Categorical(logits=self.actor(self.body(observations)))

    def value(self, observations: Tensor) -> Tensor:
        values: Tensor = self.critic(self.body(observations))
        return values.squeeze(-1)

    def act(self, observations: Tensor) -> Tensor:
        actions: Tensor = self.distribution(observations).sample()
        return actions

    def training_step(self, batch: PolicySamples, batch_idx: int) -> Tensor:
        distribution = self.distribution(batch.observations)
        policy = clipped_surrogate(distribution.log_prob(batch.actions), batch.log_probs, batch.advantages)
        return policy + 0.01 * nn.functional.mse_loss(self.value(batch.observations), batch.returns)

    def validation_step(self, batch: int, batch_idx: int) -> dict[str, Tensor]:
        return {"mean_return": episode_returns(self.act, cart_poles(2), seed=batch).mean()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class SavableCartPole(gymnasium.Env[Any, Any]):
    """A CartPole that saves itself, and that nothing but this brings back: it is not reset by its seed."""

    def __init__(self) -> None:
        self.inner: Any = gymnasium.make("CartPole-v1", max_episode_steps=12).unwrapped
        self.action_space, self.observation_space = self.inner.action_space, self.inner.observation_space
        self.inner.reset(seed=4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.inner.reset()

    def step(self, action: Any) -> Any:
        return self.inner.step(action)

    def state_dict(self) -> dict[str, object]:
        position = None if self.inner.state is None else [float(number) for number in self.inner.state]
        return {"position": position, "rng": copy.deepcopy(self.inner.np_random.bit_generator.state)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.inner.reset()
        self.inner.state = tuple(np.float64(number) for number in state_dict["position"])
        self.inner.np_random.bit_generator.state = state_dict["rng"]


def cart_pole() -> gymnasium.Env[Any, Any]:
    """One whose episodes are cut off after 12 steps, so that there are ends of either kind."""
    return gymnasium.make("CartPole-v1", max_episode_steps=12)


def cart_poles(count: int, mode: AutoresetMode | None = None) -> Any:
    """A vector of them: gymnasium's own for CartPole, or one with this autoreset mode."""
    if mode is None:
        return gymnasium.make_vec("CartPole-v1", num_envs=count, max_episode_steps=12)
    return SyncVectorEnv([cart_pole] * count, autoreset_mode=mode)


ENVIRONMENTS: dict[str, Callable[[], Any]] = {
    "vector": lambda: cart_poles(3),
    "next step": lambda: cart_poles(3, AutoresetMode.NEXT_STEP),
    "same step": lambda: cart_poles(3, AutoresetMode.SAME_STEP),
    "disabled": lambda: cart_poles(3, AutoresetMode.DISABLED),
    "one by one": lambda: [cart_pole() for _ in range(3)],
    "one": cart_pole,
    "savable": lambda: [SavableCartPole(), SavableCartPole()],
}


def tree(environments: Any, **settings: Any) -> Any:
    """Proximal policy optimization in these environments."""
    collect: Any = CollectLoop(environments, **{"steps": 12, "seed": 5, **settings})
    learn: Any = PolicyGradientLoop(OptimizerLoop(), passes=2, minibatch_size=16)
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OnlineLoop(collect, learn))))


class Fits:
    """Fits that begin and go on in the same way.

    Args:
        make_tree: Makes a tree with environments of its own.
        make_module: Makes what is fitted.
    """

    def __init__(self, make_tree: Callable[[], Any], make_module: Callable[[], nn.Module] = CartPolicy) -> None:
        self.make_tree = make_tree
        self.make_module = make_module

    def trainer(self, **settings: Any) -> Any:
        return Trainer(max_epochs=2, fit_loop=self.make_tree(), **settings)

    def run(self, trainer: Any) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The weights and the metrics of a fit of six iterations, in two epochs."""
        module = self.make_module()
        result = trainer.fit(module, range(3), [7])
        return dict(module.state_dict()), result.metrics


def the_same(one: Any, other: Any) -> bool:
    weights = all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    return weights and one[1] == other[1]
