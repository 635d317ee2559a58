"""One batch after another: the inside of every epoch, and the step of automatic optimization."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Generic, cast

from typing_extensions import TypeVar

from typedloops._core.batch_errors import check_counts, none_batch
from typedloops._core.calls import AnyCallable
from typedloops._core.escape import call, escaped_from
from typedloops._core.reference.hooks import StopFlag
from typedloops._core.reference.progress import BatchProgress, Progress, ReadyCompleted
from typedloops._core.status import BatchStatus

if TYPE_CHECKING:
    from typedloops._core.optimizing import Differentiated, Loss, Scaler, SteppingOptimizer, Window

B = TypeVar("B")
O = TypeVar("O")
R = TypeVar("R")


class Nothing(Enum):
    """The place of a batch that is not there."""

    NOTHING = 0


NOTHING = Nothing.NOTHING


class OptimizerStep(Generic[B, O]):
    """One step of automatic optimization; called with a batch and its index.

    ```
    output = training_step(batch, batch_idx)      # None: nothing more is done
    on_before_zero_grad; optimizer.zero_grad()
    on_before_backward; loss.backward(); on_after_backward
    on_before_optimizer_step; clip(); optimizer.step()
    ```

    With a window, gradients are zeroed in its first batch and the optimizer steps in its last.  With
    a scaler, the scaled loss is differentiated, gradients are unscaled before the hook, and a step
    that it leaves out is ready and not completed.
    """

    def __init__(
        self,
        training_step: Callable[[B, int], O],
        optimizer: SteppingOptimizer,
        zero_grad_progress: Progress,
        step_progress: Progress,
        *,
        zero_grad: Callable[[], object] | None,
        loss_type: type[Loss],
        loss_of: Callable[[O], Loss],
        explain: Callable[[Loss, RuntimeError], None],
        window: Window[B] | None = None,
        clip: Callable[[], object] | None = None,
        scaler: Scaler | None = None,
        before_zero_grad: AnyCallable | None = None,
        before_backward: AnyCallable | None = None,
        after_backward: AnyCallable | None = None,
        before_optimizer_step: AnyCallable | None = None,
    ) -> None:
        self.__wrapped__ = training_step
        self._optimizer = optimizer
        self._zero_grad = zero_grad
        self._optimizer_step = optimizer.step
        self._zero_grad_progress = zero_grad_progress
        self._step_progress = step_progress
        self._loss_type = loss_type
        self._loss_of = loss_of
        self._last_loss: Loss | None = None
        self._callee: object = None
        self._explain = explain
        self._window = window
        self._clip = clip
        self._scaler = scaler
        self._before_zero_grad = before_zero_grad
        self._before_backward = before_backward
        self._after_backward = after_backward
        self._before_optimizer_step = before_optimizer_step

    def __call__(self, batch: B, batch_idx: int) -> O:
        try:
            return self._take(batch, batch_idx)
        except StopIteration as stop:
            raise escaped_from(self._callee) from stop

    def _take(self, batch: B, batch_idx: int) -> O:
        output = self._call(self.__wrapped__, batch, batch_idx)
        window = self._window
        if output is not None:
            self._learn(output, batch)
            if window is None:
                self._step()
        if window is not None and window.closes_at(batch_idx) and window.close():
            self._step()
        return output

    def _learn(self, output: O, batch: B) -> None:
        is_loss = type(output) is self._loss_type
        loss = cast("Loss", output) if is_loss else self._call(self._loss_of, output)
        # The last loss lives until here: with its graph die the nodes that add up the gradients,
        # and the graph just built would have had to make them anew.
        self._last_loss = loss
        window = self._window
        if window is None or not window.is_open:
            self._put_grads_away()
        if self._before_backward:
            self._call(self._before_backward, loss)
        share = loss if window is None else self._call(window.share, loss, batch)
        self._differentiate(loss, share if self._scaler is None else self._call(self._scaler.scale, share))
        if self._after_backward:
            self._call(self._after_backward)

    def _put_grads_away(self) -> None:
        self._zero_grad_progress.increment_ready()
        if self._before_zero_grad:
            self._call(self._before_zero_grad, self._optimizer)
        self._zero_grad_progress.increment_started()
        if self._zero_grad is None:
            set_grads_to_none(self._optimizer)
        else:
            self._call(self._zero_grad)
        self._zero_grad_progress.increment_completed()

    def _step(self) -> None:
        if self._scaler is not None:
            self._call(self._scaler.unscale)
        if self._before_optimizer_step:
            self._call(self._before_optimizer_step, self._optimizer)
        if self._clip is not None:
            self._call(self._clip)
        self._step_progress.increment_ready()
        if self._scaler is None:
            self._call(self._optimizer_step)
        elif not self._call(self._scaler.step):
            return
        self._step_progress.increment_completed()

    def _differentiate(self, loss: Loss, share: Loss) -> None:
        try:
            self._call(share.backward)
        except RuntimeError as error:
            self._explain(loss, error)
            raise

    def _call(self, function: AnyCallable[R], *args: object) -> R:
        self._callee = function
        return function(*args)


def set_grads_to_none(optimizer: SteppingOptimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in cast("Iterable[Differentiated]", group["params"]):
            parameter.grad = None


class BatchDriver(Generic[B, O]):
    """Drives batches through a step, one or many at a call.

    For each batch:

    ```
    batch = next(batches)             # and, of a loader without a length, the one after it
    batch = transform(batch)          # ready
    before(batch, batch_idx)
    gate(batch, batch_idx)    # -1: SKIPPED; otherwise started
    output = step(batch, batch_idx)   # processed
    consume(output, batch, batch_idx) # unless the output is None
    after_step()
    after(output, batch, batch_idx)   # completed
    ```

    Args:
        batches: Where the batches come from.
        step: What to do with a batch.
        progress: The counters; batches are numbered on from `progress.current.ready`.
        stop_flag: Looked at after each batch.
        source: What to call the loader in an error.
        length: How many batches the loader says it has, or None.
        limit: How many batches to drive at most, or None.
        transform: Applied to each batch, or None.
        before: Called before each step.
        gate: The module's own batch-start hook, which may answer -1, or None.
        outputs: A list to which every output is added, or None.
        consume: Given each output that is not None, or None.
        after_step: Called after each step, or None.
        after: Called after each step with its output.
        steps: The counter that `max_steps` limits, or None.
        max_steps: How many optimizer steps to take at most, or None.
        on_exhausted: Given the `StopIteration` of the loader, to see where it comes from, or None.
        pause: Looked at after each batch: `run` then returns early, and may be called again; or None.
        begun: A batch that is at its step already: the last one that `progress` counts as started, or None.
        upcoming: A batch that was already fetched after those, or None.
    """

    def __init__(
        self,
        batches: Iterable[B],
        step: Callable[[B, int], O],
        progress: BatchProgress,
        stop_flag: StopFlag,
        *,
        source: str,
        length: int | None = None,
        limit: int | None = None,
        transform: Callable[[B], B] | None = None,
        before: Iterable[AnyCallable] = (),
        gate: AnyCallable | None = None,
        outputs: list[O] | None = None,
        consume: Callable[[O, B, int], object] | None = None,
        after_step: Callable[[], object] | None = None,
        after: Iterable[AnyCallable] = (),
        steps: ReadyCompleted | None = None,
        max_steps: int | None = None,
        on_exhausted: Callable[[StopIteration], object] | None = None,
        pause: StopFlag | None = None,
        begun: B | None = None,
        upcoming: B | None = None,
    ) -> None:
        check_counts(source, length=length, limit=limit, max_steps=max_steps)
        self._batches = iter(batches)
        self._step = step
        self._progress = progress
        self._stop_flag = stop_flag
        self._pause = StopFlag() if pause is None else pause
        self._source = source
        self._length = length
        self._limit = limit
        self._transform = transform
        self._before = tuple(before)
        self._gate = gate
        self._outputs = outputs
        self._consume = consume
        self._after_step = after_step
        self._after = tuple(after)
        self._steps = steps
        self._max_steps = max_steps
        self._on_exhausted = on_exhausted
        self._begun = begun
        self._index = progress.current.ready - (begun is not None)
        self._upcoming: B | Nothing = NOTHING if upcoming is None else upcoming
        self._ended = False
        self._last = -1 if length is None else length if limit is None else min(length, limit)
        self.last_output: O | None = None
        reached = limit is not None and limit <= self._index
        self.status = BatchStatus.LIMIT if reached else BatchStatus.RUNNING

    @property
    def upcoming(self) -> B | None:
        """A batch that is fetched and not yet driven: of a loader without a length there is one, until its end."""
        return None if self._upcoming is NOTHING else self._upcoming

    def run(self, count: int = -1) -> BatchStatus:
        """Drive `count` batches (all, when negative), fewer when something ends the epoch.

        At the end of the epoch the loader's iterator is let go.
        """
        if self._stop_flag.requested:
            self.status = BatchStatus.STOPPED
        while count != 0 and self.status is BatchStatus.RUNNING:
            count -= 1
            self._advance()
            if self._pause.requested:
                break
        if self.status is not BatchStatus.RUNNING:
            self._batches = iter(())
            self._upcoming = NOTHING
        return self.status

    def _advance(self) -> None:
        if self._begun is not None:
            batch, self._begun = self._begun, None
            # Where a length or the limit tells, the end was not seen, and the loader is asked for it.
            told = self._index < self._last or self._index + 1 == self._limit
            self._ended = self._progress.is_last_batch and not told
        elif (begun := self._begin()) is NOTHING:
            return
        else:
            batch = begun
        self._finish(batch)

    def _begin(self) -> B | Nothing:
        """Fetch a batch and announce it; nothing when there is none, or it is to be skipped with all others."""
        batch = self._upcoming if self._upcoming is not NOTHING else self._fetch()
        self._upcoming = NOTHING
        if batch is NOTHING:
            self.status = BatchStatus.EXHAUSTED
            return NOTHING
        if batch is None:
            raise none_batch(self._source, self._index)
        self._progress.is_last_batch = self._is_last()
        index = self._index
        if self._transform is not None:
            batch = call(self._transform, batch)
        self._progress.increment_ready()
        for listener in self._before:
            call(listener, batch, index)
        if self._gate is not None and _is_skip(call(self._gate, batch, index)):
            self.status = BatchStatus.SKIPPED
            return NOTHING
        self._progress.increment_started()
        return batch

    def _finish(self, batch: B) -> None:
        index = self._index
        # Let go of the last output first: two graphs at a time are slower than one.
        self.last_output = None
        output = call(self._step, batch, index)
        self._progress.increment_processed()
        self.last_output = output
        if self._outputs is not None:
            self._outputs.append(output)
        if self._consume is not None and output is not None:
            call(self._consume, output, batch, index)
        if self._after_step is not None:
            call(self._after_step)
        for listener in self._after:
            call(listener, output, batch, index)
        self._progress.increment_completed()
        self._index += 1
        self.status = self._decide()

    def _fetch(self) -> B | Nothing:
        try:
            return next(self._batches)
        except StopIteration as stop:
            if self._on_exhausted is not None:
                self._on_exhausted(stop)
            return NOTHING

    def _is_last(self) -> bool:
        """Whether the batch at hand is the last; only where no length tells is one more fetched."""
        if self._index < self._last:
            return self._index + 1 == self._last
        if self._index + 1 == self._limit:
            return True
        self._upcoming = self._fetch()
        self._ended = self._upcoming is NOTHING
        return self._ended

    def _decide(self) -> BatchStatus:
        if self._stop_flag.requested:
            return BatchStatus.STOPPED
        if self._max_steps is not None and self._steps is not None and self._steps.completed >= self._max_steps:
            return BatchStatus.MAX_STEPS
        if self._index == self._limit:
            return BatchStatus.LIMIT
        return BatchStatus.EXHAUSTED if self._ended else BatchStatus.RUNNING


def _is_skip(answer: object) -> bool:
    return type(answer) is int and answer == -1
