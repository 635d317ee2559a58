"""One batch of automatic optimization."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Generic

from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops.loops.fit.optimization.automatic import AutomaticOptimization
from typedloops.loops.fit.optimization.make_step import StepMaker, StepSettings
from typedloops.loops.fit.optimization.several import Rota, SeveralSteps, check_step, check_turns
from typedloops.loops.run.asked import OPTIMIZER_INDEX
from typedloops.loops.run.hidden import HIDDENS
from typedloops.loops.run.position import OptimizerPosition
from typedloops.protocols.module import ConfiguresOptimizers, StepOutput, TrainingModule

M = TypeVar("M", bound=ConfiguresOptimizers, default=ConfiguresOptimizers)
B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)


class OptimizerLoopOf(AutomaticOptimization[M, B, O], Generic[M, B, O]):
    """Optimizes a module on one batch, whatever gives the loss of that; `OptimizerLoop` is the one for `training_step`.

    A subclass says in `loss_of` what gives the loss of a batch.  Everything around that is done here:
    `OptimizerLoop` has the order of it.

    Args:
        accumulate_grad_batches: How many batches there are to a step, or from which epoch on how
            many; None is what the trainer says.
        accumulation_weight: How much a batch counts among those of a step; None likewise.
        gradient_clip_val: The largest size of gradients; None likewise.
        gradient_clip_algorithm: What is not to be larger; None likewise.

    Its output is what the step returned; with several optimizers that for the last one for which it
    was not None.
    """

    @abstractmethod
    def loss_of(self, model: M) -> Callable[[B, int], O]:
        """What gives the loss of a batch, called with it and its index; it may return what a training step may."""

    def maker(self, step: Callable[[B, int], O], settings: StepSettings) -> StepMaker[B, O]:
        """What makes the steps of an epoch."""
        return StepMaker(step, self.context, settings)

    def step_of(self, model: M) -> Callable[[B, int], O]:
        self.check_automatic()
        optimizers = self.context.optimization.optimizers
        step = self.loss_of(model)
        maker = self.maker(step, self.settings())
        if not optimizers:
            return maker.training_step(OptimizerPosition())
        if len(optimizers) == 1:
            return self.one_step(maker)
        check_step(model, step, len(optimizers))
        return self._several_steps_of(maker, optimizers)

    def _several_steps_of(self, maker: StepMaker[B, O], optimizers: Sequence[Optimizer]) -> SeveralSteps[B, O]:
        count, window = len(optimizers), maker.settings.window
        rota = Rota(count, self.context.optimization.frequencies, window)
        check_turns(optimizers, rota, window, self.context.num_batches)
        return self.several_steps([maker] * count, rota)


class OptimizerLoop(OptimizerLoopOf[TrainingModule[B, O], B, O], Generic[B, O]):
    """Optimizes the module on one batch, with each optimizer that the module configured.

    ```
    advance:
        output = M.training_step(batch, batch_idx)        # None: this batch has no gradients
        C/M.on_before_zero_grad(optimizer)                # in the first batch of a window
        optimizer.zero_grad()
        C/M.on_before_backward(loss)
        loss.backward()                                   # loss / batches of the window
        C/M.on_after_backward()
        C/M.on_before_optimizer_step(optimizer)           # in the last batch of a window
        clip the gradients
        optimizer.step()
    ```

    A module may do some of it in its own way: `optimizer_step(epoch, batch_idx, optimizer,
    optimizer_closure)`, `optimizer_zero_grad(epoch, batch_idx, optimizer)`,
    `configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)`.  With
    the first of them, and for an optimizer that needs a closure (LBFGS), everything but the step
    itself happens in that closure: see `ClosureStep`.

    With several optimizers all of this is done for each, one after the other: the training step and
    the hooks that get the optimizer are also given its index where they have a parameter
    `optimizer_idx`, which the training step must have, and the parameters that belong only to the
    others require no gradient meanwhile.  The output and the progress `optim_progress` are those of
    all of them, `optim_progress.each` has each by itself, and the scalars of each are metrics like
    `train_loss/optimizer_idx_0`.  With frequencies, `{"optimizer": ..., "frequency": 3}`, one
    optimizer has its turn on a batch: the first on three, the next on as many as its own
    frequency says, and so on, from the first in each epoch.  A turn lasts for a window.

    A window is as many batches as `accumulate_grad_batches` says, one by default; the last
    one of an epoch may be shorter.

    A module whose `configure_optimizers` returned None has its training step called and
    nothing else.

    Args:
        accumulate_grad_batches: How many batches there are to a step, or from which epoch on how
            many; None is what the trainer says.
        accumulation_weight: How much a batch counts among those of a step; None likewise.
        gradient_clip_val: The largest size of gradients; None likewise.
        gradient_clip_algorithm: What is not to be larger; None likewise.

    Its output is what the training step returned; with several optimizers that for the last one
    for which it was not None.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    gives: ClassVar[Mapping[str, Collection[str]]] = MappingProxyType({"training_step": (OPTIMIZER_INDEX, HIDDENS)})

    def loss_of(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        return model.training_step
