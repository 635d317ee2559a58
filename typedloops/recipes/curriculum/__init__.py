"""Curricula and progressive schedules: a fit in stages."""

from typedloops.recipes.curriculum.loop import CurriculumLoop as CurriculumLoop
from typedloops.recipes.curriculum.loop import CurriculumStage as CurriculumStage
from typedloops.recipes.curriculum.loop import StageResult as StageResult
from typedloops.recipes.curriculum.stage_rules import MetricPlateau as MetricPlateau
from typedloops.recipes.curriculum.stage_rules import MetricReached as MetricReached
from typedloops.recipes.curriculum.stage_rules import StageRule as StageRule
