"""What the loops ask of a module.

A module needs no base class: it fits by its shape.  `B` is the type of a batch and
`O` the type of what a step returns; a loader and a module that disagree on `B` are a
type error where they meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias

from typing_extensions import Protocol, TypedDict, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

StepOutput: TypeAlias = "Tensor | Mapping[str, object] | None"
"""What a training or evaluation step may return: a scalar loss, a mapping, or nothing."""

Scheduler: TypeAlias = "LRScheduler | ReduceLROnPlateau"


class SchedulerConfig(Protocol):
    """A scheduler and when to step it, as an object: Lightning's `LRSchedulerConfig` fits."""

    scheduler: Scheduler
    interval: str
    frequency: int
    monitor: str | None
    strict: bool


SchedulerLike: TypeAlias = "Scheduler | SchedulerConfig | Mapping[str, object]"
Optimizers: TypeAlias = "Optimizer | Sequence[Optimizer] | tuple[Sequence[Optimizer], Sequence[SchedulerLike]]"
OptimizerConfig: TypeAlias = "Optimizers | Mapping[str, object] | Sequence[Mapping[str, object]] | None"
"""What `configure_optimizers` may return.

An optimizer; a sequence of them; a pair of sequences, optimizers and schedulers; a
mapping with `optimizer` and optionally `lr_scheduler`; a sequence of such mappings;
or None for no optimization.
"""

B_contra = TypeVar("B_contra", contravariant=True)
V_contra = TypeVar("V_contra", contravariant=True)
O_co = TypeVar("O_co", bound="StepOutput", covariant=True, default="StepOutput")
Q_co = TypeVar("Q_co", covariant=True)
H = TypeVar("H")


@runtime_checkable
class ConfiguresOptimizers(Protocol):
    """A module that says how it is optimized."""

    def configure_optimizers(self) -> OptimizerConfig: ...


@runtime_checkable
class TrainingModule(ConfiguresOptimizers, Protocol[B_contra, O_co]):
    """What `fit` asks for: a step that gives the loss of a batch, and optimizers.

    `training_step` returns a scalar loss, a mapping with the key `loss`, or None to
    skip the optimization of this batch.
    """

    def training_step(self, batch: B_contra, batch_idx: int, /) -> O_co: ...


@runtime_checkable
class ValidationModule(Protocol[B_contra]):
    """What `validate` asks for.

    `validation_step` returns a scalar (its mean is the metric `loss`), a mapping
    (the means of its scalars are the metrics), or None.
    """

    def validation_step(self, batch: B_contra, batch_idx: int, /) -> StepOutput: ...


@runtime_checkable
class FitModule(TrainingModule[B_contra, O_co], Protocol[B_contra, V_contra, O_co]):
    """What `fit` asks for when it is given loaders to validate on."""

    def validation_step(self, batch: V_contra, batch_idx: int, /) -> StepOutput: ...


@runtime_checkable
class SeveralOptimizersModule(ConfiguresOptimizers, Protocol[B_contra, O_co]):
    """What `fit` asks for when several optimizers take turns: the step is called for each, with its index."""

    def training_step(self, batch: B_contra, batch_idx: int, /, *, optimizer_idx: int) -> O_co: ...


@runtime_checkable
class SeveralOptimizersFitModule(SeveralOptimizersModule[B_contra, O_co], Protocol[B_contra, V_contra, O_co]):
    """The same with loaders to validate on."""

    def validation_step(self, batch: V_contra, batch_idx: int, /) -> StepOutput: ...


class HiddenOutput(TypedDict, Generic[H]):
    """What a step returns in truncated backpropagation through time; it may have further keys.

    Args:
        loss: A scalar.
        hiddens: What the step is given for the next piece of the batch, without its graph.
    """

    loss: Tensor
    hiddens: H


@runtime_checkable
class TruncatedModule(ConfiguresOptimizers, Protocol[B_contra, H]):
    """What `fit` asks for in truncated backpropagation through time: a step that is given what it returned before."""

    def training_step(self, batch: B_contra, batch_idx: int, /, *, hiddens: H | None) -> HiddenOutput[H]: ...


@runtime_checkable
class TruncatedFitModule(TruncatedModule[B_contra, H], Protocol[B_contra, V_contra, H]):
    """The same with loaders to validate on."""

    def validation_step(self, batch: V_contra, batch_idx: int, /) -> StepOutput: ...


@runtime_checkable
class TestModule(Protocol[B_contra]):
    """What `test` asks for; `test_step` returns what a validation step may."""

    def test_step(self, batch: B_contra, batch_idx: int, /) -> StepOutput: ...


@runtime_checkable
class PredictModule(Protocol[B_contra, Q_co]):
    """What `predict` asks for; `predict_step` may return anything."""

    def predict_step(self, batch: B_contra, batch_idx: int, /) -> Q_co: ...
