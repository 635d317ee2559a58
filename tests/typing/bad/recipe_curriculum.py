# pyright: reportUnknownMemberType=false
"""Stages whose batches do not fit the module, and what no stage is."""

from __future__ import annotations

from torch import Tensor, nn

from tests.typing.good.models import Batch, Classifier, batches
from tests.typing.good.recipe_curriculum import curriculum, plain, validated
from typedloops import Trainer
from typedloops.recipes.curriculum import CurriculumLoop, CurriculumStage, MetricPlateau, MetricReached, StageRule


class Trains(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> None: ...


def none() -> None: ...


other = CurriculumStage([1, 2])
other_validation = CurriculumStage(batches(), [1, 2])
curriculum.run(Classifier(), [other])  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
curriculum.run(Classifier(), [plain, other])  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
curriculum.run(Classifier(), [other_validation])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
curriculum.run(Trains(), [plain, validated])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
curriculum.run(Classifier(), plain)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
curriculum.run(Classifier(), batches())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Trainer(fit_loop=curriculum).fit(Classifier(), [other])  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
Trainer(fit_loop=curriculum).fit([plain])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
wrong: list[int] = curriculum.run(Classifier(), [plain])  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
CurriculumStage(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
CurriculumStage(batches(), prepare=none)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
CurriculumStage(batches(), until="val_loss")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
CurriculumLoop([Classifier()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
MetricReached("val_loss", 0.1, "up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
rule: StageRule = MetricPlateau  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
