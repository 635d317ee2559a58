"""The trainer as loops and callbacks see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

from typing_extensions import Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from typedloops.protocols.module import Scheduler

Reduction: TypeAlias = Literal["last", "mean", "sum", "min", "max"]
"""How the values logged under one name become one value."""


class Stage(str, Enum):
    """What a run is for."""

    FIT = "fit"
    VALIDATE = "validate"
    TEST = "test"
    PREDICT = "predict"

    def __str__(self) -> str:
        return self.value


class TrainerView(Protocol):
    """What a loop, a callback or a module may ask of the trainer that runs it."""

    should_stop: bool
    """Set it to end the fit after the batch under way."""

    @property
    def stage(self) -> Stage | None:
        """What the run under way is for; None when there is none."""
        ...

    @property
    def callbacks(self) -> Sequence[object]:
        """The trainer's callbacks, in the order in which they are called."""
        ...

    @property
    def current_epoch(self) -> int:
        """The index of the epoch under way, or of the next one; from 0."""
        ...

    @property
    def global_step(self) -> int:
        """How many optimizer steps the last or present fit has taken."""
        ...

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """What `configure_optimizers` returned; empty outside a fit."""
        ...

    @property
    def schedulers(self) -> Sequence[Scheduler]:
        """The learning-rate schedulers; empty outside a fit."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """The newest value of every metric; reading it may wait for the device."""
        ...

    def log(
        self, name: str, value: Tensor | float, *, reduce: Reduction | None = None, batch_size: int | None = None
    ) -> None:
        """Log a scalar under `name`.

        Args:
            name: The metric.
            value: A number or a tensor with one element; it is not read from its device here.
            reduce: How the values of an epoch become one; by default the last one in
                training, their mean in an evaluation.
            batch_size: The weight of this value in a mean; 1 by default.
        """
        ...

    def call_hook(self, name: str, *args: object) -> None:
        """Call the hook `name` of every callback that has one, then the module's.

        Callbacks are called with the trainer, the module and `args`, the module with
        `args`.  A hook that nobody has costs a dictionary lookup.
        """
        ...
