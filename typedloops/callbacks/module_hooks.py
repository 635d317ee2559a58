"""The hooks that a module may have, for modules that want their signatures checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops.loops.fit.optimization.clipping import clip_gradients
from typedloops.loops.run.scheduled_rate import step_scheduler
from typedloops.protocols.hooks import CallbackProtocol
from typedloops.protocols.module import Scheduler
from typedloops.protocols.trainer import ClipAlgorithm

B = TypeVar("B", default=object)
O = TypeVar("O", default=object)


class ModuleHooks(Generic[B, O]):
    """Every hook that the loops call on a module: override the ones of interest.

    Any module may have any of these without this class; inherited beside
    `nn.Module`, it lets a type checker check their signatures.  `B` is the batch, `O` what
    the steps return, whose lists the `..._epoch_end` hooks without `on_` are given: outputs are kept
    for the sake of these hooks alone.
    """

    placeholder_hooks = True

    def configure_callbacks(self) -> Sequence[CallbackProtocol] | CallbackProtocol:
        """Further callbacks for this run, after the trainer's own."""
        return ()

    def prepare_data(self) -> None:
        """Called first, before `setup`: download or unpack."""

    def configure_model(self) -> None:
        """Called after `setup`: build layers that depend on the data."""

    def on_before_batch_transfer(self, batch: B, dataloader_idx: int) -> B:
        """Change a batch before it is moved to the device."""
        return batch

    def transfer_batch_to_device(self, batch: B, device: torch.device, dataloader_idx: int) -> B:
        """Move a batch to the device."""
        return batch

    def on_after_batch_transfer(self, batch: B, dataloader_idx: int) -> B:
        """Change a batch after it has been moved to the device."""
        return batch

    def setup(self, stage: str) -> None:
        """A run begins; `stage` is `fit`, `validate`, `test` or `predict`."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Tensor]
    ) -> None:
        """Take a step; the closure computes the gradients."""
        optimizer.step(cast("Callable[[], float]", optimizer_closure))

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Put the gradients away."""
        optimizer.zero_grad()

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None, gradient_clip_algorithm: ClipAlgorithm
    ) -> None:
        """Clip the gradients; called before each step, `gradient_clip_val` or not."""
        if gradient_clip_val is not None:
            clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def lr_scheduler_step(self, scheduler: Scheduler, metric: float | None) -> None:
        """Step a scheduler; `metric` is what it monitors."""
        step_scheduler(scheduler, metric)

    def on_fit_start(self) -> None:
        """Optimizers are configured, nothing has run."""

    def on_sanity_check_start(self) -> None:
        """A few batches are about to be validated on, before training."""

    def on_sanity_check_end(self) -> None:
        """A few batches were validated on, and training begins."""

    def on_train_start(self) -> None:
        """Training begins."""

    def on_train_epoch_start(self) -> None:
        """An epoch of training begins."""

    def on_train_batch_start(self, batch: B, batch_idx: int) -> int | None:
        """A batch is fetched, its step has not run; returning -1 skips the rest of the epoch."""
        return None

    def on_before_zero_grad(self, optimizer: Optimizer) -> None:
        """The gradients are about to be cleared."""

    def on_before_backward(self, loss: Tensor) -> None:
        """`loss.backward()` is about to run."""

    def on_after_backward(self) -> None:
        """The gradients are there."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """The optimizer is about to step."""

    def on_train_batch_end(self, outputs: object, batch: B, batch_idx: int) -> None:
        """The step has run and returned `outputs`."""

    def training_epoch_end(self, outputs: list[O]) -> None:
        """An epoch of training has given `outputs`, one for each batch and without their graphs."""

    def on_train_epoch_end(self) -> None:
        """An epoch of training is over, its validation included."""

    def on_train_end(self) -> None:
        """Training is over."""

    def on_fit_end(self) -> None:
        """The fit is over."""

    def on_validation_start(self) -> None:
        """A validation begins."""

    def on_validation_epoch_start(self) -> None:
        """A validation is about to go through its loaders."""

    def on_validation_batch_start(self, batch: B, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A batch is fetched, its step has not run."""

    def on_validation_batch_end(self, outputs: object, batch: B, batch_idx: int, dataloader_idx: int = 0) -> None:
        """The step has run and returned `outputs`."""

    def validation_epoch_end(self, outputs: list[O]) -> None:
        """A validation has given `outputs`, one for each batch; of several loaders a list for each."""

    def on_validation_epoch_end(self) -> None:
        """A validation has gone through its loaders."""

    def on_validation_end(self) -> None:
        """A validation is over."""

    def on_test_start(self) -> None:
        """A test begins."""

    def on_test_epoch_start(self) -> None:
        """A test is about to go through its loaders."""

    def on_test_batch_start(self, batch: B, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A batch is fetched, its step has not run."""

    def on_test_batch_end(self, outputs: object, batch: B, batch_idx: int, dataloader_idx: int = 0) -> None:
        """The step has run and returned `outputs`."""

    def test_epoch_end(self, outputs: list[O]) -> None:
        """A test has given `outputs`, one for each batch; of several loaders a list for each."""

    def on_test_epoch_end(self) -> None:
        """A test has gone through its loaders."""

    def on_test_end(self) -> None:
        """A test is over."""

    def on_predict_start(self) -> None:
        """A prediction begins."""

    def on_predict_epoch_start(self) -> None:
        """A prediction is about to go through its loaders."""

    def on_predict_batch_start(self, batch: B, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A batch is fetched, its step has not run."""

    def on_predict_batch_end(self, outputs: object, batch: B, batch_idx: int, dataloader_idx: int = 0) -> None:
        """The step has run and returned `outputs`."""

    def on_predict_epoch_end(self) -> None:
        """A prediction has gone through its loaders."""

    def on_predict_end(self) -> None:
        """A prediction is over."""

    def on_exception(self, exception: BaseException) -> None:
        """The run is ended by `exception`, which is raised again afterwards."""

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """The run is saved: put into `checkpoint` what is to be saved with it, numbers, strings, tensors."""

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """A run goes on: `checkpoint` has what was put into it; the weights are loaded afterwards."""

    def teardown(self, stage: str) -> None:
        """A run has ended, with or without an error."""
