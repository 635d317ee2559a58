"""What sets a validation apart from a test."""

from __future__ import annotations

from dataclasses import dataclass

from typedloops.loops.config import BatchLimit, RunConfig
from typedloops.protocols.trainer import Stage


@dataclass(frozen=True)
class EvaluationKind:
    """A kind of evaluation.

    Args:
        stage: What a run of it is for.
        name: The part of its hooks' names: `on_<name>_start`.
        step: The module's method.
        loss: The metric that a bare scalar output is.
    """

    stage: Stage
    name: str
    step: str
    loss: str

    def limit(self, config: RunConfig) -> BatchLimit:
        return config.limit_val_batches if self.stage is Stage.VALIDATE else config.limit_test_batches


VALIDATION = EvaluationKind(Stage.VALIDATE, "validation", "validation_step", "val_loss")
TEST = EvaluationKind(Stage.TEST, "test", "test_step", "test_loss")
