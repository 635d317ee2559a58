"""Meta-learning: weights from which a few gradient steps on a few samples solve a new task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import ClassVar, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from typedloops.errors import ConfigurationError, OptimizerError
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.optimization.optimizer_loop import OptimizerLoopOf
from typedloops.protocols.module import StepOutput, TrainingModule
from typedloops.recipes.maml.tasks import (
    InnerLoop,
    Tasks,
    TaskSteps,
    Weights,
    as_tasks,
    check_steps,
    means,
    module_of,
    weights_for,
)

B = TypeVar("B", default=object)


class AdaptationLoop(Loop[[TaskSteps[B], Weights, B, int], Weights], Generic[B]):
    """Adapts the weights of each task to its support set, by gradient descent; all tasks step together.

    ```
    advance, for each inner step:
        gradients = those of each task's loss on its support set, at its own weights
        weights = weights - lr * gradients
    ```

    Args:
        lr: How far each step goes along the gradient.
        second_order: Whether what comes after is differentiated through the gradients as well, as MAML does;
            otherwise they count as constants: first-order MAML, which takes less time and memory.
        only: The names of the parameters, or of the parts of the module, that adapt; None is all.  The head alone
            is ANIL (Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse?, https://arxiv.org/abs/1909.09157).

    Its output is the adapted weights.
    """

    iteration_unit: ClassVar[str] = "inner steps"
    transient_fields: ClassVar[tuple[str, ...]] = ("_weights",)

    _weights: Weights | None = None
    _taken: int = 0

    def __init__(self, lr: float = 0.01, *, second_order: bool = True, only: Sequence[str] | None = None) -> None:
        if not lr > 0:
            raise ConfigurationError(f"{type(self).__name__}.lr", f"{lr} leads nowhere", "Give more than 0.")
        self.lr = lr
        self.second_order = second_order
        self.only = only

    def adapting(self, weights: Weights) -> Collection[str]:
        """The names of the weights that adapt.

        Raises:
            ConfigurationError: There are none.
        """
        if self.only is None:
            return weights.keys()
        names = [name for name in weights if any(name == part or name.startswith(f"{part}.") for part in self.only)]
        if not names:
            raise ConfigurationError(
                f"{type(self).__name__}.only",
                f"no parameter that requires a gradient is in {', '.join(self.only) or 'nothing'}",
                f"Name some of {', '.join(weights)}, or the parts that they are in.",
            )
        return names

    def rate(self, name: str, weights: Weights) -> Tensor | float:
        """How far a step takes one of the weights along its gradient."""
        return self.lr

    @property
    def run_progress(self) -> RunProgress | None:
        return RunProgress(self._taken, self.total_iterations, self.iteration_unit) if self.under_way else None

    # Of its own count: what was loaded with the tree is that of a batch which is over.
    @property
    def done(self) -> bool:
        return self._taken >= (self.total_iterations or 0)

    def reset(self) -> None:
        self._taken = 0

    def on_run_start(self, tasks: TaskSteps[B], weights: Weights, support: B, steps: int) -> None:
        self._weights = weights
        self.total_iterations: int | None = steps

    def advance(self, tasks: TaskSteps[B], weights: Weights, support: B, steps: int) -> None:
        now = weights if self._weights is None else self._weights
        with nullcontext() if self.second_order else torch.no_grad():
            gradients = tasks.gradients(now, support, self.adapting(now))
        self._weights = {**now, **{name: now[name] - self.rate(name, now) * g for name, g in gradients.items()}}
        self._taken += 1

    def on_run_end(self) -> Weights:
        # They hold the graph of the whole adaptation, which is not to outlive the batch.
        weights, self._weights = self._weights, None
        return {} if weights is None else weights

    def teardown(self) -> None:
        self._weights = None


class MetaSGDLoop(AdaptationLoop[B], Generic[B]):
    """Adapts with a learning rate of its own for each weight, which is learnt with them: Meta-SGD.

    The rates are parameters of the module, made by `learning_rates`; what has none does not adapt.

    Args:
        rates: The name of the module's attribute that holds them.
        second_order: As in `AdaptationLoop`.

    Source: Li, Zhou, Chen, Li: Meta-SGD, https://arxiv.org/abs/1707.09835.
    """

    def __init__(self, rates: str = "rates", *, second_order: bool = True) -> None:
        super().__init__(second_order=second_order)
        self.rates = rates

    def adapting(self, weights: Weights) -> Collection[str]:
        names = [name for name in weights if self._key(name) in weights]
        if not names:
            raise ConfigurationError(
                f"{type(self).__name__}.rates",
                f"the module has no learning rates under {self.rates!r}",
                f"Write `self.{self.rates} = learning_rates(self, 0.01)` at the end of its `__init__`.",
            )
        return names

    def rate(self, name: str, weights: Weights) -> Tensor | float:
        return weights[self._key(name)]

    def _key(self, name: str) -> str:
        return f"{self.rates}.{_flat(name)}"


def learning_rates(module: nn.Module, lr: float) -> nn.ParameterDict:
    """A learning rate for each weight that `module` has by now, all of them `lr`; for `MetaSGDLoop`."""
    named = ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
    return nn.ParameterDict({_flat(name): nn.Parameter(torch.full_like(parameter, lr)) for name, parameter in named})


def _flat(name: str) -> str:
    """The name of a parameter without dots, which a `ParameterDict` does not take."""
    return name.replace(".", "-")


class MetaOptimization(OptimizerLoopOf[TrainingModule[B, StepOutput], Tasks[B], dict[str, Tensor]], Generic[B]):
    """Optimizes the weights that adaptation begins with: model-agnostic meta-learning (MAML).

    A batch is `Tasks`.  The module is one that `fit` takes: its `training_step` is called with the set of one task.

    ```
    advance:
        weights = inner_loop.run(task_steps, weights, support, steps)     # M.training_step on the support sets
        output = M.training_step on the query sets, with the weights of each task; its means over the tasks
        C/M.on_before_zero_grad, ..., optimizer.step()    # as in OptimizerLoop
    ```

    ```
    batch_loop: TrainingBatchLoop
    └─ optimizer_loop: MetaOptimization
       └─ inner_loop: AdaptationLoop
    ```

    Everything around the step, precision and accumulation and clipping as the trainer says, is that of `OptimizerLoop`;
    the optimizer is the one of `configure_optimizers`.  Of the inner loop nothing is saved: between two batches
    there are the weights that it begins with, and no others.

    Args:
        inner_loop: Adapts the weights to the support sets.
        steps: How many steps it is to take.
        vectorized: Whether all tasks of a batch are computed at once, under `torch.func.vmap`; otherwise one
            after the other, for steps that vmap cannot take.

    Its output has the loss after adaptation, and the other scalars of the step, each the mean over the tasks.

    Source: Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017,
    https://arxiv.org/abs/1703.03400.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    inner_loop: Slot[InnerLoop[B]] = Slot()

    def __init__(self, inner_loop: InnerLoop[B], *, steps: int = 1, vectorized: bool = True) -> None:
        super().__init__()
        check_steps(f"{type(self).__name__}.steps", steps)
        self.inner_loop = inner_loop
        self.steps = steps
        self.vectorized = vectorized

    @typed_connect
    def connect(self, *, inner_loop: InnerLoop[B] | None = None) -> None:
        """Put a loop into the slot; None leaves it as it is."""

    def loss_of(self, model: TrainingModule[B, StepOutput]) -> Callable[[Tasks[B], int], dict[str, Tensor]]:
        count = len(self.context.optimization.optimizers)
        if count > 1:
            raise OptimizerError(
                f"{type(self).__name__}",
                f"there are {count} optimizers, and adaptation has one loss for all weights",
                "Return one optimizer, with parameter groups where weights are to be optimized in different ways.",
            )
        return _MetaStep(self, module_of(model, type(self).__name__), model.training_step)


class _MetaStep(Generic[B]):
    """The step of automatic optimization: adapts to a batch of tasks and gives the loss after it."""

    def __init__(self, loop: MetaOptimization[B], module: nn.Module, step: Callable[[B, int], object]) -> None:
        self.__wrapped__ = step
        self._loop = loop
        self._module = module

    def __call__(self, batch: Tasks[B], batch_idx: int) -> dict[str, Tensor]:
        tasks = as_tasks(batch)
        steps = TaskSteps(self._module, self.__wrapped__, batch_idx, vectorized=self._loop.vectorized)
        begin = weights_for(self._module, tasks)
        adapted = self._loop.inner_loop.run(steps, begin, tasks.support, self._loop.steps)
        return means(steps.losses(adapted, tasks.query))
