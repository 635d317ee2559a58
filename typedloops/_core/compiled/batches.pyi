from collections.abc import Callable, Iterable
from typing import Generic

from typing_extensions import TypeVar, disjoint_base

from typedloops._core.calls import AnyCallable
from typedloops._core.compiled.hooks import StopFlag
from typedloops._core.compiled.progress import BatchProgress, Progress, ReadyCompleted, Started
from typedloops._core.optimizing import Loss, Scaler, SteppingOptimizer, Window
from typedloops._core.status import BatchStatus

_B = TypeVar("_B")
_O = TypeVar("_O")
_L = TypeVar("_L", bound=Loss)

@disjoint_base
class OptimizerStep(Generic[_B, _O]):
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

    Args:
        training_step: The module's own step.
        optimizer: What takes the step.
        zero_grad_progress: Counts the calls of `zero_grad`.
        step_progress: Counts the calls of `step`.
        zero_grad: What puts the gradients away; None to have them set to None here, which is
            all that the `zero_grad` of torch's own optimizers does.
        loss_type: An output of exactly this type is the loss.
        loss_of: Finds the loss in any other output that is not None, or raises.
        explain: Raises a better error for a loss whose `backward` failed, or returns.
        window: Adds up the gradients of several batches for each step, or None.
        clip: Called right before each step, or None.
        scaler: Scales losses and takes the steps, or None.
        before_zero_grad: Called with the optimizer, or None.
        before_backward: Called with the loss, or None.
        after_backward: Called without arguments, or None.
        before_optimizer_step: Called with the optimizer, or None.
    """

    def __init__(
        self,
        training_step: Callable[[_B, int], _O],
        optimizer: SteppingOptimizer,
        zero_grad_progress: Progress[Started],
        step_progress: Progress[ReadyCompleted],
        *,
        zero_grad: Callable[[], object] | None,
        loss_type: type[_L],
        loss_of: Callable[[_O], _L],
        explain: Callable[[_L, RuntimeError], None],
        window: Window[_B] | None = None,
        clip: Callable[[], object] | None = None,
        scaler: Scaler | None = None,
        before_zero_grad: AnyCallable | None = None,
        before_backward: AnyCallable | None = None,
        after_backward: AnyCallable | None = None,
        before_optimizer_step: AnyCallable | None = None,
    ) -> None: ...
    @property
    def __wrapped__(self) -> Callable[[_B, int], _O]: ...
    def __call__(self, batch: _B, batch_idx: int) -> _O: ...

@disjoint_base
class BatchDriver(Generic[_B, _O]):
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

    Raises:
        EscapedStopIteration: Anything but the loader let a `StopIteration` out.
        LoaderError: A batch is None.
    """

    def __init__(
        self,
        batches: Iterable[_B],
        step: Callable[[_B, int], _O],
        progress: BatchProgress,
        stop_flag: StopFlag,
        *,
        source: str,
        length: int | None = None,
        limit: int | None = None,
        transform: Callable[[_B], _B] | None = None,
        before: Iterable[AnyCallable] = (),
        gate: AnyCallable | None = None,
        outputs: list[_O] | None = None,
        consume: Callable[[_O, _B, int], object] | None = None,
        after_step: Callable[[], object] | None = None,
        after: Iterable[AnyCallable] = (),
        steps: ReadyCompleted | None = None,
        max_steps: int | None = None,
        on_exhausted: Callable[[StopIteration], object] | None = None,
        pause: StopFlag | None = None,
        begun: _B | None = None,
        upcoming: _B | None = None,
    ) -> None: ...

    status: BatchStatus
    @property
    def upcoming(self) -> _B | None:
        """A batch that is fetched and not yet driven: of a loader without a length there is one, until its end."""
    @property
    def last_output(self) -> _O | None: ...
    def run(self, count: int = -1) -> BatchStatus:
        """Drive `count` batches (all, when negative), fewer when something ends the epoch.

        At the end of the epoch the loader's iterator is let go.
        """
