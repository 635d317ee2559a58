"""Learning on data in several passes of minibatches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Generic, cast

import torch
from torch import Tensor
from typing_extensions import TypeVar

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import ConfigurationError
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.optimization.accumulation import largest_window
from typedloops.loops.fit.optimization.optimizer_loop import OptimizerLoop
from typedloops.loops.fit.optimization.splitting import count_items, split_along_items
from typedloops.loops.fit.step_loop import StepLoop
from typedloops.loops.run.hidden import like
from typedloops.protocols.loop import LoopProtocol
from typedloops.recipes.online.checks import check_positive

M = TypeVar("M", default=object)
D = TypeVar("D", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)


class MinibatchLoop(StepLoop[M, D, S], Generic[M, D, B, S]):
    """Learns on data that was collected: several passes over it, in minibatches, each in another order.

    ```
    on_run_start:
        samples = self.samples(model, data)               # a subclass says what is learnt of the data
    advance, for each pass:
        for each minibatch of the shuffled samples:
            output = optimizer_loop.run(model, minibatch, minibatch_idx)
    ```

    The index goes on from pass to pass.  A subclass may end early, between two passes: `done` may look at
    `self.output`, that of the last minibatch.

    Args:
        optimizer_loop: Optimizes on one minibatch.
        passes: How often each sample is learnt on.
        minibatch_size: How many samples a minibatch has; the last one of a pass may have fewer.

    Its output is that of the last minibatch.
    """

    iteration_unit: ClassVar[str] = "passes"
    optimizer_loop: Slot[LoopProtocol[[M, B, int], S]] = Slot()
    transient_fields: ClassVar[tuple[str, ...]] = ("_samples", "_minibatches")

    _samples: B | None = None
    _minibatches: int = 0

    def __init__(
        self, optimizer_loop: LoopProtocol[[M, B, int], S], *, passes: int = 4, minibatch_size: int = 64
    ) -> None:
        check_positive(f"{type(self).__name__}.passes", passes)
        check_positive(f"{type(self).__name__}.minibatch_size", minibatch_size)
        self.optimizer_loop = optimizer_loop
        self.passes = passes
        self.minibatch_size = minibatch_size

    @typed_connect
    def connect(self, *, optimizer_loop: LoopProtocol[[M, B, int], S] | None = None) -> None:
        """Put a loop into the slot; None leaves it as it is."""

    @abstractmethod
    def samples(self, model: M, data: D) -> B:
        """What is learnt of `data`, as one large batch.

        Returns:
            Tensors in tuples, named tuples, lists and mappings, whose first axis is the samples.
        """

    def minibatches(self, samples: B) -> Iterator[B]:
        """The minibatches of one pass."""
        order = torch.randperm(count_items(samples))
        return split_along_items(_taken(samples, order), self.minibatch_size)

    @property
    def run_progress(self) -> RunProgress:
        return RunProgress(self.completed_iterations, self.passes, self.iteration_unit)

    @property
    def done(self) -> bool:
        return self.completed_iterations == self.passes

    def reset(self) -> None:
        super().reset()
        self._minibatches = 0

    def on_run_start(self, model: M, batch: D, batch_idx: int) -> None:
        self._check_no_windows()
        self._samples = self.in_precision(self.samples)(model, batch)

    def advance(self, model: M, batch: D, batch_idx: int) -> None:
        for minibatch in self.minibatches(cast("B", self._samples)):
            self.output = self.optimizer_loop.run(model, minibatch, self._minibatches)
            self._minibatches += 1

    def on_run_end(self) -> S:
        self._samples = None
        return super().on_run_end()

    def teardown(self) -> None:
        super().teardown()
        self._samples = None

    def _check_no_windows(self) -> None:
        """Refuse windows of batches, which are counted in batches of the epoch.

        Raises:
            ConfigurationError: Gradients are to be added up.
        """
        loop: object = self.optimizer_loop
        own = cast("OptimizerLoop[object]", loop).accumulate_grad_batches if isinstance(loop, OptimizerLoop) else None
        if largest_window(self.config.accumulate_grad_batches if own is None else own) > 1:
            raise ConfigurationError(
                "accumulate_grad_batches",
                f"{type(self).__name__} steps on each minibatch",
                "Leave it out, and use larger minibatches, or connect a MicroBatchOptimization.",
            )


def _taken(value: B, indices: Tensor) -> B:
    """The samples of these indices."""
    taken: object = value
    if isinstance(value, Tensor):
        taken = value[indices.to(value.device)] if value.ndim else value
    elif is_mapping(value):
        taken = {key: _taken(item, indices) for key, item in value.items()}
    elif is_list_or_tuple(value):
        taken = like(value, [_taken(item, indices) for item in value])
    return taken  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # of the kind of `value`
