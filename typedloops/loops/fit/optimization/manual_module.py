"""What a module that optimizes by itself may inherit: its optimizers, backward, toggling and clipping."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from torch import Tensor
from torch.optim import Optimizer

from typedloops.errors import MisuseError, StepOutputError
from typedloops.loops.fit.optimization.clipping import clip_gradients
from typedloops.loops.fit.optimization.loss import LossFinder
from typedloops.loops.fit.optimization.manual_optimizer import ManualOptimizer, ManualRun
from typedloops.loops.fit.optimization.toggling import toggled
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.settings.config import check_clipping
from typedloops.protocols.module import Scheduler
from typedloops.protocols.trainer import ClipAlgorithm


class Loan:
    """The fit that a module may use until it ends; a copy of the module gets none."""

    def __init__(self, context: RunContext | None = None) -> None:
        self.context = context
        self._run: ManualRun | None = None

    def run(self) -> ManualRun | None:
        """What the module uses, made once the fit has its optimizers; None when it is over."""
        if self.context is None:
            return None
        if self._run is None or self._run.optimization is not self.context.optimization:
            self._run = ManualRun(self.context)
        return self._run

    def end(self) -> None:
        self.context = self._run = None

    def __deepcopy__(self, memo: object) -> Loan:
        return Loan()

    def __reduce__(self) -> tuple[type[Loan], tuple[()]]:
        return Loan, ()


class ManualModule:
    """Helpers for a module that optimizes by itself, with the names of a LightningModule.

    ```
    class GAN(nn.Module, ManualModule):
        def training_step(self, batch: Batch, batch_idx: int) -> None:
            generator, discriminator = self.optimizers()
            with generator.toggled():
                loss = self.generator_loss(batch)
                generator.zero_grad()
                self.manual_backward(loss)
                generator.step()
            ...
    ```

    It is inherited beside `nn.Module`.  The helpers work during a fit of this very module, not in a copy.
    Whoever needs none of them can as well use the optimizers directly: every step counts.
    """

    automatic_optimization: bool = False
    """Whether the loops optimize; here the module does."""

    def optimizers(self) -> list[ManualOptimizer]:
        """What `configure_optimizers` returned, in its order."""
        return list(self._manual_run("optimizers").optimizers)

    def optimizer(self, index: int = 0) -> ManualOptimizer:
        """One of the optimizers.

        Raises:
            MisuseError: There is none with this index.
        """
        optimizers = self._manual_run("optimizer").optimizers
        if not 0 <= index < len(optimizers):
            raise MisuseError(
                f"{type(self).__name__}.optimizer({index})",
                f"configure_optimizers returned {len(optimizers)} optimizers",
                "Give the index of one of them, from 0.",
            )
        return optimizers[index]

    def lr_schedulers(self) -> list[Scheduler]:
        """The schedulers that `configure_optimizers` returned: it is for the module to step them."""
        return [rate.scheduler for rate in self._manual_run("lr_schedulers").optimization.rates]

    def manual_backward(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Differentiate a loss, between the hooks `on_before_backward` and `on_after_backward`.

        Where the fit scales its losses (`16-mixed`), this one is scaled.

        Args:
            loss: A scalar.
            retain_graph: Keep its graph, to differentiate it or a part of it again.

        Raises:
            MisuseError: The loops optimize, and differentiate.
            StepOutputError: It is no tensor, no scalar, or depends on nothing that requires a gradient.
        """
        run, losses = self._manual_run("manual_backward"), LossFinder(self.manual_backward)
        if run.optimization.automatic:
            raise MisuseError(
                f"{type(self).__name__}.manual_backward",
                "the module has `automatic_optimization = True`, and the loops differentiate what its step returns",
                "Set it to False, or return the loss.",
            )
        if not isinstance(loss, Tensor):
            raise StepOutputError(
                f"{type(self).__name__}.manual_backward",
                f"it was given a {type(loss).__name__}",
                "Give it a scalar loss.",
            )
        run.context.hook("on_before_backward")(loss)
        try:
            run.optimization.backward(loss, retain_graph=retain_graph)
        except RuntimeError as error:
            losses.explain(loss, error)
            raise
        run.context.hook("on_after_backward")()

    def toggled(self, optimizer: ManualOptimizer | Optimizer) -> AbstractContextManager[None]:
        """For a while, what belongs only to the other optimizers requires no gradient."""
        return toggled(_itself(optimizer), self._manual_run("toggled").optimization.optimizers)

    def clip_gradients(
        self,
        optimizer: ManualOptimizer | Optimizer,
        gradient_clip_val: float,
        gradient_clip_algorithm: ClipAlgorithm = "norm",
    ) -> Tensor | None:
        """Clip the gradients of an optimizer's parameters.

        Args:
            optimizer: Whose gradients.
            gradient_clip_val: The largest size of them.
            gradient_clip_algorithm: What is not to be larger: the `norm` of all, or each `value`.

        Returns:
            The norm before it was clipped, which is also `trainer.gradient_norm`; None when values were clipped.
        """
        optimization, itself = self._manual_run("clip_gradients").optimization, _itself(optimizer)
        check_clipping(gradient_clip_val, gradient_clip_algorithm)
        optimization.unscale(itself)
        optimization.gradient_norm = clip_gradients(itself, gradient_clip_val, gradient_clip_algorithm)
        return optimization.gradient_norm

    def _manual_run(self, name: str) -> ManualRun:
        loan: object = vars(self).get("_loan")
        run = loan.run() if isinstance(loan, Loan) else None
        if run is None:
            raise MisuseError(
                f"{type(self).__name__}.{name}",
                "no fit of this module is under way",
                "Call it from training_step or a hook of a fit, on the module that is fitted and not on a copy.",
            )
        return run


@contextmanager
def lent(model: object, context: RunContext) -> Generator[None]:
    """Lend a fit to `model`, if that is a `ManualModule`, until its end; nothing stays behind."""
    if not isinstance(model, ManualModule):
        yield
        return
    before: object = vars(model).get("_loan")
    loan = vars(model)["_loan"] = Loan(context)
    try:
        yield
    finally:
        loan.end()
        vars(model).pop("_loan", None)
        if before is not None:
            vars(model)["_loan"] = before


def _itself(optimizer: ManualOptimizer | Optimizer) -> Optimizer:
    return optimizer.optimizer if isinstance(optimizer, ManualOptimizer) else optimizer
