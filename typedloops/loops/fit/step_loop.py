"""A loop over the parts of one batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Generic, cast

from typing_extensions import ParamSpec, TypeVar

from typedloops.loops.base.loop import CONTRACT
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.run.context import InRun
from typedloops.protocols.loop import LoopProtocol

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)


class StepLoop(InRun[[M, B, int], S], Generic[M, B, S]):
    """A loop whose run is one batch: its inputs are the module, the batch and its index.

    It runs `advance` once; a subclass writes that, and sets `output` in it:

    ```
    class Descent(StepLoop[Model, Batch, Tensor]):
        def advance(self, model: Model, batch: Batch, batch_idx: int) -> None:
            (optimizer,) = self.trainer.optimizers
            optimizer.zero_grad()
            self.output = model.training_step(batch, batch_idx)
            self.output.backward()
            optimizer.step()
    ```

    One that advances several times for each batch has a `done` and a `reset` of its own.
    The hooks around an optimizer's step (`on_before_backward` and so on) belong to
    `OptimizerLoop`: another loop calls those that it wants heard, `self.trainer.call_hook(...)`, or
    derives from `AutomaticOptimization` and has its steps made by the library.
    In mixed precision it calls `self.in_precision(model.training_step)`, and what scales losses
    in 16 bits is `self.context.optimization.scaler`.

    Its output is `output`; None where nothing set it, which skips the batch.
    """

    transient_fields: ClassVar[tuple[str, ...]] = ("_output", "_advanced")

    _output: S | None = None
    _advanced: bool = False

    # A property, because an attribute would be declared anew by each subclass that sets it.
    @property
    def output(self) -> S | None:
        """What this batch came to."""
        return self._output

    @output.setter
    def output(self, output: S | None) -> None:
        self._output = output

    @property
    def completed_iterations(self) -> int:
        """How many iterations of the present run, which is of one batch, are completed; 0 between batches."""
        return super().completed_iterations if self.under_way else 0

    @property
    def done(self) -> bool:
        return self._advanced

    def reset(self) -> None:
        self._advanced = False
        self._output = None

    def on_advance_start(self, model: M, batch: B, batch_idx: int) -> None:
        # Here, so that the `advance` of a subclass need not say it.
        self._advanced = True

    def on_run_end(self) -> S:
        return cast("S", self._output)

    def _progress_to_show(self) -> RunProgress | None:
        return super()._progress_to_show() if self.under_way else None

    def bind(self, model: M) -> Callable[[B, int], S]:
        """What to call for each batch of an epoch: `run` with the module filled in."""
        return partial(self.run, model)

    def in_precision(self, step: Callable[P, R]) -> Callable[P, R]:
        """`step`, a function of the module, computing in the numbers of the run: `Trainer(precision=...)`."""
        self.context.asked_for_precision = True
        return self.context.in_precision(step)

    def run(self, model: M, batch: B, batch_idx: int) -> S:
        return super().run(model, batch, batch_idx)

    def teardown(self) -> None:
        self._output = None


def bind(loop: LoopProtocol[[M, B, int], S], model: M) -> Callable[[B, int], S]:
    """`loop.bind(model)` of a `StepLoop`, of any other loop its `run` with the module filled in."""
    if isinstance(loop, StepLoop):
        return cast("StepLoop[M, B, S]", loop).bind(model)
    return partial(loop.run, model)


def keeps_contract(loop: object, base: type) -> bool:
    """Whether `loop` runs as `base` says: nothing since then changes a method of the contract."""
    cls = type(loop)
    later = (*(vars(kind) for kind in cls.__mro__[: cls.__mro__.index(base)]), vars(loop))
    return all(names.keys().isdisjoint(CONTRACT) for names in later)
