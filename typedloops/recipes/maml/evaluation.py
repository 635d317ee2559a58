"""Evaluating a module on tasks: before adaptation to them, and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from typing_extensions import Protocol, TypeVar

from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.slot import Slot
from typedloops.loops.evaluation import EvaluationEpochLoop, EvaluationResult, TestLoop, ValidationLoop
from typedloops.loops.run.kind import TEST, VALIDATION, LoadersKind
from typedloops.loops.run.position import LoaderPosition
from typedloops.loops.run.saving.sources import CheckpointPath
from typedloops.loops.run.settings.config import BatchCounts
from typedloops.protocols.data import LoadersSource
from typedloops.protocols.module import FitModule, StepOutput, TestModule, TrainingModule, ValidationModule
from typedloops.recipes.maml.tasks import (
    InnerLoop,
    Tasks,
    TaskSteps,
    as_tasks,
    check_steps,
    means,
    module_of,
    weights_for,
)

B = TypeVar("B", default=object)
B_contra = TypeVar("B_contra", contravariant=True)
V = TypeVar("V")


class AdaptationEpochLoop(EvaluationEpochLoop[Tasks[B]], Generic[B]):
    """Evaluates the batches of one loader of tasks, before adaptation to them and after.

    ```
    advance:
        for each number of steps:
            weights = inner_loop.run(task_steps, weights, support, steps)     # M.training_step on the support sets
            output = M.validation_step on the query sets, with the weights of each task
    ```

    In a test, `validation` is `test`.  The hooks are those of `EvaluationEpochLoop`.  The module is in eval mode
    all the while, and gradients are taken without a graph, also in inference mode.

    Args:
        kind: What is evaluated.
        inner_loop: Adapts the weights to the support sets.
        steps: After how many steps it is looked at; each number is begun anew.
        vectorized: As in `MetaOptimization`.

    Its output has the mean of each metric under names like `val_loss/steps_10`.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    inner_loop: Slot[InnerLoop[B]] = Slot()

    def __init__(
        self, kind: LoadersKind, inner_loop: InnerLoop[B], steps: Sequence[int], *, vectorized: bool = True
    ) -> None:
        super().__init__(kind)
        self.inner_loop = inner_loop
        self.steps: tuple[int, ...] = tuple(steps)
        for count in self.steps:
            check_steps(f"{type(self).__name__}.steps", count, least=0)
        self.vectorized = vectorized

    @typed_connect
    def connect(self, *, inner_loop: InnerLoop[B] | None = None) -> None:
        """Put a loop into the slot; None leaves it as it is."""

    def step_of(self, model: object, position: LoaderPosition) -> Callable[[Tasks[B], int], dict[str, Tensor]]:
        return _EvaluationStep(self, model, position.step_of(model, self.kind.step))


class _EvaluationStep(Generic[B]):
    """The step of an evaluation: the metrics of a batch of tasks after so many steps of adaptation to them."""

    def __init__(self, loop: AdaptationEpochLoop[B], model: object, step: Callable[[B, int], object]) -> None:
        self.__wrapped__ = step
        self._loop = loop
        self._module = module_of(model, type(loop).__name__)
        # That the module has one was checked when the run began.
        self._training_step = cast("TrainingModule[B, StepOutput]", self._module).training_step

    def __call__(self, batch: Tasks[B], batch_idx: int) -> dict[str, Tensor]:
        # What is made in inference mode cannot be differentiated, not even for a moment.
        with torch.inference_mode(False), torch.no_grad():
            tasks = cast("Tasks[B]", tree_map(_outside_inference, as_tasks(batch)))
            return {
                f"{name}/steps_{count}": value
                for count in self._loop.steps
                for name, value in self._after(count, tasks, batch_idx).items()
            }

    def _after(self, count: int, tasks: Tasks[B], batch_idx: int) -> dict[str, Tensor]:
        loop, module = self._loop, self._module
        adapts = TaskSteps(module, self._training_step, batch_idx, vectorized=loop.vectorized)
        judges = TaskSteps(module, self.__wrapped__, batch_idx, loss=loop.kind.loss, vectorized=loop.vectorized)
        weights = loop.inner_loop.run(adapts, weights_for(module, tasks), tasks.support, count)
        return means(judges.scalars(weights, tasks.query))


class AdaptationValidationLoop(ValidationLoop):
    """Validates on tasks, before adaptation to them and after: for the `val_loop` of a fit, and `trainer.validate`.

    Args:
        inner_loop: Adapts the weights to the support sets.
        steps: After how many steps it is looked at.
        vectorized: As in `MetaOptimization`.
        limit_batches: How many batches of each loader at most; None is what the trainer says.
    """

    def __init__(
        self,
        inner_loop: InnerLoop[V],
        steps: Sequence[int] = (0, 1, 5, 10),
        *,
        vectorized: bool = True,
        limit_batches: BatchCounts | None = None,
    ) -> None:
        epoch_loop: AdaptationEpochLoop[V] = AdaptationEpochLoop(VALIDATION, inner_loop, steps, vectorized=vectorized)
        super().__init__(limit_batches, epoch_loop=epoch_loop)

    # The batches are tasks of what the module's steps take; the base class says the same type of both.
    def run(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: FitModule[V, V, StepOutput],
        dataloaders: LoadersSource[Tasks[V]],
        *,
        ckpt_path: CheckpointPath | None = None,
    ) -> EvaluationResult:
        return super().run(cast("ValidationModule[Tasks[V]]", model), dataloaders, ckpt_path=ckpt_path)


class TestedModule(TrainingModule[B_contra, StepOutput], TestModule[B_contra], Protocol[B_contra]):
    """What adapts by its `training_step` and is tested by its `test_step`."""


class AdaptationTestLoop(TestLoop):
    """Tests on tasks, before adaptation to them and after: for `trainer.test`; see `AdaptationValidationLoop`."""

    def __init__(
        self,
        inner_loop: InnerLoop[V],
        steps: Sequence[int] = (0, 1, 5, 10),
        *,
        vectorized: bool = True,
        limit_batches: BatchCounts | None = None,
    ) -> None:
        epoch_loop: AdaptationEpochLoop[V] = AdaptationEpochLoop(TEST, inner_loop, steps, vectorized=vectorized)
        super().__init__(limit_batches, epoch_loop=epoch_loop)

    def run(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: TestedModule[V],
        dataloaders: LoadersSource[Tasks[V]],
        *,
        ckpt_path: CheckpointPath | None = None,
    ) -> EvaluationResult:
        return super().run(cast("TestModule[Tasks[V]]", model), dataloaders, ckpt_path=ckpt_path)


def _outside_inference(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value
