"""Batches that do not fit into memory: taken in smaller ones, with the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeAlias, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core.escape import call, name_of
from typedloops._core.shapes import is_mapping
from typedloops.errors import ConfigurationError, LoaderError, OptimizerError, add_note
from typedloops.loops.fit.optimization.accumulation import divide_gradients
from typedloops.loops.fit.optimization.make_step import StepMaker, StepSettings, needs_closure
from typedloops.loops.fit.optimization.optimizer_loop import OptimizerLoop
from typedloops.loops.fit.optimization.progress import OptimizerProgress
from typedloops.loops.fit.optimization.splitting import count_items, split_along_items
from typedloops.loops.run.computing.out_of_memory import halved, is_out_of_memory, release_memory
from typedloops.loops.run.computing.rng import RngStates
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.hidden import SWITCH, cut
from typedloops.loops.run.metrics import batch_size_of, is_scalar
from typedloops.loops.run.position import OptimizerPosition
from typedloops.protocols.module import StepOutput
from typedloops.protocols.trainer import ClipAlgorithm

if TYPE_CHECKING:
    from typedloops._core.optimizing import Loss

B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)

Split: TypeAlias = Callable[[B, int], Iterable[B]]
"""Makes smaller batches of one, of so many items at most."""

CountItems: TypeAlias = Callable[[B], float]
"""How many items a batch has."""


class MicroBatchOptimization(OptimizerLoop[B, O], Generic[B, O]):
    """Optimizes on each batch in smaller ones, so small that memory suffices, with one step and its gradient.

    ```
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=MicroBatchOptimization(64))
    ```

    ```
    advance:
        for each micro-batch:
            output = M.training_step(micro_batch, batch_idx)
            ...                                           # as in OptimizerLoop; its loss counts by its items
        the step                                          # as in OptimizerLoop
        # memory ran out: the gradients are put away, and the batch is done anew with half the size
    ```

    The gradient is that of the whole batch, to rounding, for a loss that is a mean over items.  What
    depends on a whole batch, batch normalization say, sees micro-batches.  A batch that is done
    anew draws the random numbers of its first try; its hooks are called anew, and what the module
    changed by itself (running statistics) stays changed.  The size that was found is kept for the
    batches after it, and is saved.

    Args:
        micro_batch_size: How many items a micro-batch has at most; None is whole batches until
            memory runs out.
        split: Makes micro-batches of a batch; by default tensors, and those in lists, tuples and
            mappings, are split along their first axis.
        count: How many items a batch has, or what else its loss is a mean of; by default the length
            of its first tensor.
        gradient_clip_val: The largest size of gradients; None is what the trainer says.
        gradient_clip_algorithm: What is not to be larger; None likewise.

    Its output has the means of the loss and of the other scalars over the items of the batch; the
    rest of it is that of the last micro-batch.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("micro_batch_size",)

    def __init__(
        self,
        micro_batch_size: int | None = None,
        *,
        split: Split[B] | None = None,
        count: CountItems[B] | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: ClipAlgorithm | None = None,
    ) -> None:
        super().__init__(gradient_clip_val=gradient_clip_val, gradient_clip_algorithm=gradient_clip_algorithm)
        _check_size(f"{type(self).__name__}.micro_batch_size", micro_batch_size)
        self.micro_batch_size: int | None = micro_batch_size
        self.split = split
        self.count = count

    def maker(self, step: Callable[[B, int], O], settings: StepSettings) -> StepMaker[B, O]:
        return _MicroStepMaker(step, self.context, settings, self)

    def parts_of(self, batch: B) -> list[tuple[B, float]]:
        """The micro-batches of a batch, each with the number of its items.

        Raises:
            LoaderError: There are none, or they have no items.
        """
        size = self.micro_batch_size
        split: Split[B] = split_along_items if self.split is None else self.split
        count: CountItems[B] = count_items if self.count is None else self.count
        parts = [batch] if size is None else list(call(split, batch, size))
        counted = [(part, float(call(count, part))) for part in parts]
        if not counted or any(items <= 0 for _, items in counted):
            raise LoaderError(
                name_of(split),
                f"it made micro-batches of {[items for _, items in counted]} items of a batch",
                "Give `split` and `count` that tell of one item or more.",
            )
        return counted


class _MicroStepMaker(StepMaker[B, O], Generic[B, O]):
    """Makes steps that take a batch in micro-batches."""

    def __init__(
        self,
        step: Callable[[B, int], O],
        context: RunContext,
        settings: StepSettings,
        loop: MicroBatchOptimization[B, O],
    ) -> None:
        super().__init__(step, context, settings)
        self._loop = loop
        self._window: _MicroWindow[B]
        for name, unwanted in (("accumulate_grad_batches", settings.accumulates), (SWITCH, context.hidden is not None)):
            if unwanted:
                raise ConfigurationError(
                    name, f"{type(loop).__name__} splits each batch and steps once for it", f"Leave {name} out."
                )

    def make(
        self, optimizer: Optimizer, progress: OptimizerProgress, position: OptimizerPosition
    ) -> Callable[[B, int], O]:
        if needs_closure(optimizer):
            raise OptimizerError(
                type(self._loop).__name__,
                f"{type(optimizer).__name__} computes the gradients several times for each step, of one batch",
                "Use smaller batches, or another optimizer.",
            )
        window = self._window = _MicroWindow(optimizer)
        return _MicroSteps(super().make(optimizer, progress, position), window, self._loop)

    def window_of(self, optimizer: Optimizer) -> _MicroWindow[B]:
        return self._window


