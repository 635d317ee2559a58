"""Reinforcement learning: CartPole solved by proximal policy optimization.

An iteration of collecting and learning takes the place of the optimization of a batch; epochs, the
schedule of the learning rate, clipping, validation and stopping are those of any other fit.

    python examples/cart_pole.py
"""

from __future__ import annotations

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.optim import Adam
from torch.optim.lr_scheduler import LinearLR

from typedloops import Callback, FitLoopOf, OptimizerLoop, Trainer, TrainerView, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.online import (
    CollectLoop,
    OnlineLoop,
    PolicyGradientLoop,
    PolicySamples,
    clipped_surrogate,
    episode_returns,
)

EPOCHS, ITERATIONS = 20, 5


def mlp(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class CartPolicy(nn.Module):
    """Pushes the cart to the left or to the right, so that the pole stays upright."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = mlp(2), mlp(1)
        self.evaluation = gymnasium.make_vec("CartPole-v1", num_envs=100)

    def distribution(self, observations: Tensor) -> Categorical:
        return Categorical(logits=self.actor(observations), validate_args=False)

    def value(self, observations: Tensor) -> Tensor:
        values: Tensor = self.critic(observations)
        return values.squeeze(-1)

    def act(self, observations: Tensor) -> Tensor:
        actions: Tensor = self.distribution(observations).sample()
        return actions

    def greedy(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.actor(observations)
        return logits.argmax(-1)

    def training_step(self, batch: PolicySamples, batch_idx: int) -> Tensor:
        distribution = self.distribution(batch.observations)
        advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
        policy_loss = clipped_surrogate(distribution.log_prob(batch.actions), batch.log_probs, advantages)
        value_loss = nn.functional.mse_loss(self.value(batch.observations), batch.returns)
        entropy: Tensor = distribution.entropy().mean()
        return policy_loss + 0.5 * value_loss - 0.01 * entropy

    def validation_step(self, batch: int, batch_idx: int) -> dict[str, Tensor]:
        """Plays 100 episodes; a batch is their seed."""
        return {"mean_return": episode_returns(self.greedy, self.evaluation, seed=batch).mean()}

    test_step = validation_step

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = Adam(self.parameters(), lr=2e-3)
        schedule = {"scheduler": LinearLR(optimizer, 1.0, 0.05, total_iters=EPOCHS * ITERATIONS), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class StopWhenSolved(Callback[CartPolicy]):
    def on_train_epoch_end(self, trainer: TrainerView, module: CartPolicy) -> None:
        metrics = trainer.metrics
        print(f"epoch {trainer.current_epoch}: {metrics['transitions']:.0f} steps, {metrics['mean_return']:.1f}")
        trainer.should_stop = metrics["mean_return"] >= 495


def main(seed: int = 0) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    environments = gymnasium.make_vec("CartPole-v1", num_envs=8)
    collect = CollectLoop[CartPolicy](environments, steps=128, seed=seed)
    learn = PolicyGradientLoop[CartPolicy, Tensor](OptimizerLoop[PolicySamples, Tensor](), passes=8, minibatch_size=256)
    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OnlineLoop(collect, learn))))
    trainer = Trainer(max_epochs=EPOCHS, gradient_clip_val=0.5, callbacks=[StopWhenSolved()], fit_loop=tree)
    print(trainer.fit_loop.tree())
    policy = CartPolicy()
    trainer.fit(policy, range(ITERATIONS), [1000 + seed])
    print(f"mean return over 100 episodes: {trainer.test(policy, [2000 + seed]).metrics['mean_return']:.1f}")


if __name__ == "__main__":
    main()
