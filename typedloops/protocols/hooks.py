"""The hooks of a callback, one Protocol each.

An object that has one of them is a callback; it listens to what it defines and to
nothing else.  `T` is the trainer and `M` the module as the callback wants to see
them: both are only ever given to it, as are batches `B` and outputs `O`, so a callback is
free to ask for any kind of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from typing_extensions import Never, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

T_contra = TypeVar("T_contra", contravariant=True)
M_contra = TypeVar("M_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
O_contra = TypeVar("O_contra", contravariant=True)


class SetupHook(Protocol[T_contra, M_contra]):
    """A run begins; `stage` is `fit`, `validate`, `test` or `predict`."""

    def setup(self, trainer: T_contra, module: M_contra, stage: str, /) -> object: ...


class OnFitStart(Protocol[T_contra, M_contra]):
    """Optimizers are configured, nothing has run."""

    def on_fit_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnSanityCheckStart(Protocol[T_contra, M_contra]):
    """A few batches are about to be validated on, before training."""

    def on_sanity_check_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnSanityCheckEnd(Protocol[T_contra, M_contra]):
    """A few batches were validated on, and training begins."""

    def on_sanity_check_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTrainStart(Protocol[T_contra, M_contra]):
    """Training begins."""

    def on_train_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTrainEpochStart(Protocol[T_contra, M_contra]):
    """An epoch of training begins."""

    def on_train_epoch_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTrainBatchStart(Protocol[T_contra, M_contra, B_contra]):
    """A batch is fetched, its step has not run."""

    def on_train_batch_start(
        self, trainer: T_contra, module: M_contra, batch: B_contra, batch_idx: int, /
    ) -> object: ...


class OnBeforeZeroGrad(Protocol[T_contra, M_contra]):
    """The gradients are about to be cleared."""

    def on_before_zero_grad(self, trainer: T_contra, module: M_contra, optimizer: Optimizer, /) -> object: ...


class OnBeforeBackward(Protocol[T_contra, M_contra]):
    """`loss.backward()` is about to run."""

    def on_before_backward(self, trainer: T_contra, module: M_contra, loss: Tensor, /) -> object: ...


class OnAfterBackward(Protocol[T_contra, M_contra]):
    """The gradients are there."""

    def on_after_backward(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnBeforeOptimizerStep(Protocol[T_contra, M_contra]):
    """The optimizer is about to step."""

    def on_before_optimizer_step(self, trainer: T_contra, module: M_contra, optimizer: Optimizer, /) -> object: ...


class OnTrainBatchEnd(Protocol[T_contra, M_contra, B_contra, O_contra]):
    """The step has run and returned `outputs`."""

    def on_train_batch_end(
        self, trainer: T_contra, module: M_contra, outputs: O_contra, batch: B_contra, batch_idx: int, /
    ) -> object: ...


class TrainingEpochEnd(Protocol[T_contra, M_contra, O_contra]):
    """An epoch of training has given `outputs`, one for each batch and without their graphs."""

    def training_epoch_end(self, trainer: T_contra, module: M_contra, outputs: O_contra, /) -> object: ...


class OnTrainEpochEnd(Protocol[T_contra, M_contra]):
    """An epoch of training is over, its validation included."""

    def on_train_epoch_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTrainEnd(Protocol[T_contra, M_contra]):
    """Training is over."""

    def on_train_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnFitEnd(Protocol[T_contra, M_contra]):
    """The fit is over."""

    def on_fit_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnValidationStart(Protocol[T_contra, M_contra]):
    """A validation begins."""

    def on_validation_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnValidationEpochStart(Protocol[T_contra, M_contra]):
    """A validation is about to go through its loaders."""

    def on_validation_epoch_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnValidationBatchStart(Protocol[T_contra, M_contra, B_contra]):
    """A batch is fetched, its step has not run."""

    def on_validation_batch_start(
        self, trainer: T_contra, module: M_contra, batch: B_contra, batch_idx: int, dataloader_idx: int = 0, /
    ) -> object: ...


class OnValidationBatchEnd(Protocol[T_contra, M_contra, B_contra, O_contra]):
    """The step has run and returned `outputs`."""

    def on_validation_batch_end(
        self,
        trainer: T_contra,
        module: M_contra,
        outputs: O_contra,
        batch: B_contra,
        batch_idx: int,
        dataloader_idx: int = 0,
        /,
    ) -> object: ...


class ValidationEpochEnd(Protocol[T_contra, M_contra, O_contra]):
    """A validation has given `outputs`, one for each batch; of several loaders a list for each."""

    def validation_epoch_end(self, trainer: T_contra, module: M_contra, outputs: O_contra, /) -> object: ...


class OnValidationEpochEnd(Protocol[T_contra, M_contra]):
    """A validation has gone through its loaders."""

    def on_validation_epoch_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnValidationEnd(Protocol[T_contra, M_contra]):
    """A validation is over."""

    def on_validation_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTestStart(Protocol[T_contra, M_contra]):
    """A test begins."""

    def on_test_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTestEpochStart(Protocol[T_contra, M_contra]):
    """A test is about to go through its loaders."""

    def on_test_epoch_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTestBatchStart(Protocol[T_contra, M_contra, B_contra]):
    """A batch is fetched, its step has not run."""

    def on_test_batch_start(
        self, trainer: T_contra, module: M_contra, batch: B_contra, batch_idx: int, dataloader_idx: int = 0, /
    ) -> object: ...


class OnTestBatchEnd(Protocol[T_contra, M_contra, B_contra, O_contra]):
    """The step has run and returned `outputs`."""

    def on_test_batch_end(
        self,
        trainer: T_contra,
        module: M_contra,
        outputs: O_contra,
        batch: B_contra,
        batch_idx: int,
        dataloader_idx: int = 0,
        /,
    ) -> object: ...


class TestEpochEnd(Protocol[T_contra, M_contra, O_contra]):
    """A test has given `outputs`, one for each batch; of several loaders a list for each."""

    def test_epoch_end(self, trainer: T_contra, module: M_contra, outputs: O_contra, /) -> object: ...


class OnTestEpochEnd(Protocol[T_contra, M_contra]):
    """A test has gone through its loaders."""

    def on_test_epoch_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnTestEnd(Protocol[T_contra, M_contra]):
    """A test is over."""

    def on_test_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnPredictStart(Protocol[T_contra, M_contra]):
    """A prediction begins."""

    def on_predict_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnPredictEpochStart(Protocol[T_contra, M_contra]):
    """A prediction is about to go through its loaders."""

    def on_predict_epoch_start(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnPredictBatchStart(Protocol[T_contra, M_contra, B_contra]):
    """A batch is fetched, its step has not run."""

    def on_predict_batch_start(
        self, trainer: T_contra, module: M_contra, batch: B_contra, batch_idx: int, dataloader_idx: int = 0, /
    ) -> object: ...


class OnPredictBatchEnd(Protocol[T_contra, M_contra, B_contra, O_contra]):
    """The step has run and returned `outputs`."""

    def on_predict_batch_end(
        self,
        trainer: T_contra,
        module: M_contra,
        outputs: O_contra,
        batch: B_contra,
        batch_idx: int,
        dataloader_idx: int = 0,
        /,
    ) -> object: ...


class OnPredictEpochEnd(Protocol[T_contra, M_contra]):
    """A prediction has gone through its loaders."""

    def on_predict_epoch_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnPredictEnd(Protocol[T_contra, M_contra]):
    """A prediction is over."""

    def on_predict_end(self, trainer: T_contra, module: M_contra, /) -> object: ...


class OnException(Protocol[T_contra, M_contra]):
    """The run is ended by `exception`, which is raised again afterwards."""

    def on_exception(self, trainer: T_contra, module: M_contra, exception: BaseException, /) -> object: ...


class OnSaveCheckpoint(Protocol[T_contra, M_contra]):
    """The run is saved: what is put into `checkpoint` is saved with it."""

    def on_save_checkpoint(self, trainer: T_contra, module: M_contra, checkpoint: dict[str, object], /) -> object: ...


class OnLoadCheckpoint(Protocol[T_contra, M_contra]):
    """A run goes on: `checkpoint` has what was put into it."""

    def on_load_checkpoint(self, trainer: T_contra, module: M_contra, checkpoint: dict[str, object], /) -> object: ...


class TeardownHook(Protocol[T_contra, M_contra]):
    """A run has ended, with or without an error."""

    def teardown(self, trainer: T_contra, module: M_contra, stage: str, /) -> object: ...


CallbackProtocol: TypeAlias = (
    SetupHook[Never, Never]
    | OnFitStart[Never, Never]
    | OnSanityCheckStart[Never, Never]
    | OnSanityCheckEnd[Never, Never]
    | OnTrainStart[Never, Never]
    | OnTrainEpochStart[Never, Never]
    | OnTrainBatchStart[Never, Never, Never]
    | OnBeforeZeroGrad[Never, Never]
    | OnBeforeBackward[Never, Never]
    | OnAfterBackward[Never, Never]
    | OnBeforeOptimizerStep[Never, Never]
    | OnTrainBatchEnd[Never, Never, Never, Never]
    | TrainingEpochEnd[Never, Never, Never]
    | OnTrainEpochEnd[Never, Never]
    | OnTrainEnd[Never, Never]
    | OnFitEnd[Never, Never]
    | OnValidationStart[Never, Never]
    | OnValidationEpochStart[Never, Never]
    | OnValidationBatchStart[Never, Never, Never]
    | OnValidationBatchEnd[Never, Never, Never, Never]
    | ValidationEpochEnd[Never, Never, Never]
    | OnValidationEpochEnd[Never, Never]
    | OnValidationEnd[Never, Never]
    | OnTestStart[Never, Never]
    | OnTestEpochStart[Never, Never]
    | OnTestBatchStart[Never, Never, Never]
    | OnTestBatchEnd[Never, Never, Never, Never]
    | TestEpochEnd[Never, Never, Never]
    | OnTestEpochEnd[Never, Never]
    | OnTestEnd[Never, Never]
    | OnPredictStart[Never, Never]
    | OnPredictEpochStart[Never, Never]
    | OnPredictBatchStart[Never, Never, Never]
    | OnPredictBatchEnd[Never, Never, Never, Never]
    | OnPredictEpochEnd[Never, Never]
    | OnPredictEnd[Never, Never]
    | OnException[Never, Never]
    | OnSaveCheckpoint[Never, Never]
    | OnLoadCheckpoint[Never, Never]
    | TeardownHook[Never, Never]
)
"""Any object that has at least one hook of a callback."""
