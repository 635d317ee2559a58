"""The base class of those who write a callback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops.protocols.trainer import TrainerView

M = TypeVar("M", default=nn.Module)
B = TypeVar("B", default=object)


class Callback(Generic[M, B]):
    """Something that listens to a run: override the hooks of interest.

    A callback listens to what it overrides; the rest costs nothing.  `M` is the
    module that it is written for, and `B` the batch.  The order of the hooks stands in the docstring of
    the loop that calls them: `FitLoop`, `EvaluationLoop`, `PredictionLoop`.
    """

    placeholder_hooks = True

    def setup(self, trainer: TrainerView, module: M, stage: str) -> None:
        """A run begins; `stage` is `fit`, `validate`, `test` or `predict`."""

    def on_fit_start(self, trainer: TrainerView, module: M) -> None:
        """Optimizers are configured, nothing has run."""

    def on_sanity_check_start(self, trainer: TrainerView, module: M) -> None:
        """A few batches are about to be validated on, before training."""

    def on_sanity_check_end(self, trainer: TrainerView, module: M) -> None:
        """A few batches were validated on, and training begins."""

    def on_train_start(self, trainer: TrainerView, module: M) -> None:
        """Training begins."""

    def on_train_epoch_start(self, trainer: TrainerView, module: M) -> None:
        """An epoch of training begins."""

    def on_train_batch_start(self, trainer: TrainerView, module: M, batch: B, batch_idx: int) -> None:
        """A batch is fetched, its step has not run."""

    def on_before_zero_grad(self, trainer: TrainerView, module: M, optimizer: Optimizer) -> None:
        """The gradients are about to be cleared."""

    def on_before_backward(self, trainer: TrainerView, module: M, loss: Tensor) -> None:
        """`loss.backward()` is about to run."""

    def on_after_backward(self, trainer: TrainerView, module: M) -> None:
        """The gradients are there."""

    def on_before_optimizer_step(self, trainer: TrainerView, module: M, optimizer: Optimizer) -> None:
        """The optimizer is about to step."""

    def on_train_batch_end(self, trainer: TrainerView, module: M, outputs: object, batch: B, batch_idx: int) -> None:
        """The step has run and returned `outputs`."""

    def training_epoch_end(self, trainer: TrainerView, module: M, outputs: Sequence[object]) -> None:
        """An epoch of training has given `outputs`, one for each batch and without their graphs."""

    def on_train_epoch_end(self, trainer: TrainerView, module: M) -> None:
        """An epoch of training is over, its validation included."""

    def on_train_end(self, trainer: TrainerView, module: M) -> None:
        """Training is over."""

    def on_fit_end(self, trainer: TrainerView, module: M) -> None:
        """The fit is over."""

    def on_validation_start(self, trainer: TrainerView, module: M) -> None:
        """A validation begins."""

    def on_validation_epoch_start(self, trainer: TrainerView, module: M) -> None:
        """A validation is about to go through its loaders."""

    def on_validation_batch_start(
        self, trainer: TrainerView, module: M, batch: B, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A batch is fetched, its step has not run."""

    def on_validation_batch_end(
        self, trainer: TrainerView, module: M, outputs: object, batch: B, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The step has run and returned `outputs`."""

    def validation_epoch_end(self, trainer: TrainerView, module: M, outputs: Sequence[object]) -> None:
        """A validation has given `outputs`, one for each batch; of several loaders a list for each."""

    def on_validation_epoch_end(self, trainer: TrainerView, module: M) -> None:
        """A validation has gone through its loaders."""

    def on_validation_end(self, trainer: TrainerView, module: M) -> None:
        """A validation is over."""

    def on_test_start(self, trainer: TrainerView, module: M) -> None:
        """A test begins."""

    def on_test_epoch_start(self, trainer: TrainerView, module: M) -> None:
        """A test is about to go through its loaders."""

    def on_test_batch_start(
        self, trainer: TrainerView, module: M, batch: B, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A batch is fetched, its step has not run."""

    def on_test_batch_end(
        self, trainer: TrainerView, module: M, outputs: object, batch: B, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The step has run and returned `outputs`."""

    def test_epoch_end(self, trainer: TrainerView, module: M, outputs: Sequence[object]) -> None:
        """A test has given `outputs`, one for each batch; of several loaders a list for each."""

    def on_test_epoch_end(self, trainer: TrainerView, module: M) -> None:
        """A test has gone through its loaders."""

    def on_test_end(self, trainer: TrainerView, module: M) -> None:
        """A test is over."""

    def on_predict_start(self, trainer: TrainerView, module: M) -> None:
        """A prediction begins."""

    def on_predict_epoch_start(self, trainer: TrainerView, module: M) -> None:
        """A prediction is about to go through its loaders."""

    def on_predict_batch_start(
        self, trainer: TrainerView, module: M, batch: B, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A batch is fetched, its step has not run."""

    def on_predict_batch_end(
        self, trainer: TrainerView, module: M, outputs: object, batch: B, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The step has run and returned `outputs`."""

    def on_predict_epoch_end(self, trainer: TrainerView, module: M) -> None:
        """A prediction has gone through its loaders."""

    def on_predict_end(self, trainer: TrainerView, module: M) -> None:
        """A prediction is over."""

    def on_exception(self, trainer: TrainerView, module: M, exception: BaseException) -> None:
        """The run is ended by `exception`, which is raised again afterwards."""

    def on_save_checkpoint(self, trainer: TrainerView, module: M, checkpoint: dict[str, object]) -> None:
        """The run is saved: put into `checkpoint` what is to be saved with it, numbers, strings, tensors.

        What is the callback's own is better given by `state_dict` and taken by `load_state_dict`.
        """

    def on_load_checkpoint(self, trainer: TrainerView, module: M, checkpoint: dict[str, object]) -> None:
        """A run goes on: `checkpoint` has what was put into it."""

    def teardown(self, trainer: TrainerView, module: M, stage: str) -> None:
        """A run has ended, with or without an error."""
