"""Collecting and learning as sibling loops."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn

from tests.recipes.kills import killed_and_resumed, seed_all
from tests.recipes.policies import ENVIRONMENTS, CartPolicy, Fits, cart_pole, cart_poles, the_same, tree
from typedloops import (
    Callback,
    FitLoopOf,
    MicroBatchOptimization,
    OptimizerLoop,
    Trainer,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.errors import (
    ConfigurationError,
    EscapedStopIteration,
    ModuleError,
    NonFiniteError,
    ResumeError,
    StateError,
)
from typedloops.recipes.online import (
    CollectLoop,
    MinibatchLoop,
    OnlineLoop,
    PolicyGradientLoop,
    Rollout,
    Transitions,
    episode_returns,
)
from typedloops.testing import check_loop_contract


class KeepRollouts(Callback[nn.Module]):
    """Keeps what was collected."""

    def __init__(self) -> None:
        self.rollouts: list[Rollout] = []

    def on_rollout_end(self, trainer: TrainerView, module: nn.Module, rollout: Rollout) -> None:
        self.rollouts.append(rollout)


def rollouts_in(environments: Any, iterations: int = 6, **settings: Any) -> list[Rollout]:
    keeps = KeepRollouts()
    Trainer(max_epochs=1, callbacks=[keeps], fit_loop=tree(environments, **settings)).fit(
        CartPolicy(), range(iterations)
    )
    return keeps.rollouts


# What is collected


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_a_step_leads_to_the_next_or_to_the_end_of_its_episode(kind: str) -> None:
    rollouts = rollouts_in(ENVIRONMENTS[kind]())
    observations, following, ended, valid = (
        torch.cat([getattr(rollout, name) for rollout in rollouts])
        for name in ("observations", "next_observations", "ended", "valid")
    )
    goes_on = (valid & ~ended)[:-1]
    assert torch.equal(observations[1:][goes_on], following[:-1][goes_on])
    terminated = torch.cat([rollout.terminated for rollout in rollouts])
    last = following[valid & terminated]
    assert bool(((last[:, 0].abs() > 2.4) | (last[:, 2].abs() > 0.2095)).all())
    assert len(last) >= 3
    # What comes after an end is the beginning of another episode, once there is something to be done in it.
    begins = torch.cat([ended, torch.zeros_like(ended[:1])])[:-1] if bool(valid.all()) else ~valid
    begun = observations[1:][begins[:-1]]
    assert len(begun) >= 3
    assert bool((begun.abs() <= 0.05).all())


@pytest.mark.parametrize("kind", sorted(ENVIRONMENTS.keys() - {"savable"}))
def test_a_time_limit_truncates(kind: str) -> None:
    rollouts = rollouts_in(ENVIRONMENTS[kind](), iterations=10)
    truncated = torch.cat([rollout.truncated & rollout.valid for rollout in rollouts])
    assert truncated.any()
    lengths = torch.cat([rollout.valid for rollout in rollouts]).sum()
    assert sum(map(len, rollouts)) == lengths == sum(len(rollout.transitions().rewards) for rollout in rollouts)


def test_a_step_that_only_begins_an_episode_is_left_out() -> None:
    together = torch.cat([rollout.valid for rollout in rollouts_in(cart_poles(3, AutoresetMode.NEXT_STEP))])
    assert not together.all()
    for kind in ("same step", "disabled", "one by one"):
        assert torch.cat([rollout.valid for rollout in rollouts_in(ENVIRONMENTS[kind]())]).all()


def test_the_metrics_are_those_of_whole_episodes() -> None:
    keeps = KeepRollouts()
    trainer: Any = Trainer(max_epochs=1, callbacks=[keeps], fit_loop=tree([cart_pole(), cart_pole()]))
    result = trainer.fit(CartPolicy(), range(8))
    lengths: list[int] = []
    for environment in range(2):
        ended = torch.cat([rollout.ended[:, environment] for rollout in keeps.rollouts]).nonzero().flatten()
        lengths += (ended - torch.cat([torch.tensor([-1]), ended[:-1]])).tolist()
    assert len(lengths) >= 4
    assert result.metrics["episode_return"] == pytest.approx(np.mean(lengths))
    assert result.metrics["episode_length"] == pytest.approx(np.mean(lengths))
    assert result.metrics["transitions"] == 8 * 12 * 2


def test_new_episodes_everywhere_every_so_often() -> None:
    rollouts = rollouts_in(cart_poles(3), steps=2, reset_every=2)
    begun = [bool((rollout.observations[0].abs() <= 0.05).all()) for rollout in rollouts]
    assert begun == [True, False] * 3
    assert not torch.equal(rollouts[0].observations[0], rollouts[2].observations[0])


def test_other_seeds_are_other_episodes() -> None:
    seen = {rollouts_in([cart_pole()], 1, seed=seed)[0].observations[0].numpy().tobytes() for seed in range(5)}
    assert len(seen) == 5


def test_returns_of_whole_episodes() -> None:
    policy = CartPolicy()

    def left(observations: Tensor) -> Tensor:
        return torch.zeros(len(observations), dtype=torch.int64)

    returns = episode_returns(left, cart_poles(50), seed=3)
    assert bool(((returns >= 8) & (returns <= 11)).all())
    assert torch.equal(returns, episode_returns(left, cart_poles(50), seed=3))
    assert not torch.equal(returns, episode_returns(left, cart_poles(50), seed=4))
    assert 8 <= episode_returns(policy.act, cart_pole())[0] <= 12


# It learns


def test_it_learns_to_keep_the_pole_up() -> None:
    environments = gymnasium.make_vec("CartPole-v1", num_envs=8)
    torch.manual_seed(3)
    policy = CartPolicy()
    learn: Any = PolicyGradientLoop(OptimizerLoop(), passes=4, minibatch_size=64)
    online: Any = OnlineLoop(CollectLoop(environments, steps=64), learn)
    trainer: Any = Trainer(max_epochs=2, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(online))))
    result = trainer.fit(policy, range(6))
    assert 12 * 4 * 7 < result.optimizer_steps <= 12 * 4 * 8  # what only begins an episode is left out
    assert result.metrics["episode_return"] > 50  # one that knows nothing comes to 22


def test_a_second_fit_begins_anew() -> None:
    fits = Fits(lambda: tree(cart_poles(3)))
    trainer = fits.trainer()
    seed_all(0)
    first = fits.run(trainer)
    seed_all(0)
    assert the_same(first, fits.run(trainer))


def test_a_fit_that_is_gone_on_with_is_in_the_same_episodes() -> None:
    seed_all(0)
    whole, keeps = CartPolicy(), KeepRollouts()
    Trainer(max_epochs=2, callbacks=[keeps], fit_loop=tree(cart_poles(3))).fit(whole, range(3))
    seed_all(0)
    policy = CartPolicy()
    trainer: Any = Trainer(max_epochs=1, fit_loop=tree(cart_poles(3)))
    trainer.fit(policy, range(3))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(policy, range(3), resume=True)
    assert all(map(torch.equal, whole.parameters(), policy.parameters()))


def test_it_fits_without_a_trainer() -> None:
    fits = Fits(lambda: tree(cart_poles(3)))
    seed_all(0)
    expected = fits.run(fits.trainer())
    seed_all(0)
    module = CartPolicy()
    loop = tree(cart_poles(3))
    loop.max_epochs = 2
    loop.run(module, range(3), [7])
    assert all(torch.equal(weight, expected[0][name]) for name, weight in module.state_dict().items())


def test_a_subclass_may_end_between_two_passes() -> None:
    class UntilGood(PolicyGradientLoop[CartPolicy, Tensor]):
        @property
        def done(self) -> bool:
            return super().done or (self.output is not None and self._minibatches >= 3)

    loop = tree(cart_poles(3))
    online = loop.epoch_loop.batch_loop.optimizer_loop
    optimizer_loop: Any = OptimizerLoop()
    online.connect(learn_loop=UntilGood(optimizer_loop, passes=50, minibatch_size=12))
    result = Trainer(max_epochs=1, fit_loop=loop).fit(CartPolicy(), range(1))
    assert result.optimizer_steps == 3


def test_each_pass_has_every_sample_once_in_another_order() -> None:
    class Numbers(MinibatchLoop[nn.Module, Tensor, dict[str, Tensor], Tensor]):
        def samples(self, model: nn.Module, data: Tensor) -> dict[str, Tensor]:
            return {"number": data, "double": 2 * data}

    loop = Numbers(OptimizerLoop(), minibatch_size=4)  # type: ignore[arg-type]
    samples = loop.samples(nn.Identity(), torch.arange(10))
    passes = [list(loop.minibatches(samples)) for _ in range(2)]
    orders = [torch.cat([batch["number"] for batch in one]).tolist() for one in passes]
    assert [len(batch["number"]) for batch in passes[0]] == [4, 4, 2]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert all(torch.equal(2 * batch["number"], batch["double"]) for batch in passes[0])


# Killed and gone on with


PLACES = [*((kind, 4) for kind in ENVIRONMENTS), ("vector", 1), ("vector", 3), ("one by one", 1), ("one by one", 3)]
"""Kinds of environments, and after which of six iterations, three to an epoch, it is killed."""


@pytest.mark.parametrize(("kind", "after"), PLACES)
def test_it_goes_on_with_the_same_bits(kind: str, after: int, tmp_path: Path) -> None:
    fits = Fits(lambda: tree(ENVIRONMENTS[kind]()))
    seed_all(0)
    expected = fits.run(fits.trainer())
    resumed = killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", after)
    assert the_same(expected, resumed)


@pytest.mark.parametrize("after", [2, 3])
def test_new_episodes_are_the_same_without_a_replay(after: int, tmp_path: Path) -> None:
    fits = Fits(lambda: tree(cart_poles(3), reset_every=1, replay=False))
    seed_all(0)
    expected = fits.run(fits.trainer())
    assert the_same(expected, killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", after))


@pytest.mark.parametrize("after", [3, 4])
def test_a_replay_goes_back_to_the_last_reset_only(after: int, tmp_path: Path) -> None:
    fits = Fits(lambda: tree(cart_poles(3), reset_every=4))
    seed_all(0)
    expected = fits.run(fits.trainer())
    assert the_same(expected, killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", after))


def test_without_a_replay_it_goes_on_with_new_episodes(tmp_path: Path) -> None:
    fits = Fits(lambda: tree([cart_pole()], replay=False))
    seed_all(0)
    expected = fits.run(fits.trainer())
    resumed = killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", 4)
    assert not the_same(expected, resumed)
    assert resumed[1]["transitions"] == 6 * 12


class Wandering(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds something that no seed says."""

    drift = 0.0

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        type(self).drift += 1e-3
        return observation + np.float32(self.drift), *rest


