"""Optimization by the module itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import ClassVar, Generic

from typing_extensions import TypeVar

from typedloops._core.escape import call
from typedloops.loops.fit.step_loop import StepLoop, keeps_contract
from typedloops.loops.run.hidden import HIDDENS
from typedloops.protocols.module import StepOutput, TrainingModule

B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)


class ManualOptimization(StepLoop[TrainingModule[B, O], B, O], Generic[B, O]):
    """Runs the training step of a module with `automatic_optimization = False`.

    ```
    advance:
        output = M.training_step(batch, batch_idx)        # which steps its optimizers itself
    ```

    The steps of every optimizer that the module configured are counted, whoever takes
    them.  `ManualModule` has what such a module may want.  Its output is what the training step returned.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    gives: ClassVar[Mapping[str, Collection[str]]] = MappingProxyType({"training_step": (HIDDENS,)})

    def advance(self, model: TrainingModule[B, O], batch: B, batch_idx: int) -> None:
        self.output = call(self._step_of(model), batch, batch_idx)

    def bind(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        return self._step_of(model) if keeps_contract(self, ManualOptimization) else super().bind(model)

    def _step_of(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        return self.in_precision(self.context.remembering(model.training_step))
