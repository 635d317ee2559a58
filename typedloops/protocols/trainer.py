"""The trainer as loops and callbacks see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from typing_extensions import Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from typedloops.protocols.module import Scheduler

Reduction: TypeAlias = Literal["last", "mean", "sum", "min", "max"]
ClipAlgorithm: TypeAlias = Literal["norm", "value"]
"""How the values logged under one name become one value."""

NonFinite: TypeAlias = Literal["loss", "gradients", "modules"]
"""What is to be finite in a fit; each includes what is before it."""


class Stage(StrEnum):
    """What a run is for."""

    FIT = "fit"
    VALIDATE = "validate"
    TEST = "test"
    PREDICT = "predict"


class RunningLoop(Protocol):
    """A loop that is in the middle of a run, as what watches it sees it."""

    @property
    def path(self) -> str:
        """Where it is in its tree."""
        ...

    @property
    def run_progress(self) -> Counted | None:
        """How far it has come; None where it has nothing to tell."""
        ...


class Counted(Protocol):
    """How many there were, and are to be."""

    @property
    def completed(self) -> int: ...
    @property
    def total(self) -> int | None: ...
    @property
    def unit(self) -> str: ...


class TrainerView(Protocol):
    """What a loop, a callback or a module may ask of the trainer that runs it."""

    @property
    def should_stop(self) -> bool:
        """Set it to end the fit after the batch under way."""
        ...

    @should_stop.setter
    def should_stop(self, stop: bool, /) -> None: ...
    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or a signal ends the run under way: the epoch is cut off, and its validation left out."""
        ...

    @property
    def stage(self) -> Stage | None:
        """What the run under way is for; None when there is none."""
        ...

    @property
    def sanity_checking(self) -> bool:
        """Whether the validation under way only looks whether one works, before training."""
        ...

    @property
    def running_loops(self) -> Sequence[RunningLoop]:
        """The loops of the tree that are in the middle of a run, parents first; empty when nothing runs."""
        ...

    @property
    def callbacks(self) -> Sequence[object]:
        """The callbacks of the run under way in the order in which they are called; the trainer's when nothing runs.

        Those are the trainer's own, those that loops around the run give, and those of the module.
        """
        ...

    @property
    def current_epoch(self) -> int:
        """The index of the epoch under way, or of the next one; from 0."""
        ...

    @property
    def max_epochs(self) -> int | None:
        """How many epochs the last or present fit has at most; None is no limit."""
        ...

    @property
    def num_batches(self) -> int | None:
        """How many batches the epoch or loader under way has; None when that is not known."""
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
    def gradient_norm(self) -> Tensor | None:
        """The norm of all gradients before the last step clipped it, a scalar still on its device; None if none did."""
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

    def save_checkpoint(
        self,
        path: str | os.PathLike[str],
        *,
        weights_only: bool = False,
        asynchronous: bool = False,
        when_written: Callable[[Path], object] | None = None,
    ) -> None:
        """Save the run at `path`, so that `fit(..., ckpt_path=path)` goes on from here as if nothing had happened.

        Asked for in a hook, it is saved when every listener of the hook has been called; in the middle of
        a batch, when that is complete.

        Args:
            path: The folder that the checkpoint will be.
            weights_only: Save nothing but the module's weights, which is nothing to go on from.
            asynchronous: Take a copy of the state and write it while the run goes on.  The run ends when
                all is written.
            when_written: Called with the path, in the thread of the run, once the checkpoint is on the disk.
        """
        ...

    def call_hook(self, name: str, *args: object) -> None:
        """Call the hook `name` of every callback that has one, then the module's.

        Callbacks are called with the trainer, the module and `args`, the module with
        `args`.  A hook that nobody has costs a dictionary lookup.
        """
        ...
