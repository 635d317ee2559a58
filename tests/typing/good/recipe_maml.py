"""Meta-learning: batches of tasks of what the module's step takes, and inner loops of the right type."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor

from tests.typing.good.models import Batch, Classifier
from typedloops import (
    EvaluationResult,
    FitLoopOf,
    FitResult,
    Loop,
    OptimizerLoopOf,
    Trainer,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.protocols import StepOutput, TrainingModule
from typedloops.recipes.maml import (
    AdaptationLoop,
    AdaptationTestLoop,
    AdaptationValidationLoop,
    MetaOptimization,
    MetaSGDLoop,
    Tasks,
    TaskSteps,
    Weights,
    learning_rates,
)


class Tested(Classifier):
    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": torch.ones(())}


class NoAdaptation(Loop[[TaskSteps[Batch], Weights, Batch, int], Weights]):
    """An inner loop of one's own; the weights go as they came."""

    weights: Weights

    @property
    def done(self) -> bool:
        return True

    def on_run_start(self, tasks: TaskSteps[Batch], weights: Weights, support: Batch, steps: int) -> None:
        self.weights = weights

    def advance(self, tasks: TaskSteps[Batch], weights: Weights, support: Batch, steps: int) -> None:
        assert_type(tasks.gradients(weights, support, ["net.weight"]), dict[str, Tensor])

    def on_run_end(self) -> Weights:
        return self.weights


samples: Batch = torch.randn(2, 3, 4), torch.randint(0, 2, (2, 3))
data = [Tasks(support=samples, query=samples)]
assert_type(data, list[Tasks[Batch]])
model = Tested()

outer = MetaOptimization(AdaptationLoop[Batch](0.1), steps=2)
assert_type(outer, MetaOptimization[Batch])
as_base: OptimizerLoopOf[TrainingModule[Batch, StepOutput], Tasks[Batch], dict[str, Tensor]] = outer
outer.connect(inner_loop=NoAdaptation())
outer.inner_loop = MetaSGDLoop[Batch]()
outer.connect(inner_loop=AdaptationLoop[Batch](0.1, only=("net",)))
rates: torch.nn.ParameterDict = learning_rates(model, 0.1)

validation = AdaptationValidationLoop(AdaptationLoop[Batch](0.1), steps=(0, 1))
fit_loop = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(outer), validation))
trainer = Trainer(max_epochs=1, fit_loop=fit_loop)
assert_type(trainer.fit(model, data, data), FitResult[dict[str, Tensor]])

evaluating = Trainer(
    validate_loop=AdaptationValidationLoop(AdaptationLoop[Batch](0.1)),
    test_loop=AdaptationTestLoop(AdaptationLoop[Batch](0.1), steps=[1]),
)
assert_type(evaluating.validate(model, data), EvaluationResult)
assert_type(evaluating.test(model, data), EvaluationResult)
