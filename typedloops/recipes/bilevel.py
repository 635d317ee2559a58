"""Bilevel optimization: weights learn on one loader, what they depend on (hyper-parameters) on another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, cast

from torch import Tensor
from torch.func import grad
from torch.optim import Optimizer
from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops._core.escape import name_of
from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError, LoaderError, OptimizerError, StepOutputError
from typedloops.loops.fit.optimization.automatic import AutomaticOptimization
from typedloops.loops.fit.optimization.make_step import StepMaker, StepSettings
from typedloops.loops.fit.optimization.several import Rota
from typedloops.loops.fit.optimization.toggling import sharing
from typedloops.loops.run.functional import Functional, Parameters
from typedloops.loops.run.hidden import SWITCH
from typedloops.protocols.module import ConfiguresOptimizers
from typedloops.protocols.trainer import ClipAlgorithm

B = TypeVar("B", default=object)
V = TypeVar("V", default=object)
B_contra = TypeVar("B_contra", contravariant=True)
V_contra = TypeVar("V_contra", contravariant=True)

INNER, OUTER = range(2)


@runtime_checkable
class BilevelModule(ConfiguresOptimizers, Protocol[B_contra, V_contra]):
    """What `BilevelLoop` asks for: a `torch.nn.Module` with these methods and two optimizers, (inner, outer).

    `inner_loss` is what the weights of the inner optimizer are to minimize on training batches; it may
    depend on the parameters of the outer one, which are to minimize `outer_loss` on other batches.  Both are scalars.
    """

    def inner_loss(self, batch: B_contra, batch_idx: int, /) -> Tensor: ...
    def outer_loss(self, batch: V_contra, batch_idx: int, /) -> Tensor: ...


class BilevelLoop(AutomaticOptimization[BilevelModule[B, V], tuple[B, V], Tensor], Generic[B, V]):
    """Optimizes two sets of parameters by turns, each on its own data.

    ```
    advance, with a pair (batch, outer batch):
        in every batch whose number is a multiple of `inner_steps`, inner parameters requiring no gradient:
            weights = the inner parameters
            `unrolled_steps` times:                       # a look ahead, which depends on the outer parameters
                weights = weights - rate * gradient of M.inner_loss(batch) at `weights`
            loss = M.outer_loss(outer batch) at `weights`
            C/M.on_before_zero_grad, ..., outer_optimizer.step()    # as in OptimizerLoop
        outer parameters requiring no gradient:
            loss = M.inner_loss(batch)
            C/M.on_before_zero_grad, ..., inner_optimizer.step()
    ```

    Without unrolled steps that is alternating optimization, of first order: the outer parameters see only what
    `outer_loss` itself makes of them.  With one or more their gradient also goes through the inner steps, which is what
    hyper-parameters need that only `inner_loss` looks at.

    The tree, to be given `CombinedLoader((train, val), "max_size_cycle")`:

    ```
    FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(BilevelLoop[Batch, Batch]())))
    ```

    Hooks are told which optimizer is at work by `optimizer_idx`: 0 is the inner one.  Clipping, precision, schedulers
    and metrics (`train_loss` is the inner loss, `train_loss/optimizer_idx_1` the outer one) are those of
    `OptimizerLoop`.  A look ahead is a step of plain gradient descent: a `weight_decay` of the inner optimizer is not
    in it, running statistics do not see it, and its losses are to use the parameters of `self`.  Not to be had are
    windows of batches, frequencies, and pieces of a batch along time.

    It saves `optim_progress`; whose turn it is follows from the index of the batch.

    Args:
        inner_steps: How many steps the inner optimizer takes to one of the outer.
        unrolled_steps: Through how many steps on the batch at hand the outer gradient goes; 0 is none.
        rate: That of a look ahead; None is the present learning rate of each parameter.
        gradient_clip_val: The largest size of gradients; None is what the trainer says.
        gradient_clip_algorithm: What is not to be larger; None likewise.

    Its output is the inner loss.

    Sources: Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, https://arxiv.org/abs/1806.09055
    (one step, or none); Luketina, Berglund, Greff, Raiko: Scalable Gradient-Based Tuning of Continuous Regularization
    Hyperparameters, ICML 2016, https://arxiv.org/abs/1511.06727; Shaban, Cheng, Hatch, Boots: Truncated
    Back-propagation for Bilevel Optimization, AISTATS 2019, https://arxiv.org/abs/1810.10667.
    """

    requires: ClassVar[type[object] | None] = BilevelModule

    def __init__(
        self,
        inner_steps: int = 1,
        unrolled_steps: int = 1,
        *,
        rate: float | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: ClipAlgorithm | None = None,
    ) -> None:
        super().__init__(gradient_clip_val=gradient_clip_val, gradient_clip_algorithm=gradient_clip_algorithm)
        _check_count(f"{type(self).__name__}.inner_steps", inner_steps, 1)
        _check_count(f"{type(self).__name__}.unrolled_steps", unrolled_steps, 0)
        if rate is not None and not rate > 0:
            raise ConfigurationError(f"{type(self).__name__}.rate", f"{rate!r} is no rate", "Give a number above 0.")
        self.inner_steps = inner_steps
        self.unrolled_steps = unrolled_steps
        self.rate = rate

    def step_of(self, model: BilevelModule[B, V]) -> Callable[[tuple[B, V], int], Tensor]:
        self.check_automatic()
        settings, context, name = self.settings(), self.context, type(self).__name__
        optimizers = context.optimization.optimizers
        self._check(model, optimizers, settings)
        functional = Functional(model, optimizers[INNER], name)
        steps = _InnerStep(model), OuterStep(model, functional, self.unrolled_steps, self.rate)
        makers = [StepMaker[tuple[B, V], Tensor](step, context, settings) for step in steps]
        return self.several_steps(makers, _Turns(self.inner_steps))

    def _check(self, model: BilevelModule[B, V], optimizers: Sequence[Optimizer], settings: StepSettings) -> None:
        context, where, name = self.context, name_of(model.configure_optimizers), type(self).__name__
        if len(optimizers) != 2 or context.optimization.frequencies:
            told = "with frequencies" if context.optimization.frequencies else f"{len(optimizers)} in number"
            raise OptimizerError(
                where,
                f"its optimizers are {told}, and {name} takes turns between two",
                "Return [inner, outer]; `inner_steps` is how many steps of the first there are to one of the second.",
            )
        if sharing(optimizers) is not None:
            raise OptimizerError(
                where, "its optimizers share a parameter, which is then inner and outer", "Give it to one of them."
            )
        for setting, unwanted in (("accumulate_grad_batches", settings.accumulates), (SWITCH, bool(context.hidden))):
            if unwanted:
                raise ConfigurationError(setting, f"{name} steps once for each batch", f"Leave {setting} out.")
        if context.num_batches is not None and 0 < context.num_batches < self.inner_steps:
            warnings.warn(
                f"{name}.inner_steps is {self.inner_steps} and an epoch has {context.num_batches} batches, so that the "
                "outer optimizer never steps.",
                UserWarning,
                stacklevel=2,
            )


class OuterStep(Generic[B, V]):
    """Computes the outer loss after a look ahead; called with a pair of batches and its index.

    Args:
        model: Whose losses.
        functional: The same as a function of its inner parameters.
        unrolled_steps: How many steps it looks ahead.
        rate: That of these steps, or None for the present learning rates.
    """

    def __init__(
        self, model: BilevelModule[B, V], functional: Functional, unrolled_steps: int, rate: float | None
    ) -> None:
        self.__wrapped__: Callable[[V, int], Tensor] = model.outer_loss
        self._model = model
        self._functional = functional
        self._unrolled_steps = unrolled_steps
        self._rate = rate

    def __call__(self, pair: tuple[B, V], batch_idx: int) -> Tensor:
        batch, outer_batch = _parts(pair, batch_idx)
        weights = self._functional.parameters()
        for _ in range(self._unrolled_steps):
            weights = self._after_step(weights, batch, batch_idx)
        loss = self._functional(weights, self._model.outer_loss, outer_batch, batch_idx)
        if not loss.requires_grad:
            raise StepOutputError(
                name_of(self.__wrapped__),
                f"it depends on no outer parameter, by itself or through {self._unrolled_steps} unrolled steps",
                "Use an outer parameter in it, or in inner_loss and give unrolled_steps=1.",
            )
        return loss

    def _after_step(self, weights: Parameters, batch: B, batch_idx: int) -> Parameters:
        def loss(weights: Parameters) -> Tensor:
            return self._functional(weights, self._model.inner_loss, batch, batch_idx)

        gradients = cast("Parameters", grad(loss)(weights))
        rates = self._functional.rates() if self._rate is None else dict.fromkeys(weights, self._rate)
        return {name: weight - rates[name] * gradients[name] for name, weight in weights.items()}


class _InnerStep(Generic[B, V]):
    """Computes the inner loss; called with a pair of batches and its index."""

    def __init__(self, model: BilevelModule[B, V]) -> None:
        self.__wrapped__ = model.inner_loss

    def __call__(self, pair: tuple[B, V], batch_idx: int) -> Tensor:
        return self.__wrapped__(_parts(pair, batch_idx)[0], batch_idx)


class _Turns(Rota):
    """The outer optimizer, then the inner one, where a number of batches is full; otherwise the inner one alone."""

    def __init__(self, inner_steps: int) -> None:
        super().__init__(2)
        self._inner_steps = inner_steps

    def at(self, batch_idx: int) -> Sequence[int]:
        return (OUTER, INNER) if (batch_idx + 1) % self._inner_steps == 0 else (INNER,)


def _parts(pair: tuple[B, V], batch_idx: int) -> tuple[B, V]:
    given: object = pair
    if not is_list_or_tuple(given) or len(given) != 2:
        raise LoaderError(
            "train dataloader",
            f"its batch {batch_idx} is a {type(given).__name__}, and no pair of an inner batch and an outer one",
            'Give CombinedLoader((train, val), "max_size_cycle").',
        )
    return pair


def _check_count(where: str, count: object, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise ConfigurationError(where, f"{count!r} is no number of steps", f"Give an int from {least}.")
