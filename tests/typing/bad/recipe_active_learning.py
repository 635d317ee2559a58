# pyright: reportUnknownMemberType=false
"""Pools, oracles and scores that do not fit a module or each other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tests.typing.good.models import Batch, Classifier, batches
from tests.typing.good.recipe_active_learning import Scorer, Texts, oracle, person, pool
from typedloops import Trainer
from typedloops.recipes.active_learning import Acquisition, ActiveLearningLoop, LabelPool, Oracle, margin_sampling


def of_texts(predictions: Sequence[str]) -> Tensor:
    raise NotImplementedError


def no_scores(predictions: Sequence[Tensor]) -> list[float]:
    return [0.0]


class Trains(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> None: ...


class TrainsAndPredicts(Trains):
    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return batch


learning = ActiveLearningLoop(margin_sampling, initial=2, query=2, budget=4)
ActiveLearningLoop(no_scores, initial=2, query=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ActiveLearningLoop(margin_sampling, 2, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
wrong: Acquisition[Tensor] = of_texts  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
no_pool: LabelPool[object, object, int] = Texts()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
no_oracle: Oracle[int] = person  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

learning.run(Scorer(), pool, person)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
learning.run(Classifier(), pool, oracle)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
learning.run(Scorer(), Texts(), person)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
learning.run(Trains(), pool, oracle)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
learning.run(TrainsAndPredicts(), pool, oracle, batches())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
learning.run(Scorer(), pool, oracle, [1, 2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
learning.run(Scorer(), batches(), oracle)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
ActiveLearningLoop(of_texts, initial=2, query=2).run(Scorer(), pool, oracle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(fit_loop=learning).fit(Scorer(), pool)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Trainer(fit_loop=learning).fit(Scorer(), batches())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
learning.connect(val_loop=learning)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