def test_what_cannot_be_brought_back_is_an_error(tmp_path: Path) -> None:
    fits = Fits(lambda: tree([Wandering(cart_pole())]))
    with pytest.raises(ResumeError) as error:
        killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", 4)
    assert str(error.value) == (
        "Wandering: brought back by its actions it gives other observations than it gave: not everything that it does "
        "follows from its seed and its actions, or it keeps something from episode to episode. Give it `state_dict` "
        "and `load_state_dict`; or CollectLoop(..., replay=False), which begins new episodes where a run goes on."
    )


def test_other_environments_do_not_go_on(tmp_path: Path) -> None:
    counts = iter([3, 2])
    fits = Fits(lambda: tree([cart_pole() for _ in range(next(counts))]))
    with pytest.raises(StateError) as error:
        killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", 4)
    assert str(error.value) == (
        "CollectLoop.environments: the state is that of 3 of TimeLimit, SeparateEnvironments with the seed 5, and here "
        "is 2 of TimeLimit, SeparateEnvironments with the seed 5. Give the environments and the seed that there were."
    )


def test_the_loops_keep_the_contract() -> None:
    def make() -> Any:
        loop = tree([cart_pole()], steps=4)
        loop.max_epochs = 1
        return loop

    check_loop_contract(make, CartPolicy(), [0, 1])


