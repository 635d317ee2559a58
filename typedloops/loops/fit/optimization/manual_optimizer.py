"""An optimizer as a module that optimizes by itself uses it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor
from torch.optim import Optimizer

from typedloops.loops.fit.optimization.toggling import toggled
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.optimization import Optimization
from typedloops.loops.run.position import OptimizerPosition


class ManualOptimizer:
    """One of the optimizers of a module that optimizes by itself.

    ```
    zero_grad:
        C/M.on_before_zero_grad(optimizer)
        optimizer.zero_grad()
    step:
        C/M.on_before_optimizer_step(optimizer)           # with a closure, whenever that was called
        optimizer.step()
    ```

    Args:
        context: The fit.
        index: Which of the optimizers it is.
    """

    def __init__(self, context: RunContext, index: int) -> None:
        position = OptimizerPosition(index, len(context.optimization.optimizers))
        self._optimization = context.optimization
        self._before_zero_grad = position.hook(context.hook("on_before_zero_grad"))
        self._before_step = position.hook(context.hook("on_before_optimizer_step"))
        self.optimizer: Optimizer = self._optimization.optimizers[index]
        """The optimizer itself."""

    @property
    def steps(self) -> int:
        """How many steps it has taken in this fit."""
        return self._optimization.steps_of(self.optimizer).total.completed

    def zero_grad(self) -> None:
        """Put the gradients away."""
        self._before_zero_grad(self.optimizer)
        self.optimizer.zero_grad()

    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        """Take a step; where the fit scales its losses, none if a gradient is not finite.

        Args:
            closure: Computes the gradients and returns the loss, for an optimizer that needs that.

        Raises:
            OptimizerError: There is a closure, and losses are scaled.
        """
        if closure is None:
            self._optimization.unscale(self.optimizer)
            self._before_step(self.optimizer)
            self._optimization.step(self.optimizer)
        else:
            self._optimization.step(self.optimizer, self._told_before(closure))

    def toggled(self) -> AbstractContextManager[None]:
        """For a while, what belongs only to the other optimizers requires no gradient."""
        return toggled(self.optimizer, self._optimization.optimizers)

    def _told_before(self, closure: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def told() -> Tensor:
            loss = closure()
            self._before_step(self.optimizer)
            return loss

        return told


class ManualRun:
    """What a module that optimizes by itself is given for a fit."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.optimization: Optimization = context.optimization
        self.optimizers: list[ManualOptimizer] = [
            ManualOptimizer(context, index) for index in range(len(self.optimization.optimizers))
        ]
