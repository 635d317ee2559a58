"""Automatic optimization of what gives a loss under another name than `training_step`, for modules of another shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import Protocol

from typedloops import (
    Callback,
    EvaluationLoop,
    FitLoopOf,
    OptimizerLoopOf,
    Trainer,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops.errors import OptimizerError
from typedloops.loops.evaluation import EvaluationEpochLoop
from typedloops.loops.run.kind import VALIDATION
from typedloops.loops.run.position import LoaderPosition


class Energy(Protocol):
    """A module that knows how good a state is."""

    def energy(self, state: Tensor, /) -> Tensor: ...
    def configure_optimizers(self) -> Optimizer: ...


class EnergyLoop(OptimizerLoopOf[Energy, Tensor, Tensor]):
    def loss_of(self, model: Energy) -> Callable[[Tensor, int], Tensor]:
        def step(batch: Tensor, batch_idx: int) -> Tensor:
            return model.energy(batch)

        return step


class Quadratic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(3))

    def energy(self, state: Tensor) -> Tensor:
        return (state - self.centre).square().sum()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class Steps(Callback[nn.Module]):
    def __init__(self) -> None:
        self.called: list[str] = []

    def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
        self.called.append("backward")

    def on_before_optimizer_step(self, trainer: TrainerView, module: nn.Module, optimizer: object) -> None:
        self.called.append("step")


def tree(loop: OptimizerLoopOf[Energy, Tensor, Tensor]) -> FitLoopOf[Energy, Tensor, Tensor]:
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(loop)))


def test_a_step_of_ones_own_has_all_that_is_around_one() -> None:
    model, states, steps = Quadratic(), list(torch.randn(4, 3)), Steps()
    trainer = Trainer(
        max_epochs=1, fit_loop=tree(EnergyLoop()), callbacks=[steps], accumulate_grad_batches=2, gradient_clip_val=1e-3
    )
    result = trainer.fit(model, states)
    assert steps.called == ["backward", "backward", "step"] * 2
    assert result.optimizer_steps == 2
    assert model.centre.norm().item() <= 2 * 0.1 * 1e-3 * 1.001


def test_one_whose_iteration_is_changed_does_the_same() -> None:
    class Slow(EnergyLoop):
        def advance(self, model: Energy, batch: Tensor, batch_idx: int) -> None:
            super().advance(model, batch, batch_idx)

    fast, slow, states = Quadratic(), Quadratic(), list(torch.randn(4, 3))
    for model, loop in ((fast, EnergyLoop()), (slow, Slow())):
        Trainer(max_epochs=2, fit_loop=tree(loop)).fit(model, states)
    assert torch.equal(fast.centre, slow.centre)
    assert fast.centre.norm().item() > 0


class TwoCentres(Quadratic):
    def configure_optimizers(self) -> Any:
        return [SGD([self.centre], lr=0.1), SGD([self.centre], lr=0.1)]


def test_several_optimizers_for_a_step_that_cannot_be_told_which() -> None:
    with pytest.raises(OptimizerError, match=r"returned 2 optimizers, and .*step has no parameter `optimizer_idx`"):
        Trainer(max_epochs=1, fit_loop=tree(EnergyLoop())).fit(TwoCentres(), list(torch.randn(4, 3)))


class EnergyEpochLoop(EvaluationEpochLoop[Tensor]):
    def step_of(self, model: object, position: LoaderPosition) -> Callable[[Tensor, int], object]:
        assert isinstance(model, Quadratic)

        def step(batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
            return {"energy": model.energy(batch)}

        return step


def test_an_evaluation_by_another_step() -> None:
    class EnergyValidation(ValidationLoop):
        requires = None

    states = list(torch.randn(4, 3))
    loop: EvaluationLoop[Any, Any] = EnergyValidation(epoch_loop=EnergyEpochLoop(VALIDATION))
    metrics = Trainer(validate_loop=loop).validate(Quadratic(), states).metrics
    assert metrics["energy"] == pytest.approx(float(torch.stack(states).square().sum()) / 4)
