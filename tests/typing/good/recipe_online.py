"""Online learning: what is collected, what is learnt of it, and what the fit returns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from typing_extensions import assert_type

from typedloops import FitLoopOf, FitResult, OptimizerLoop, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.online import (
    CollectLoop,
    MinibatchLoop,
    OnlineLoop,
    PolicyGradientLoop,
    PolicySamples,
    Rollout,
    Transitions,
    episode_returns,
)


class Walk:
    """An environment that is a number; it needs no base class."""

    def __init__(self) -> None:
        self.position = 0.0

    def reset(self, *, seed: int | None = None) -> tuple[list[float], dict[str, object]]:
        self.position = 0.0
        return [self.position], {}

    def step(self, action: list[float]) -> tuple[list[float], float, bool, bool, dict[str, object]]:
        self.position += float(action[0])
        return [self.position], -self.position, abs(self.position) > 3, False, {}


class Walker(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)

    def distribution(self, observations: Tensor) -> Distribution:
        return torch.distributions.Independent(Normal(self.net(observations), 1.0), 1)

    def value(self, observations: Tensor) -> Tensor:
        return observations.squeeze(-1)

    def act(self, observations: Tensor) -> Tensor:
        return torch.randn(len(observations), 1)

    def training_step(self, batch: PolicySamples, batch_idx: int) -> Tensor:
        assert_type(batch.advantages, Tensor)
        loss: Tensor = self.net(batch.observations)
        return loss.square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


collect = CollectLoop[Walker]([Walk(), Walk()], steps=4)
learn = PolicyGradientLoop[Walker, Tensor](OptimizerLoop[PolicySamples, Tensor](), passes=1)
online = OnlineLoop(collect, learn)
assert_type(online, OnlineLoop[Walker, object, Rollout, Tensor])
online.connect(collect_loop=CollectLoop[Walker](Walk()))
trainer = Trainer(max_epochs=1, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(online))))
assert_type(trainer.fit(Walker(), range(2)), FitResult[Tensor])
assert_type(episode_returns(Walker().act, Walk(), seed=1), Tensor)


# A replay is another way to learn on the same rollouts.
class Critic(Walker):
    def training_step(self, batch: Transitions, batch_idx: int) -> Tensor:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        loss: Tensor = self.net(batch.next_observations)
        return loss.square().mean()


class Replay(MinibatchLoop[Critic, Rollout, Transitions, Tensor]):
    def samples(self, model: Critic, data: Rollout) -> Transitions:
        return data.transitions()


replay = OnlineLoop(CollectLoop[Critic](Walk(), steps=4), Replay(OptimizerLoop[Transitions, Tensor]()))
other = Trainer(max_epochs=1, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(replay))))
assert_type(other.fit(Critic(), range(2)), FitResult[Tensor])