class _MicroWindow(Generic[B]):
    """The micro-batches of one batch, whose gradients are added up."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.total = 0.0
        self.items = 0.0
        self.is_last = False
        self.closed = False
        self._added = 0.0

    def begin(self, total: float) -> None:
        """A batch of so many items begins."""
        self.total, self._added, self.closed = total, 0.0, False

    @property
    def is_open(self) -> bool:
        return self._added > 0

    def share(self, loss: Loss, batch: B) -> Loss:
        self._added += self.items
        return loss if self.items == self.total else cast("Tensor", loss) * (self.items / self.total)

    def closes_at(self, batch_idx: int) -> bool:
        return self.is_last

    def close(self) -> bool:
        self.closed = True
        if 0 < self._added < self.total:  # some had no loss
            divide_gradients(self.optimizer, self._added / self.total)
        return self._added > 0


class _MicroSteps(Generic[B, O]):
    """One step on a batch, in micro-batches that become smaller when memory runs out."""

    def __init__(
        self, step: Callable[[B, int], O], window: _MicroWindow[B], loop: MicroBatchOptimization[B, O]
    ) -> None:
        self.__wrapped__ = step
        self._window = window
        self._loop = loop

    def __call__(self, batch: B, batch_idx: int) -> O:
        while True:
            before = RngStates()
            # What runs out of memory here is not helped by smaller parts.
            parts = self._loop.parts_of(batch)
            try:
                return self._take(parts, batch_idx)
            except Exception as error:
                self._shrink(batch_size_of(batch) or sum(items for _, items in parts), error)
            # Outside of `except`: until there the error keeps everything alive that was on the way to it.
            del parts
            for group in self._window.optimizer.param_groups:
                for parameter in cast("list[Tensor]", group["params"]):
                    parameter.grad = None
            release_memory()
            before.restore()

    def _take(self, parts: Sequence[tuple[B, float]], batch_idx: int) -> O:
        window = self._window
        window.begin(sum(items for _, items in parts))
        mean = _Mean()
        for number, (part, items) in enumerate(parts, 1):
            window.items, window.is_last = items, number == len(parts)
            mean.add(self.__wrapped__(part, batch_idx), items)
        return cast("O", mean.output)

    def _shrink(self, items: float, error: Exception) -> None:
        if self._window.closed and is_out_of_memory(error):
            add_note(error, "It ran out in the optimizer's step, which smaller micro-batches do not change.")
            raise error
        size = self._loop.micro_batch_size
        largest = max(1, int(items) if size is None else min(size, int(items)))
        self._loop.micro_batch_size = halved(largest, error, self._loop.path or type(self._loop).__name__)


class _Mean:
    """The outputs of micro-batches as one: the means of its scalars over the items, the rest as it was last."""

    def __init__(self) -> None:
        self._last: object = None
        self._sums: dict[object, Tensor | float] = {}
        self._dtypes: dict[object, torch.dtype] = {}
        self._items = 0.0

    def add(self, output: object, items: float) -> None:
        if output is None:
            return
        self._last = cut(output)
        self._items += items
        for name, value in _scalars(self._last).items():
            if isinstance(value, Tensor):
                self._dtypes[name] = value.dtype
            self._sums[name] = self._sums.get(name, 0.0) + _wide(value) * items

    @property
    def output(self) -> object:
        means = {name: self._as_given(name, value / self._items) for name, value in self._sums.items()}
        if not is_mapping(self._last):
            return means.get(WHOLE, self._last)
        return {name: means.get(name, value) for name, value in self._last.items()}

    def _as_given(self, name: object, mean: Tensor | float) -> Tensor | float:
        dtype = self._dtypes.get(name)
        return mean.to(dtype) if isinstance(mean, Tensor) and dtype is not None and dtype.is_floating_point else mean


def _wide(value: Tensor | float) -> Tensor | float:
    """A number in at least 32 bits: in 16 a sum is soon too large."""
    return value.to(torch.promote_types(value.dtype, torch.float32)) if isinstance(value, Tensor) else value


WHOLE = object()
"""The name of an output that is one scalar."""


def _scalars(output: object) -> dict[object, Tensor | float]:
    named = output.items() if is_mapping(output) else [(WHOLE, output)]
    return {name: value for name, value in named if is_scalar(value)}


def _check_size(where: str, size: object) -> None:
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ConfigurationError(where, f"{size!r} is no number of items", "Give 1 or more, or None for whole batches.")
