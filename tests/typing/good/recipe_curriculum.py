"""Stages of a curriculum fit the module by the types of their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_type

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import FitLoop, PredictionLoop, TestLoop, Trainer, ValidationLoop
from typedloops.protocols import LoaderSource
from typedloops.recipes.curriculum import (
    CurriculumLoop,
    CurriculumStage,
    MetricPlateau,
    MetricReached,
    StageResult,
    StageRule,
)


def freeze(model: Classifier) -> None:
    model.net.bias.requires_grad_(False)


def never(history: Sequence[Mapping[str, float]]) -> bool:
    return not history


rules: list[StageRule] = [MetricReached("val_loss", 0.1, "min"), MetricPlateau("val_loss", "min"), never]
plain = CurriculumStage(batches(), prepare=freeze)
validated = CurriculumStage(batches, batches(), until=rules[0], name="second")
assert_type(plain.train_dataloaders, LoaderSource[Batch])
assert_type(validated, CurriculumStage[Batch, list[Batch]])

curriculum = CurriculumLoop([FitLoop(max_epochs=1), FitLoop(max_epochs=2)])
curriculum.connect(stages=[FitLoop(max_epochs=1), FitLoop(max_epochs=1)])
trainer = Trainer(fit_loop=curriculum)
assert_type(trainer, Trainer[CurriculumLoop, ValidationLoop, TestLoop, PredictionLoop])
assert_type(trainer.fit_loop.run(Classifier(), [plain, plain]), tuple[StageResult, ...])
assert_type(trainer.fit(Classifier(), [plain, validated], ckpt_path=None), tuple[StageResult, ...])
