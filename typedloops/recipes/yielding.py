"""A training step that yields one loss for each optimizer: what follows a yield runs after that optimizer's step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import ClassVar, Generic, cast

from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops._core.escape import call, escaped_from, name_of
from typedloops.errors import ConfigurationError, OptimizerError, StepOutputError, add_note
from typedloops.loops.fit.optimization.automatic import AutomaticOptimization
from typedloops.loops.fit.optimization.make_step import StepMaker, StepSettings, needs_closure
from typedloops.loops.fit.optimization.several import Rota, check_turns
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.hidden import SWITCH
from typedloops.loops.run.position import OptimizerPosition
from typedloops.protocols.module import ConfiguresOptimizers, StepOutput

B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)
B_contra = TypeVar("B_contra", contravariant=True)
O_co = TypeVar("O_co", bound=StepOutput, covariant=True, default=StepOutput)


GRAPH_IS_GONE = ("backward through the graph a second time", "modified by an inplace operation")
"""What torch says of a loss that uses what an earlier loss was made of."""


@runtime_checkable
class YieldingModule(ConfiguresOptimizers, Protocol[B_contra, O_co]):
    """What `YieldLoop` asks for: a generator that yields a loss for each optimizer, in their order.

    What it yields is what a plain step returns: a scalar loss, a mapping with the key `loss`, or None to
    leave this optimizer out on this batch.
    """

    def training_step(self, batch: B_contra, batch_idx: int, /) -> Generator[O_co, None, None]: ...


class YieldLoop(AutomaticOptimization[YieldingModule[B, O], B, O], Generic[B, O]):
    """Optimizes on one batch with each loss that the training step yields, one after the other.

    ```
    advance:
        losses = M.training_step(batch, batch_idx)
        for each optimizer, with what belongs only to the others requiring no gradient:
            output = next(losses)                         # the step goes on from its last yield; None: no gradients
            C/M.on_before_zero_grad(optimizer)            # in the first batch of a window
            optimizer.zero_grad()
            C/M.on_before_backward(loss)
            loss.backward()                               # loss / batches of the window
            C/M.on_after_backward()
            C/M.on_before_optimizer_step(optimizer)       # in the last batch of a window
            clip the gradients
            optimizer.step()
        next(losses)                                      # what comes after the last yield; it yields no more
        losses.close()                                    # whatever happened: `finally` in the step is run
    ```

    The tree, in which a type checker refuses a module with another step:

    ```
    FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(YieldLoop[Batch, Tensor]())))
    ```

    In a default tree it takes the place of the optimizer loop,
    `trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=YieldLoop())`.

    Windows of batches, clipping, precision, schedulers, metrics such as `train_loss/optimizer_idx_0`
    and a module's own `optimizer_step` are those of `OptimizerLoop`.  Not to be had are an optimizer that
    looks at its loss several times (LBFGS), frequencies (yield None instead) and pieces of a
    batch along time: each is an error.

    It saves `optim_progress`; a batch is never saved in its middle, so that nothing of a step under way is.

    Args:
        accumulate_grad_batches: As in `OptimizerLoop`, like the rest.
        accumulation_weight: Likewise.
        gradient_clip_val: Likewise.
        gradient_clip_algorithm: Likewise.

    Its output is the last that was yielded and not None.
    """

    requires: ClassVar[type[object] | None] = YieldingModule

    def step_of(self, model: YieldingModule[B, O]) -> Callable[[B, int], O]:
        self.check_automatic()
        settings = self.settings()
        count = self._check(model, settings)
        losses = YieldedLosses(model.training_step, count, self.context)
        maker = _YieldedStepMaker(losses, self.context, settings)
        rota = Rota(count, window=settings.window)
        step = self.one_step(maker) if count == 1 else self.several_steps([maker] * count, rota)
        return YieldedSteps(step, losses)

    def _check(self, model: YieldingModule[B, O], settings: StepSettings) -> int:
        """How many optimizers there are.

        Raises:
            OptimizerError: There is none, or one that a yielded loss is not enough for.
            ConfigurationError: Batches are split along time.
        """
        optimization, where = self.context.optimization, name_of(model.configure_optimizers)
        optimizers, name = optimization.optimizers, type(self).__name__
        if not optimizers:
            raise OptimizerError(
                where,
                f"it returned no optimizer, and {name} takes a step for each loss that is yielded",
                "Return an optimizer for each loss.",
            )
        if optimization.frequencies:
            raise OptimizerError(
                where,
                f"its optimizers have frequencies, and with {name} each has its loss on every batch",
                "Leave them out, and yield None where an optimizer is to rest.",
            )
        for optimizer in optimizers:
            if needs_closure(optimizer):
                raise OptimizerError(
                    where,
                    f"{type(optimizer).__name__} looks at its loss several times for each step, and {name} has it once",
                    "Use another optimizer, or OptimizerLoop, whose step can be called anew.",
                )
        if self.context.hidden is not None:
            raise ConfigurationError(
                SWITCH, f"{name} goes through a step once for each batch", f"Leave {SWITCH} out, or use OptimizerLoop."
            )
        count = len(optimizers)
        check_turns(optimizers, Rota(count, window=settings.window), settings.window, None)
        return count


class YieldedLosses(Generic[B, O]):
    """The losses of the batch at hand, each of which is there once.

    Args:
        step: The module's own generator function.
        count: How many losses it is to yield.
        context: The run, in whose precision the step computes.
    """

    def __init__(self, step: Callable[[B, int], Generator[O, None, None]], count: int, context: RunContext) -> None:
        context.asked_for_precision = True
        self.step = step
        self._count = count
        self._next = context.in_precision(self._go_on)
        self._losses: Generator[O, None, None] | None = None
        self._given = 0

    def begin(self, batch: B, batch_idx: int) -> None:
        """A batch begins; nothing of its step has run yet."""
        self._losses, self._given = call(self.step, batch, batch_idx), 0

    def give(self, index: int) -> O:
        """The loss for the optimizer with this index.

        Raises:
            StepOutputError: There is none.
            OptimizerError: It was given already.
        """
        if index < self._given:
            raise OptimizerError(
                f"optimizer {index}",
                f"its loss was asked for twice on one batch, and {name_of(self.step)} has yielded it",
                "Call the closure of `optimizer_step` once for each step.",
            )
        try:
            output = self._next()
        except StopIteration:
            raise self._miscounted(str(index)) from None
        self._given = index + 1
        return output

    def end(self) -> None:
        """Let the step run to its end.

        Raises:
            StepOutputError: It yields once more.
        """
        try:
            self._next()
        except StopIteration:
            return
        raise self._miscounted(f"more than {self._count}")

    def close(self) -> None:
        """Leave the step wherever it is."""
        losses, self._losses = self._losses, None
        if losses is not None:
            losses.close()

    def _go_on(self) -> O:
        try:
            return next(cast("Generator[O, None, None]", self._losses))
        except RuntimeError as error:
            # What Python makes of a StopIteration that escapes from a generator.
            if isinstance(error.__cause__, StopIteration) and str(error) == "generator raised StopIteration":
                raise escaped_from(self.step) from error.__cause__
            raise

    def _miscounted(self, yielded: str) -> StepOutputError:
        return StepOutputError(
            name_of(self.step),
            f"it yielded {yielded} {'loss' if yielded == '1' else 'losses'} for a batch, and the number of optimizers "
            f"is {self._count}",
            "Yield one loss for each optimizer, in the order of configure_optimizers; None leaves one out.",
        )


class YieldedSteps(Generic[B, O]):
    """The steps of all optimizers on a batch; called with it and its index.

    Args:
        steps: What takes them, asking `losses` on the way.
        losses: Where they come from.
    """

    def __init__(self, steps: Callable[[B, int], O], losses: YieldedLosses[B, O]) -> None:
        self.__wrapped__ = steps
        self._losses = losses

    def __call__(self, batch: B, batch_idx: int) -> O:
        self._losses.begin(batch, batch_idx)
        try:
            output = self.__wrapped__(batch, batch_idx)
            self._losses.end()
        except RuntimeError as error:
            if any(said in str(error) for said in GRAPH_IS_GONE):
                add_note(
                    error,
                    f"{name_of(self._losses.step)}: what an earlier loss was made of has lost its graph by now, or its "
                    "parameters have changed since. Detach it, or compute it anew after the yield.",
                )
            raise
        finally:
            self._losses.close()
        return output


class _YieldedStepMaker(StepMaker[B, O], Generic[B, O]):
    """Makes steps whose loss is the next that is yielded."""

    def __init__(self, losses: YieldedLosses[B, O], context: RunContext, settings: StepSettings) -> None:
        # It is asked for its name only.
        super().__init__(cast("Callable[[B, int], O]", losses.step), context, settings)
        self._losses = losses

    def training_step(self, position: OptimizerPosition) -> Callable[[B, int], O]:
        return _NextLoss(self._losses, position.index)


class _NextLoss(Generic[B, O]):
    """Called in place of a training step, for the optimizer with this index."""

    def __init__(self, losses: YieldedLosses[B, O], index: int) -> None:
        self.__wrapped__ = losses.step
        self._give = partial(losses.give, index)

    def __call__(self, batch: B, batch_idx: int) -> O:
        return self._give()
