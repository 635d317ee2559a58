"""Validation-guided optimization: examples count for the training loss as far as they help on clean data."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, TypedDict, cast

import torch
from torch import Tensor
from torch.func import grad, grad_and_value
from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops._core.escape import name_of
from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError, LoaderError, OptimizerError, StepOutputError
from typedloops.loops.fit.optimization.automatic import AutomaticOptimization
from typedloops.loops.fit.optimization.make_step import StepMaker, needs_closure
from typedloops.loops.run.functional import Functional, Parameters
from typedloops.loops.run.hidden import SWITCH
from typedloops.protocols.module import ConfiguresOptimizers

B = TypeVar("B", default=object)
V = TypeVar("V", default=object)
B_contra = TypeVar("B_contra", contravariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


@runtime_checkable
class GuidedModule(ConfiguresOptimizers, Protocol[B_contra, V_contra]):
    """What `GuidedLoop` asks for: a `torch.nn.Module` with these methods and one optimizer.

    `training_losses` returns the loss of each example of a training batch, of shape (examples,);
    `guiding_loss` the mean loss of a batch of clean data, a scalar.
    """

    def training_losses(self, batch: B_contra, batch_idx: int, /) -> Tensor: ...
    def guiding_loss(self, batch: V_contra, batch_idx: int, /) -> Tensor: ...


class GuidedOutput(TypedDict):
    """What a guided step comes to.

    Args:
        loss: The weighted sum of the losses, a scalar.
        guiding_loss: That of the clean batch before the step, a scalar.
        weights: How much each example counts, of shape (examples,): from 0, with the sum 1, or all 0 where none helps.
    """

    loss: Tensor
    guiding_loss: Tensor
    weights: Tensor


class GuidedLoop(AutomaticOptimization[GuidedModule[B, V], tuple[B, V], GuidedOutput], Generic[B, V]):
    """Optimizes on one batch, weighting its examples by what a step on each would do for a batch of clean data.

    ```
    advance, with a pair (batch, clean batch):
        losses = M.training_losses(batch)
        ahead = parameters - gradient of (weights * M.training_losses(batch)).sum(), with weights of 0
        slopes = gradient of M.guiding_loss(clean batch) at `ahead`, in the weights
        weights = -slopes where these are below 0, else 0; divided by their sum
        output.loss = (weights * losses).sum()
        C/M.on_before_zero_grad, ..., optimizer.step()    # as in OptimizerLoop
    ```

    The weight of an example is the inner product of its gradient with that of the clean batch, where it is positive.
    The rate of the step that is looked ahead to is in all of them, and cancels.  Dropout draws anew for each pass,
    and running statistics see the first alone.  Both methods are called with other parameters in place of the
    module's own, so they are to use those of `self`.

    The tree, to be given `CombinedLoader((train, clean), "max_size_cycle")`:

    ```
    FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(GuidedLoop[Batch, Batch]())))
    ```

    Windows of batches, clipping, precision, schedulers and metrics (`train_loss`, `guiding_loss`) are those of
    `OptimizerLoop`.  Not to be had are several optimizers, one that looks at its loss several times (LBFGS), and
    pieces of a batch along time.

    It saves `optim_progress`; the weights of a batch are found anew each time and are not kept.

    Args:
        accumulate_grad_batches: As in `OptimizerLoop`, like the rest.
        accumulation_weight: Likewise; it is given the pair.
        gradient_clip_val: Likewise.
        gradient_clip_algorithm: Likewise.

    Its output is a `GuidedOutput`.

    Source: Ren, Zeng, Yang, Urtasun: Learning to Reweight Examples for Robust Deep Learning, ICML 2018,
    https://arxiv.org/abs/1803.09050.
    """

    requires: ClassVar[type[object] | None] = GuidedModule

    def step_of(self, model: GuidedModule[B, V]) -> Callable[[tuple[B, V], int], GuidedOutput]:
        self.check_automatic()
        optimizers, name = self.context.optimization.optimizers, type(self).__name__
        if len(optimizers) != 1 or needs_closure(optimizers[0]):
            kinds = ", ".join(type(optimizer).__name__ for optimizer in optimizers) or "none"
            raise OptimizerError(
                name_of(model.configure_optimizers),
                f"its optimizers are {kinds}, and {name} weights the loss of a batch for one step of one",
                "Return one optimizer, other than LBFGS.",
            )
        if self.context.hidden is not None:
            raise ConfigurationError(SWITCH, f"{name} weights whole examples", f"Leave {SWITCH} out.")
        step = GuidedStep(model, Functional(model, optimizers[0], name))
        return self.one_step(StepMaker(step, self.context, self.settings()))


class GuidedStep(Generic[B, V]):
    """Computes the weighted loss of a batch; called with a pair of batches and its index.

    Args:
        model: Whose losses.
        functional: The same as a function of its parameters.
    """

    def __init__(self, model: GuidedModule[B, V], functional: Functional) -> None:
        self.__wrapped__: Callable[[B, int], Tensor] = model.training_losses
        self._model = model
        self._functional = functional

    def __call__(self, pair: tuple[B, V], batch_idx: int) -> GuidedOutput:
        given: object = pair
        if not is_list_or_tuple(given) or len(given) != 2:
            raise LoaderError(
                "train dataloader",
                f"its batch {batch_idx} is a {type(given).__name__}, and no pair of a training batch and a clean one",
                'Give CombinedLoader((train, clean), "max_size_cycle").',
            )
        batch, clean = pair
        losses = self._model.training_losses(batch, batch_idx)
        if losses.ndim != 1:
            raise StepOutputError(
                name_of(self.__wrapped__),
                f"its losses have shape {tuple(losses.shape)}",
                "Return one for each example, of shape (examples,): reduction='none'.",
            )
        slopes, guiding_loss = self._look_ahead(batch, clean, batch_idx, torch.zeros_like(losses))
        helpful = slopes.neg().clamp_min(0)
        total = helpful.sum()
        weights = helpful / total.where(total > 0, 1)
        return {"loss": (weights * losses).sum(), "guiding_loss": guiding_loss, "weights": weights}

    def _look_ahead(self, batch: B, clean: V, batch_idx: int, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The slope of the clean loss after a step in the weight of each example, (examples,), and that loss."""
        model, functional = self._model, self._functional
        here = functional.parameters()

        def weighted(parameters: Parameters, weights: Tensor) -> Tensor:
            return (weights * functional(parameters, model.training_losses, batch, batch_idx)).sum()

        def after_step(weights: Tensor) -> Tensor:
            gradients = cast("Parameters", grad(weighted)(here, weights))
            ahead = {name: value - gradients[name] for name, value in here.items()}
            return functional(ahead, model.guiding_loss, clean, batch_idx)

        slopes, loss = cast("tuple[Tensor, Tensor]", grad_and_value(after_step)(weights))
        return slopes.detach(), loss.detach()
