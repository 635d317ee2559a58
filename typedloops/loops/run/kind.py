"""What sets validating, testing and predicting apart."""

from __future__ import annotations

from dataclasses import dataclass

from typedloops.loops.run.settings.config import BatchLimits, RunConfig
from typedloops.protocols.trainer import Stage


@dataclass(frozen=True)
class LoadersKind:
    """A kind of run over loaders.

    Args:
        stage: What such a run is for.
        name: The part of its hooks' names that is its own: `on_<name>_start`.
        step: The module's method.
        setting: What the trainer calls the limit on its loaders.
        loss: The metric that a bare scalar output is.
    """

    stage: Stage
    name: str
    step: str
    setting: str
    loss: str = ""

    def limit(self, config: RunConfig) -> BatchLimits:
        """The trainer's limit on the batches of its loaders."""
        limits: dict[Stage, BatchLimits] = {
            Stage.VALIDATE: config.limit_val_batches,
            Stage.TEST: config.limit_test_batches,
            Stage.PREDICT: config.limit_predict_batches,
        }
        return limits[self.stage]


VALIDATION = LoadersKind(Stage.VALIDATE, "validation", "validation_step", "limit_val_batches", "val_loss")
TEST = LoadersKind(Stage.TEST, "test", "test_step", "limit_test_batches", "test_loss")
PREDICTION = LoadersKind(Stage.PREDICT, "predict", "predict_step", "limit_predict_batches")
