"""One batch of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from typing_extensions import TypeVar

from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.step_loop import StepLoop, bind, keeps_contract
from typedloops.protocols.loop import LoopProtocol

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)


class TrainingBatchLoop(StepLoop[M, B, S], Generic[M, B, S]):
    """Hands a batch to the loop that optimizes on it.

    ```
    advance:
        optimizer_loop.run(model, batch, batch_idx)
        or, if M.automatic_optimization is False, manual_loop.run(model, batch, batch_idx)
    ```

    Args:
        optimizer_loop: Optimizes a module that leaves it to the loops.
        manual_loop: Runs a module that optimizes by itself; by default `optimizer_loop`
            serves for both.

    Its output is that of the loop that ran.
    """

    optimizer_loop: Slot[LoopProtocol[[M, B, int], S]] = Slot()
    manual_loop: Slot[LoopProtocol[[M, B, int], S] | None] = Slot(required=False)

    def __init__(
        self,
        optimizer_loop: LoopProtocol[[M, B, int], S],
        manual_loop: LoopProtocol[[M, B, int], S] | None = None,
    ) -> None:
        self.optimizer_loop = optimizer_loop
        self.manual_loop = manual_loop

    @typed_connect
    def connect(
        self,
        *,
        optimizer_loop: LoopProtocol[[M, B, int], S] | None = None,
        manual_loop: LoopProtocol[[M, B, int], S] | None = None,
    ) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    def advance(self, model: M, batch: B, batch_idx: int) -> None:
        self.output = self.loop_for(model).run(model, batch, batch_idx)

    def bind(self, model: M) -> Callable[[B, int], S]:
        return bind(self.loop_for(model), model) if keeps_contract(self, TrainingBatchLoop) else super().bind(model)

    def loop_for(self, model: M) -> LoopProtocol[[M, B, int], S]:
        """The child that optimizes this module; asked once an epoch."""
        return self.optimizer_loop if _is_automatic(model) or self.manual_loop is None else self.manual_loop

    def idle_children(self, module: object) -> tuple[str, ...]:
        if self.manual_loop is None:
            return ()
        return ("manual_loop",) if _is_automatic(module) else ("optimizer_loop",)


def _is_automatic(module: object) -> bool:
    return bool(getattr(module, "automatic_optimization", True))