# Another way to learn: a replay buffer


class QPolicy(nn.Module):
    """Deep Q-learning: acts at random now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))

    def act(self, observations: Tensor) -> Tensor:
        best = self.net(observations).argmax(-1)
        return torch.where(torch.rand(best.shape) < 0.1, torch.randint(2, best.shape), best)

    def training_step(self, batch: Transitions, batch_idx: int) -> Tensor:
        expected = self.net(batch.observations).gather(1, batch.actions[:, None]).squeeze(1)
        with torch.no_grad():
            target = batch.rewards + 0.99 * ~batch.terminated * self.net(batch.next_observations).amax(1)
        return nn.functional.smooth_l1_loss(expected, target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class ReplayLoop(MinibatchLoop[QPolicy, Rollout, Transitions, Tensor]):
    """Learns on random minibatches of the last 100 transitions."""

    transient_fields: ClassVar[tuple[str, ...]] = ("kept",)
    kept: Transitions | None = None

    def samples(self, model: QPolicy, data: Rollout) -> Transitions:
        new = data.transitions()
        begins = self.context.optimization.steps.total.completed == 0  # another fit
        pairs = zip(self.kept or new, new, strict=True)
        self.kept = new if self.kept is None or begins else Transitions(*(torch.cat(pair)[-100:] for pair in pairs))
        return self.kept

    def minibatches(self, samples: Transitions) -> Iterator[Transitions]:
        for _ in range(4):
            chosen = torch.randint(len(samples.rewards), (16,))
            yield Transitions(*(part[chosen] for part in samples))

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"kept": None if self.kept is None else list(self.kept)}

    def on_load_checkpoint(self, state: Mapping[str, Any]) -> None:
        self.kept = None if state["kept"] is None else Transitions(*state["kept"])


@pytest.mark.parametrize("after", [1, 4])
def test_a_replay_buffer_is_another_way_to_learn(after: int, tmp_path: Path) -> None:
    def make_tree() -> Any:
        collect: Any = CollectLoop(cart_poles(3), steps=12)
        optimizer_loop: Any = OptimizerLoop()
        learn = ReplayLoop(optimizer_loop, passes=1)
        return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OnlineLoop(collect, learn))))

    class NoValidation(Fits):
        def run(self, trainer: Any) -> Any:
            module = self.make_module()
            result = trainer.fit(module, range(3))
            return dict(module.state_dict()), result.metrics

    fits = NoValidation(make_tree, QPolicy)
    seed_all(0)
    expected = fits.run(fits.trainer())
    assert the_same(expected, killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", after))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_it_computes_in_other_numbers(precision: str) -> None:
    policy = CartPolicy()
    before = copy.deepcopy(policy)
    settings: Any = {"precision": precision}
    trainer: Any = Trainer(max_epochs=1, fit_loop=tree(cart_poles(3)), **settings)
    trainer.fit(policy, range(1))
    weights = [weight.double() for weight in policy.parameters()]
    assert all(bool(weight.isfinite().all()) for weight in weights)
    assert not any(map(torch.equal, weights, (weight.double() for weight in before.parameters())))


def test_micro_batches_of_minibatches() -> None:
    def fitted(optimizer_loop: Any) -> Any:
        torch.manual_seed(0)
        policy, loop = CartPolicy(), tree(cart_poles(3))
        loop.epoch_loop.batch_loop.optimizer_loop.learn_loop.connect(optimizer_loop=optimizer_loop)
        trainer: Any = Trainer(max_epochs=1, fit_loop=loop)
        return policy, trainer.fit(policy, range(1)).optimizer_steps

    (whole, steps), (parts, steps_of_parts) = fitted(OptimizerLoop()), fitted(MicroBatchOptimization(5))
    assert steps == steps_of_parts
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_many_actions_are_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typedloops.recipes.online.recorded.BLOCK", 5)
    fits = Fits(lambda: tree(cart_poles(3)))
    seed_all(0)
    expected = fits.run(fits.trainer())
    assert the_same(expected, killed_and_resumed(fits.trainer, fits.run, tmp_path / "checkpoint", 4))


# What does not fit


def fit(environments: Any, module: nn.Module | None = None, **settings: Any) -> None:
    trainer: Any = Trainer(max_epochs=1, fit_loop=tree(environments), **settings)
    trainer.fit(CartPolicy() if module is None else module, range(2))


def test_a_module_that_does_not_act() -> None:
    class Still(nn.Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise NotImplementedError

        def configure_optimizers(self) -> None: ...

    with pytest.raises(ModuleError) as error:
        fit([cart_pole()], Still())
    assert str(error.value) == (
        "Still.act: there is no such method, and CollectLoop needs a Policy. Define `def act(self, observations)`."
    )


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        (lambda _: torch.zeros(2), "shape (2,)"),
        (lambda _: torch.tensor(0), "shape ()"),
        (lambda _: [0, 0, 0], "a list"),
    ],
)
def test_actions_that_are_not_one_for_each_observation(actions: Any, told: str) -> None:
    class Odd(CartPolicy):
        def act(self, observations: Tensor) -> Tensor:
            given: Tensor = actions(observations)
            return given

    with pytest.raises(ModuleError) as error:
        fit(cart_poles(3), Odd())
    assert str(error.value) == (
        f"Odd.act: it returned {told} for observations of shape (3, 4). Return a tensor with one action for each "
        "observation."
    )


@pytest.mark.parametrize(
    ("environments", "told"),
    [
        ([cart_pole()], "TimeLimit.step: the policy gave the action 2, which is not in Discrete(2)"),
        (
            cart_poles(1),
            "CartPoleVectorEnv.step: the policy gave the action array([2]), which is not in MultiDiscrete([2])",
        ),
    ],
)
def test_an_action_outside_of_the_space(environments: Any, told: str) -> None:
    class Far(CartPolicy):
        def act(self, observations: Tensor) -> Tensor:
            return torch.full((len(observations),), 2)

    with pytest.raises(ModuleError) as error:
        fit(environments, Far())
    assert str(error.value) == (
        f"{told}. Give actions of this space, or wrap the environment: gymnasium.wrappers.ClipAction."
    )


ONE_ARRAY = "Wrap it so that it is one array: gymnasium.wrappers.FlattenObservation."


def test_an_environment_that_ends_by_an_exception_does_not_shorten_the_rollout() -> None:
    class Exhausted(gymnasium.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            raise StopIteration

    with pytest.raises(EscapedStopIteration, match=r"Exhausted\.step"):
        fit([Exhausted(cart_pole())])


class Broken(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives something else than an environment does."""

    def __init__(self, observation: Any = None, reward: float = 1.0) -> None:
        super().__init__(cart_pole())
        self.observation = observation
        self.reward = reward

    def step(self, action: Any) -> Any:
        observation, _, *rest = self.env.step(action)
        return observation if self.observation is None else self.observation, self.reward, *rest


