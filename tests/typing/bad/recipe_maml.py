"""Meta-learning with tasks of something else, and inner loops that do not adapt."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import FitLoopOf, Loop, Trainer, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes.maml import AdaptationLoop, AdaptationValidationLoop, MetaOptimization, Tasks


class Countdown(Loop[[int], int]):
    @property
    def done(self) -> bool:
        return True

    def advance(self, n: int) -> None: ...

    def on_run_end(self) -> int:
        return 0


samples: Batch = torch.randn(2, 3, 4), torch.randint(0, 2, (2, 3))
data = [Tasks(samples, samples)]
of_tensors: list[Tasks[Tensor]] = [Tasks(samples[0], samples[0])]
model = Classifier()
outer: MetaOptimization[Batch] = MetaOptimization(AdaptationLoop[Batch](0.1))
trainer = Trainer(fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(outer))))
validating = Trainer(validate_loop=AdaptationValidationLoop(AdaptationLoop[Batch](0.1)))

trainer.fit(model, batches())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(model, of_tensors)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(torch.nn.Linear(2, 2), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
validating.validate(model, batches())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
validating.validate(model, of_tensors)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
outer.connect(inner_loop=Countdown())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
outer.connect(outer_loop=AdaptationLoop[Batch]())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
outer.inner_loop = AdaptationLoop[Tensor](0.1)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
MetaOptimization(Countdown())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AdaptationLoop[Batch](rate=0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
