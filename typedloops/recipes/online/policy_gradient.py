"""Policy gradients with a critic: advantages of a rollout, and the clipped objective."""

from __future__ import annotations

from typing import ClassVar, Generic, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops.errors import ConfigurationError, ModuleError
from typedloops.protocols.loop import LoopProtocol
from typedloops.recipes.online.collecting import Policy
from typedloops.recipes.online.minibatches import MinibatchLoop
from typedloops.recipes.online.rollout import Rollout


@runtime_checkable
class ActorCritic(Policy, Protocol):
    """A policy that tells how it draws its actions, and what it expects to get.

    `distribution` returns that of the actions for observations, (K, ...), whose `log_prob` is of shape (K,);
    `value` the sum of discounted rewards to come, (K,).
    """

    def distribution(self, observations: Tensor, /) -> Distribution: ...
    def value(self, observations: Tensor, /) -> Tensor: ...


class PolicySamples(NamedTuple):
    """What a policy learns from, K steps.

    Args:
        observations: (K, ...)
        actions: (K, ...)
        log_probs: Of those actions under the policy that took them, (K,).
        values: What its critic expected, (K,).
        advantages: By how much the actions were better than that, (K,).
        returns: What the critic should have expected, advantages + values, (K,).
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


M = TypeVar("M", bound=ActorCritic, default=ActorCritic)
S = TypeVar("S", default=object)


class PolicyGradientLoop(MinibatchLoop[M, Rollout, PolicySamples, S], Generic[M, S]):
    """Learns a policy on what it has just done: `MinibatchLoop` with generalized advantages.

    The objective is that of the module's `training_step`, which is given `PolicySamples`: with
    `clipped_surrogate` it is proximal policy optimization; with `passes=1`, one minibatch and
    `-(advantages * log_probs)` it is advantage actor-critic.

    Where a time limit cuts an episode off, the critic says what would have come after; where
    an episode terminates nothing does.

    Args:
        optimizer_loop: Optimizes on one minibatch.
        passes: How often each step is learnt on.
        minibatch_size: How many steps a minibatch has.
        gamma: By how much less a reward counts with each step that it is further away.
        gae_lambda: 0 trusts the critic for all but the next reward, 1 for none.

    Source: Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation, 2016,
    https://arxiv.org/abs/1506.02438; Schulman et al., Proximal Policy Optimization Algorithms, 2017,
    https://arxiv.org/abs/1707.06347.
    """

    requires: ClassVar[type[object] | None] = ActorCritic

    def __init__(
        self,
        optimizer_loop: LoopProtocol[[M, PolicySamples, int], S],
        *,
        passes: int = 4,
        minibatch_size: int = 64,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
    ) -> None:
        super().__init__(optimizer_loop, passes=passes, minibatch_size=minibatch_size)
        for name, value in (("gamma", gamma), ("gae_lambda", gae_lambda)):
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{type(self).__name__}.{name}", f"it is {value!r}", "Give 0 to 1.")
        self.gamma = gamma
        self.gae_lambda = gae_lambda

    @torch.no_grad()
    def samples(self, model: M, data: Rollout) -> PolicySamples:
        values = _by_step(data.rewards, model.value(data.observations.flatten(0, 1)), f"{type(model).__name__}.value")
        advantages = generalized_advantages(
            data.rewards,
            values,
            self._next_values(model, data, values),
            data.terminated,
            data.ended,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
        )
        log_probs = model.distribution(data.observations.flatten(0, 1)).log_prob(data.actions.flatten(0, 1))
        log_probs = _by_step(data.rewards, log_probs, f"{type(model).__name__}.distribution(...).log_prob")
        valid = data.valid
        return PolicySamples(
            data.observations[valid],
            data.actions[valid],
            log_probs[valid],
            values[valid],
            advantages[valid],
            (advantages + values)[valid],
        )

    def _next_values(self, model: M, data: Rollout, values: Tensor) -> Tensor:
        """What the critic expects after each step, (T, N): that of the next one where the episode goes on."""
        cut = data.ended.clone()
        cut[-1] = True
        after = values.roll(-1, 0)
        after[cut] = model.value(data.next_observations[cut])
        return after


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    ended: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """By how much each action was better than the critic expected, from the rewards that followed.

    Args:
        rewards: (T, N), T steps in each of N environments.
        values: What the critic expects before each step, (T, N).
        next_values: What it expects after it, in the same episode, (T, N).
        terminated: Whether nothing comes after it, (T, N).
        ended: Whether the next step is of another episode, (T, N).
        gamma: By how much less a reward counts with each step.
        gae_lambda: How far the rewards themselves are looked at, 0 to 1.

    Returns:
        (T, N)
    """
    errors = rewards + gamma * next_values.masked_fill(terminated, 0.0) - values
    advantages = torch.empty_like(errors)
    following = torch.zeros_like(errors[0])
    for step in range(len(errors) - 1, -1, -1):
        following = errors[step] + gamma * gae_lambda * following.masked_fill(ended[step], 0.0)
        advantages[step] = following
    return advantages


def clipped_surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float = 0.2) -> Tensor:
    """The loss of proximal policy optimization, without entropy and critic: a scalar.

    Args:
        log_probs: Of the actions under the policy as it is, (K,).
        old_log_probs: Under the policy that took them, (K,).
        advantages: (K,)
        clip: How far the ratio of the two may go before going further is worth nothing.
    """
    ratios = (log_probs - old_log_probs).exp()
    return -torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages).mean()


def _by_step(rewards: Tensor, numbers: Tensor, where: str) -> Tensor:
    """Numbers, (T * N,), as (T, N)."""
    if numbers.shape != (rewards.numel(),):
        raise ModuleError(
            where,
            f"it returned shape {tuple(numbers.shape)} for {rewards.numel()} steps",
            "Return one number for each: `.squeeze(-1)`, or `torch.distributions.Independent(..., 1)`.",
        )
    return numbers.reshape(rewards.shape)