@pytest.mark.parametrize(
    ("environment", "error", "told"),
    [
        (
            Broken(np.array([0, np.nan, 0, 0], dtype=np.float32)),
            NonFiniteError,
            "Broken: it gave the observation tensor([0., nan, 0., 0.]). Look at the actions that it was given before.",
        ),
        (
            Broken(reward=float("inf")),
            NonFiniteError,
            "Broken: it gave the rewards tensor([inf]). Look at how it rewards.",
        ),
        (
            Broken({}),
            ConfigurationError,
            f"Broken: its observation is a dict. {ONE_ARRAY}",
        ),
    ],
)
def test_what_an_environment_must_not_give(environment: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as raised:
        fit([environment])
    assert str(raised.value) == told


def test_environments_that_are_none() -> None:
    remedy = "Give what has the shape of a gymnasium environment, a list of those, or a vector environment."
    no_environment = "{} has no `reset` and `step`"
    cases: dict[str, Any] = {"there are none": [], no_environment.format(3): [3], no_environment.format(4): 4}
    for problem, given in cases.items():
        with pytest.raises(ConfigurationError) as error:
            CollectLoop[Any](given)
        assert str(error.value) == f"environments: {problem}. {remedy}"


def test_autoreset_that_is_not_known() -> None:
    odd = cart_poles(2)
    odd.metadata = {"autoreset_mode": "Sometimes"}
    with pytest.raises(ConfigurationError) as error:
        CollectLoop(odd)
    assert str(error.value) == (
        "CartPoleVectorEnv.metadata: the autoreset mode 'Sometimes' is not known. It is one of gymnasium's: NEXT_STEP, "
        "SAME_STEP, DISABLED."
    )
    odd.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    with pytest.raises(ConfigurationError) as error:
        fit(odd)
    assert str(error.value) == (
        'CartPoleVectorEnv: its autoreset mode is SAME_STEP, and `infos` has no "final_obs" where episodes are over. '
        "Let it give their last observations there, as gymnasium's do."
    )


def test_gradients_are_not_added_up_over_iterations() -> None:
    with pytest.raises(ConfigurationError) as error:
        fit([cart_pole()], accumulate_grad_batches=2)
    assert str(error.value) == (
        "accumulate_grad_batches: PolicyGradientLoop steps on each minibatch. Leave it out, and use larger "
        "minibatches, or connect a MicroBatchOptimization."
    )


def test_settings_that_can_never_work() -> None:
    collect, learn, environments = CollectLoop[Any], PolicyGradientLoop[Any, Any], [cart_pole()]
    positive = "is no number of them. Give 1 or more."
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: collect(environments, steps=0), f"CollectLoop.steps: 0 {positive}"),
        (lambda: collect(environments, reset_every=-1), f"CollectLoop.reset_every: -1 {positive}"),
        (lambda: learn(OptimizerLoop(), passes=0), f"PolicyGradientLoop.passes: 0 {positive}"),
        (lambda: learn(OptimizerLoop(), minibatch_size=True), f"PolicyGradientLoop.minibatch_size: True {positive}"),
        (lambda: learn(OptimizerLoop(), gamma=1.5), "PolicyGradientLoop.gamma: it is 1.5. Give 0 to 1."),
    ]
    for call, told in cases:
        with pytest.raises(ConfigurationError) as error:
            call()
        assert str(error.value) == told
