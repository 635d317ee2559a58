"""Acting in environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Generic, cast

import torch
from torch import Tensor
from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops._core import Progress, ReadyCompleted
from typedloops._core.escape import call
from typedloops.errors import ModuleError
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.fit.step_loop import StepLoop
from typedloops.loops.run.optimization import step_counter
from typedloops.loops.run.over_batches import transfer_of
from typedloops.recipes.online.checks import check_positive
from typedloops.recipes.online.environments import AnyEnvironments, StepResult
from typedloops.recipes.online.rollout import Rollout
from typedloops.recipes.online.stepped import environments_of


@runtime_checkable
class Policy(Protocol):
    """A module that acts.

    `act` returns actions, (N, ...), for observations, (N, ...); what it draws it draws from torch's
    generators, which a checkpoint has.
    """

    def act(self, observations: Tensor, /) -> Tensor: ...


M = TypeVar("M", bound=Policy, default=Policy)


class CollectLoop(StepLoop[M, object, Rollout], Generic[M]):
    """Lets a policy act in environments for a number of steps, from where they are.

    ```
    on_run_start:
        new episodes begin                                # in the first run, and every `reset_every`
    advance, for each step:
        actions = M.act(observations)                     # without gradients
        observations, rewards, ... = environments.step(actions)
    on_run_end:
        C/M.on_rollout_end(rollout)
    ```

    Episodes go on from one run to the next.  Of those that end in an epoch the means `episode_return` and
    `episode_length` are logged, and `transitions`, how many steps there were in all.

    What is saved is where the environments are.  Those that have `state_dict` and `load_state_dict` save
    themselves.  Any other is brought back by its actions: reset with the same seed and acted in again.  Environments
    one by one are each reset with a seed of their own in each episode, so that is at most one episode; a vector of
    environments begins episodes by itself, so that is everything since the last reset of all, which
    `reset_every` bounds.  Either way it is exact if what they do follows from seed and actions; observations that
    then differ are an error.

    Args:
        environments: A vector environment, a list of environments, or one.
        steps: How many steps a run has in each of them.
        seed: What the seeds of episodes are made of.
        reset_every: Begin new episodes everywhere after so many runs; None is never.
        replay: Whether environments are brought back by their actions; otherwise a run that goes on begins new
            episodes, and is not exact.

    Its output is the rollout.
    """

    iteration_unit: ClassVar[str] = "steps"
    requires: ClassVar[type[object] | None] = Policy
    state_fields: ClassVar[tuple[str, ...]] = ("rollout_progress", "transitions")
    transient_fields: ClassVar[tuple[str, ...]] = ("_act",)

    _act: Callable[[Tensor], Tensor]

    def __init__(
        self,
        environments: AnyEnvironments,
        *,
        steps: int = 128,
        seed: int = 0,
        reset_every: int | None = None,
        replay: bool = True,
    ) -> None:
        check_positive(f"{type(self).__name__}.steps", steps)
        if reset_every is not None:
            check_positive(f"{type(self).__name__}.reset_every", reset_every)
        self.environments = environments
        self.steps = steps
        self.seed = seed
        self.reset_every = reset_every
        self.replay = replay
        self.rollout_progress: Progress[ReadyCompleted] = step_counter()
        self.transitions: int = 0
        self._stepped = environments_of(environments, seed=seed, replay=replay)
        self._returns = torch.zeros(self._stepped.count, dtype=torch.float64)
        self._lengths = torch.zeros(self._stepped.count, dtype=torch.int64)
        self._loaded: Mapping[str, object] | None = None
        self._steps: list[tuple[Tensor, Tensor, StepResult]] = []

    @property
    def run_progress(self) -> RunProgress:
        return RunProgress(self.completed_iterations, self.steps, self.iteration_unit)

    @property
    def done(self) -> bool:
        return self.completed_iterations == self.steps

    def reset(self) -> None:
        super().reset()
        self._steps = []

    def on_run_start(self, model: M, batch: object, batch_idx: int) -> None:
        self._act = self.in_precision(model.act)
        self._make_ready()
        self.rollout_progress.increment_ready()

    def advance(self, model: M, batch: object, batch_idx: int) -> None:
        observations = self._stepped.observations
        actions = self._actions_for(model, observations)
        result = self._stepped.step(actions)
        self._steps.append((observations, actions, result))
        self._count(result)

    def on_run_end(self) -> Rollout:
        self.rollout_progress.increment_completed()
        rollout, self._steps = self._rollout(), []
        self.context.log("transitions", float(self.transitions))
        self.context.hook("on_rollout_end")(rollout)
        return rollout

    def on_save_checkpoint(self) -> dict[str, object]:
        if self._loaded is not None:
            return dict(self._loaded)
        if not self.rollout_progress.total.ready:
            return {}
        return {"environments": self._stepped.state_dict(), "returns": self._returns, "lengths": self._lengths}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        # Environments are brought back when they are next acted in.
        self._loaded = state or None

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_act", None)
        self._steps = []

    def _make_ready(self) -> None:
        """Have the environments where the next step is to begin."""
        rollouts, loaded = self.rollout_progress.total.completed, self._loaded
        begins = rollouts == 0 or (self.reset_every is not None and rollouts % self.reset_every == 0)
        self._loaded = None
        if rollouts == 0:
            self.transitions = 0
            self._stepped.restart()
        if rollouts and loaded is not None:
            self._stepped.load_state_dict(cast("Mapping[str, object]", loaded["environments"]), begins=begins)
            self._returns = cast("Tensor", loaded["returns"]).clone()
            self._lengths = cast("Tensor", loaded["lengths"]).clone()
        elif begins:
            self._stepped.begin()
        if begins:
            self._returns.zero_()
            self._lengths.zero_()

    @torch.no_grad()
    def _actions_for(self, model: M, observations: Tensor) -> Tensor:
        actions: object = call(self._act, self._placed(observations))
        if not isinstance(actions, Tensor) or actions.shape[:1] != observations.shape[:1]:
            given = f"shape {tuple(actions.shape)}" if isinstance(actions, Tensor) else f"a {type(actions).__name__}"
            raise ModuleError(
                f"{type(model).__name__}.act",
                f"it returned {given} for observations of shape {tuple(observations.shape)}",
                "Return a tensor with one action for each observation.",
            )
        return actions.cpu()

    def _placed(self, observations: Tensor) -> Tensor:
        """Observations where, and in the numbers in which, the run computes."""
        place = transfer_of(self.context.device, self.context.number_type.converts_to)
        return observations if place is None else place(observations)

    def _count(self, result: StepResult) -> None:
        self.transitions += int(result.valid.sum())
        self._returns += result.rewards * result.valid
        self._lengths += result.valid
        ended = result.ended & result.valid
        if count := int(ended.sum()):
            for name, values in (("episode_return", self._returns), ("episode_length", self._lengths)):
                self.context.log(name, values[ended].double().mean(), "mean", count)
                values[ended] = 0

    def _rollout(self) -> Rollout:
        observations, actions, results = zip(*self._steps, strict=True)
        rewards, next_observations, *ends = (torch.stack(part) for part in zip(*results, strict=True))
        terminated, truncated, valid = map(self.context.on_device, ends)
        return Rollout(
            self._placed(torch.stack(observations)),
            self.context.on_device(torch.stack(actions)),
            self.context.on_device(rewards),
            self._placed(next_observations),
            terminated,
            truncated,
            valid,
        )
