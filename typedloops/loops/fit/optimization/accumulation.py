"""Gradients of several batches added up before the optimizer steps once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core import BatchProgress
from typedloops._core.counting import check_keys
from typedloops.errors import StateError, StepOutputError
from typedloops.loops.run.settings.config import Weigh

if TYPE_CHECKING:
    from typedloops._core.optimizing import Loss

B = TypeVar("B", default=object)


def window_size(schedule: int | Mapping[int, int], epoch: int) -> int:
    """How many batches a window has in `epoch`.

    Args:
        schedule: A number for all epochs, or the numbers from certain epochs on; 1 before the first of them.
        epoch: From 0.
    """
    if isinstance(schedule, int):
        return schedule
    return next((schedule[start] for start in sorted(schedule, reverse=True) if start <= epoch), 1)


def largest_window(schedule: int | Mapping[int, int]) -> int:
    """How many batches a window has at most, in any epoch."""
    return schedule if isinstance(schedule, int) else max(schedule.values(), default=1)


class GradientWindow(Generic[B]):
    """The mean of a number of batches' gradients, whatever number there turns out to be.

    Each loss is divided by the number of batches that the window is going to have, so that
    the gradients add up to their mean.  Where there were fewer (a loader without a length
    ended early, or a step skipped its batch), the gradients are divided by the share that there was.
    With weights the losses are multiplied by them, and the gradients divided by their sum.

    Args:
        size: How many batches a window has.
        optimizer: Whose gradients are added up.
        progress: The batches of the epoch: its last batch closes the last window, which may be shorter.
        batches: How many batches the epoch has, or None when that is not known.
        weigh: How much a batch counts, or None for all the same.
    """

    def __init__(
        self,
        size: int,
        optimizer: Optimizer,
        progress: BatchProgress,
        *,
        batches: int | None = None,
        weigh: Weigh | None = None,
    ) -> None:
        self._size = size
        self._optimizer = optimizer
        self._progress = progress
        self._batches = batches
        self._weigh = weigh
        self._divisor = size
        self._added = 0
        self._weight: Tensor | float = 0.0

    def state_dict(self) -> dict[str, object]:
        return {"divisor": self._divisor, "added": self._added, "weight": self._weight}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Go on with a window that was open; the gradients are loaded elsewhere.

        Raises:
            StateError: It is no state of a window.
        """
        parts = check_keys(type(self).__name__, ("divisor", "added", "weight"), state_dict)
        divisor, added, weight = parts["divisor"], parts["added"], parts["weight"]
        if not (isinstance(divisor, int) and isinstance(added, int) and isinstance(weight, (int, float, Tensor))):
            raise StateError(type(self).__name__, f"{parts!r:.80} is no state of it", "Load what was saved.")
        self._divisor, self._added, self._weight = divisor, added, weight

    @property
    def is_open(self) -> bool:
        """Whether gradients of earlier batches of it are there, to be added to."""
        return self._added > 0

    def share(self, loss: Loss, batch: B) -> Loss:
        """What to differentiate for a batch whose loss this is."""
        if self._added == 0:
            self._divisor = self._expected()
            self._weight = 0.0
        self._added += 1
        value = cast("Tensor", loss)
        if self._weigh is None:
            return value if self._divisor == 1 else value / self._divisor
        weight = self._weight_of(self._weigh, batch)
        self._weight = self._weight + weight
        return value * weight

    def closes_at(self, batch_idx: int) -> bool:
        """Whether this batch is the last before the step."""
        return (batch_idx + 1) % self._size == 0 or self._progress.is_last_batch

    def close(self) -> bool:
        """Make the gradients those of the window's mean; False when no batch had a loss, and there is no step."""
        added, self._added = self._added, 0
        if added == 0:
            return False
        if self._weigh is not None:
            divide_gradients(self._optimizer, _but_one_for_zero(self._weight))
        elif added != self._divisor:
            divide_gradients(self._optimizer, added / self._divisor)
        return True

    def _expected(self) -> int:
        """The size of the window that opens with the batch under way."""
        if self._batches is None:
            return self._size
        start = (self._progress.current.ready - 1) // self._size * self._size
        return max(1, min(self._size, self._batches - start))

    def _weight_of(self, weigh: Weigh, batch: B) -> Tensor | float:
        weight: object = weigh(batch)
        if isinstance(weight, Tensor) and weight.numel() == 1:
            return weight.detach().reshape(())
        if isinstance(weight, (int, float)) and weight > 0:
            return float(weight)
        raise StepOutputError(
            "accumulation_weight", f"it gave {weight!r} for a batch", "Return a number above 0 or a tensor with one."
        )


def _but_one_for_zero(weight: Tensor | float) -> Tensor | float:
    """Weights that are all 0 leave gradients of 0; found on the device, which is not waited for."""
    return weight.where(weight != 0, 1) if isinstance(weight, Tensor) else weight


def divide_gradients(optimizer: Optimizer, by: Tensor | float) -> None:
    """Divide the gradients of every parameter of `optimizer`."""
    with torch.no_grad():
        for group in optimizer.param_groups:
            for parameter in cast("list[Tensor]", group["params"]):
                if parameter.grad is not None:
                    parameter.grad.div_(by)
