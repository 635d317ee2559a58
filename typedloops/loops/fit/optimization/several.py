"""Several optimizers that take their turns on each batch."""

from __future__ import annotations

import warnings
from bisect import bisect
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, cast

from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core.calls import AnyCallable
from typedloops._core.escape import name_of
from typedloops.errors import OptimizerError
from typedloops.loops.fit.optimization.progress import OptimizationProgress
from typedloops.loops.fit.optimization.toggling import sharing, toggled
from typedloops.loops.run.asked import OPTIMIZER_INDEX, asks_for
from typedloops.loops.run.metrics import Scalar, training_scalars
from typedloops.protocols.module import ConfiguresOptimizers, StepOutput

B = TypeVar("B")
O = TypeVar("O", bound=StepOutput)


@dataclass(frozen=True)
class Turn(Generic[B, O]):
    """What one of several optimizers does on a batch."""

    optimizer: Optimizer
    step: Callable[[B, int], O]


class Rota:
    """Which of several optimizers have their turn on a batch.

    Args:
        count: How many there are.
        frequencies: How often each has its turn before the next one has; without them all have it on
            every batch.
        window: How many batches a turn lasts: those to an optimizer step.
    """

    def __init__(self, count: int, frequencies: Sequence[int] = (), window: int = 1) -> None:
        self._everyone = range(count)
        self._ends = list(accumulate(frequencies))
        self._window = window

    def at(self, batch_idx: int) -> Sequence[int]:
        """The indices of those whose turn it is."""
        if not self._ends:
            return self._everyone
        place = batch_idx // self._window % self._ends[-1]
        return (bisect(self._ends, place),)

    @property
    def is_for_everyone(self) -> bool:
        """Whether all of them have their turn on every batch."""
        return not self._ends

    @property
    def batches(self) -> int:
        """How many batches it takes until the last of them has its first turn."""
        return (self._ends[-2] if self._ends else 0) * self._window + 1


class SeveralSteps(Generic[B, O]):
    """One step of automatic optimization for each optimizer whose turn it is; called with a batch and its index.

    ```
    for each optimizer whose turn it is:
        with the parameters of the others toggled off:
            its own step, `OptimizerStep` or `ClosureStep`
    ```

    What is returned is the output of the last of them that is not None.

    Args:
        turns: What each optimizer does.
        rota: Whose turn it is.
        progress: Is told who is at work.
        scalars: Where those of each optimizer's newest output are kept, for the metrics.
    """

    def __init__(
        self,
        turns: Sequence[Turn[B, O]],
        rota: Rota,
        progress: OptimizationProgress,
        scalars: MutableMapping[int, dict[str, Scalar]],
    ) -> None:
        self.__wrapped__: Callable[[B, int], O] = turns[0].step
        self._turns = turns
        self._optimizers = [turn.optimizer for turn in turns]
        self._rota = rota
        self._progress = progress
        self._scalars = scalars

    def __call__(self, batch: B, batch_idx: int) -> O:
        last: O | None = None
        for index in self._rota.at(batch_idx):
            output = self._take(index, batch, batch_idx)
            last = last if output is None else output
        self._progress.optimizer_position = 0
        return cast("O", last)

    def _take(self, index: int, batch: B, batch_idx: int) -> O:
        turn = self._turns[index]
        self._progress.optimizer_position = index
        with toggled(turn.optimizer, self._optimizers):
            output = turn.step(batch, batch_idx)
        if output is not None:
            self._scalars[index] = {name: _detached(value) for name, value in training_scalars(output).items()}
        return output


def check_step(module: ConfiguresOptimizers, step: AnyCallable, count: int) -> None:
    """Refuse a training step that cannot be told for which of `count` optimizers it is called.

    Args:
        module: What configured them.
        step: Gives the loss of a batch.
        count: How many there are.

    Raises:
        OptimizerError: It has no parameter for that.
    """
    if not asks_for(step, OPTIMIZER_INDEX):
        raise OptimizerError(
            name_of(module.configure_optimizers),
            f"it returned {count} optimizers, and {name_of(step)} has no parameter `{OPTIMIZER_INDEX}` to be told "
            "which of them its loss is for",
            f"Define `def training_step(self, batch, batch_idx, {OPTIMIZER_INDEX})`, which is called once for each; or "
            "set `automatic_optimization = False` on the module and step in training_step; or connect an optimizer "
            "loop of your own.",
        )


def check_turns(optimizers: Sequence[Optimizer], rota: Rota, window: int, batches: int | None) -> None:
    """Refuse windows that would mix up gradients; warn of an epoch that is over before the last has had its turn.

    Args:
        optimizers: Those that take turns.
        rota: Whose turn it is.
        window: How many batches there are to a step.
        batches: How many batches an epoch has, or None when that is not known.

    Raises:
        OptimizerError: Two of them would add up the gradients of one parameter at the same time.
    """
    if window > 1 and rota.is_for_everyone and (pair := sharing(optimizers)) is not None:
        raise OptimizerError(
            "accumulate_grad_batches",
            f"optimizers {pair[0]} and {pair[1]} share a parameter, whose gradients cannot be added up for both",
            "Give each parameter to one optimizer, give them frequencies, or step on every batch.",
        )
    if batches is not None and 0 < batches < rota.batches:
        warnings.warn(
            f"with these frequencies the last of {len(optimizers)} optimizers has its first turn on batch "
            f"{rota.batches - 1}, and an epoch has {batches} batches: it never steps.",
            UserWarning,
            stacklevel=2,
        )


def _detached(value: Scalar) -> Scalar:
    return value.detach() if isinstance(value, Tensor) else value
