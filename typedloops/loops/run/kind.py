"""What sets validating, testing and predicting apart."""

from __future__ import annotations

from dataclasses import dataclass

from typedloops.loops.run.config import BatchLimit, RunConfig
from typedloops.protocols.trainer import Stage


@dataclass(frozen=True)
class LoadersKind:
    """A kind of run over loaders.

    Args:
        stage: What such a run is for.
        name: The part of its hooks' names that is its own: `on_<name>_start`.
        step: The module's method.
        loss: The metric that a bare scalar output is.
    """

    stage: Stage
    name: str
    step: str
    loss: str = ""

    def limit(self, config: RunConfig) -> BatchLimit:
        """The trainer's limit on the batches of a loader."""
        limits = {
            Stage.VALIDATE: config.limit_val_batches,
            Stage.TEST: config.limit_test_batches,
            Stage.PREDICT: config.limit_predict_batches,
        }
        return limits[self.stage]


VALIDATION = LoadersKind(Stage.VALIDATE, "validation", "validation_step", "val_loss")
TEST = LoadersKind(Stage.TEST, "test", "test_step", "test_loss")
PREDICTION = LoadersKind(Stage.PREDICT, "predict", "predict_step")
