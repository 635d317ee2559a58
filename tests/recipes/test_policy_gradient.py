"""Advantages and the clipped objective, held against their definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from tests.recipes.policies import CartPolicy, cart_pole, tree
from typedloops import OptimizerLoop, Trainer
from typedloops.errors import ModuleError
from typedloops.recipes.online import (
    PolicyGradientLoop,
    Rollout,
    clipped_surrogate,
    generalized_advantages,
)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    steps=st.integers(1, 8),
    count=st.integers(1, 3),
    gamma=st.floats(0, 1),
    gae_lambda=st.floats(0, 1),
)
def test_advantages_are_the_discounted_errors_to_the_end_of_the_episode(
    seed: int, steps: int, count: int, gamma: float, gae_lambda: float
) -> None:
    torch.manual_seed(seed)
    rewards, values, next_values = torch.randn(3, steps, count, dtype=torch.float64)
    terminated, truncated = torch.rand(2, steps, count) < 0.2
    found = generalized_advantages(
        rewards, values, next_values, terminated, terminated | truncated, gamma=gamma, gae_lambda=gae_lambda
    )
    for environment in range(count):
        for step in range(steps):
            expected, weight = 0.0, 1.0
            for later in range(step, steps):
                after = 0.0 if terminated[later, environment] else float(next_values[later, environment])
                error = float(rewards[later, environment]) + gamma * after - float(values[later, environment])
                expected += weight * error
                weight *= gamma * gae_lambda
                if terminated[later, environment] or truncated[later, environment]:
                    break
            assert float(found[step, environment]) == pytest.approx(expected, abs=1e-9)


class Constant(CartPolicy):
    """Expects 10 of whatever it sees, and 100 of what is marked by its first number."""

    def value(self, observations: Tensor) -> Tensor:
        return torch.where(observations[:, 0] == 7, 100.0, 10.0)


def rollout(*, terminated: list[bool], truncated: list[bool], valid: list[bool] | None = None) -> Rollout:
    """Three steps in one environment, each with a reward of 1; the last observations of episodes are marked."""
    ends = torch.tensor([a or b for a, b in zip(terminated, truncated, strict=True)])
    following = torch.zeros(3, 1, 4)
    following[ends, 0, 0] = 7
    return Rollout(
        torch.zeros(3, 1, 4),
        torch.zeros(3, 1, dtype=torch.int64),
        torch.ones(3, 1),
        following,
        torch.tensor(terminated)[:, None],
        torch.tensor(truncated)[:, None],
        torch.ones(3, 1, dtype=torch.bool) if valid is None else torch.tensor(valid)[:, None],
    )


def returns_of(data: Rollout) -> list[float]:
    loop: Any = PolicyGradientLoop(OptimizerLoop(), gamma=0.5, gae_lambda=0.0)
    returns: list[float] = loop.samples(Constant(), data).returns.tolist()
    return returns


def test_a_time_limit_is_not_the_end_of_what_is_to_come() -> None:
    no = [False, False, False]
    assert returns_of(rollout(terminated=no, truncated=no)) == [6.0, 6.0, 6.0]
    assert returns_of(rollout(terminated=[False, True, False], truncated=no)) == [6.0, 1.0, 6.0]
    assert returns_of(rollout(terminated=no, truncated=[False, True, False])) == [6.0, 51.0, 6.0]
    assert returns_of(rollout(terminated=no, truncated=[False, False, True])) == [6.0, 6.0, 51.0]
    assert returns_of(rollout(terminated=[True, False, False], truncated=[True, False, False])) == [1.0, 6.0, 6.0]


def test_what_was_no_step_is_not_learnt_from() -> None:
    data = rollout(terminated=[True, False, False], truncated=[False, False, False], valid=[True, False, True])
    assert returns_of(data) == [1.0, 6.0]
    assert len(data) == 2


def test_the_old_policy_is_the_one_that_acted() -> None:
    policy = CartPolicy()
    loop: Any = PolicyGradientLoop(OptimizerLoop())
    data = rollout(terminated=[False] * 3, truncated=[False] * 3)
    samples = loop.samples(policy, data)
    expected = policy.distribution(samples.observations).log_prob(samples.actions)
    assert torch.allclose(samples.log_probs, expected)
    assert not samples.log_probs.requires_grad
    assert torch.allclose(samples.advantages + samples.values, samples.returns)


def test_the_objective_is_worth_nothing_beyond_the_clip() -> None:
    old = torch.zeros(4)
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    log_probs = torch.tensor([1.1, 1.5, 0.9, 0.5]).log().requires_grad_()
    loss = clipped_surrogate(log_probs, old, advantages, clip=0.2)
    assert float(loss.detach()) == pytest.approx(-(1.1 + 1.2 - 0.9 - 0.8) / 4)
    loss.backward()
    assert log_probs.grad is not None
    assert (log_probs.grad != 0).tolist() == [True, False, True, False]


class Gaussian(nn.Module):
    """A policy of a number."""

    def __init__(self, *, independent: bool, axes: int = 1) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.independent = independent
        self.axes = axes

    def distribution(self, observations: Tensor) -> Distribution:
        normal = Normal(self.net(observations), 1.0)
        return Independent(normal, 1) if self.independent else normal

    def value(self, observations: Tensor) -> Tensor:
        values: Tensor = self.net(observations)
        return values.squeeze(-1) if self.axes == 1 else values

    def act(self, observations: Tensor) -> Tensor:
        output: Tensor = self.net(observations)
        return (output.squeeze(-1) > 0).long()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        raise NotImplementedError

    def configure_optimizers(self) -> None: ...


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Gaussian(independent=False), "Gaussian.distribution(...).log_prob: it returned shape (12, 1) for 12 steps"),
        (Gaussian(independent=True, axes=2), "Gaussian.value: it returned shape (12, 1) for 12 steps"),
    ],
)
def test_numbers_that_are_not_one_for_each_step(policy: Any, told: str) -> None:
    loop: Any = PolicyGradientLoop(OptimizerLoop())
    data = Rollout(
        torch.zeros(12, 1, 4),
        torch.zeros(12, 1, 1),
        *(torch.ones(12, 1), torch.zeros(12, 1, 4)),
        *(torch.zeros(12, 1, dtype=torch.bool), torch.zeros(12, 1, dtype=torch.bool)),
        torch.ones(12, 1, dtype=torch.bool),
    )
    with pytest.raises(ModuleError) as error:
        loop.samples(policy, data)
    remedy = "Return one number for each: `.squeeze(-1)`, or `torch.distributions.Independent(..., 1)`."
    assert str(error.value) == f"{told}. {remedy}"


def test_a_module_that_is_no_actor_critic() -> None:
    class NoCritic(nn.Module):
        def act(self, observations: Tensor) -> Tensor:
            return torch.zeros(len(observations), dtype=torch.int64)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise NotImplementedError

        def configure_optimizers(self) -> None: ...

    trainer: Any = Trainer(max_epochs=1, fit_loop=tree([cart_pole()]))
    with pytest.raises(ModuleError) as error:
        trainer.fit(NoCritic(), range(1))
    assert str(error.value) == (
        "NoCritic.distribution: there is no such method, and PolicyGradientLoop needs a ActorCritic. Define "
        "`def distribution(self, observations)`."
    )
