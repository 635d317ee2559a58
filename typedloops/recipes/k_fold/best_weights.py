"""The weights of a fit when it was at its best, in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import inf, isnan
from typing import Literal, TypeAlias, cast

from torch import Tensor

from typedloops.callbacks.base import Callback
from typedloops.errors import ConfigurationError
from typedloops.loops.run.saving.module_state import weights_of
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.trainer import Stage, TrainerView

Mode: TypeAlias = Literal["min", "max"]


class BestWeights(Callback[object]):
    """Keeps the weights of the best validation of a fit; they are part of its state.

    Args:
        monitor: The metric that tells.
        mode: Whether the smallest (`min`) or the largest (`max`) value is the best.
    """

    state_key = "k_fold.best_weights"

    def __init__(self, monitor: str, mode: Mode) -> None:
        self.monitor = monitor
        self.mode: Mode = mode
        self.best: float = inf
        self.weights: Mapping[str, object] | None = None
        self.metrics: Mapping[str, float] = {}

    def on_validation_end(self, trainer: TrainerView, module: object) -> None:
        if trainer.stage != Stage.FIT or trainer.sanity_checking:
            return
        metrics = dict(trainer.metrics)
        if self.monitor not in metrics:
            raise ConfigurationError(
                "KFoldLoop.monitor",
                f"there is no metric {self.monitor!r} after a validation; there are {sorted(metrics)}",
                "Return it from `validation_step`, or monitor another one.",
            )
        value = metrics[self.monitor] if self.mode == "min" else -metrics[self.monitor]
        if self.weights is None or value < self.best:
            self.best, self.metrics = inf if isnan(value) else value, metrics
            self.weights = copied_weights(module)

    def state_dict(self) -> dict[str, object]:
        return {"best": self.best, "metrics": dict(self.metrics), "weights": self.weights}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        self.best = cast("float", state_dict["best"])
        self.metrics = cast("Mapping[str, float]", state_dict["metrics"])
        self.weights = cast("Mapping[str, object] | None", state_dict["weights"])


def copied_weights(module: object) -> dict[str, object]:
    """The weights and buffers of a module as they are now, on the CPU."""
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in weights_of(unwrapped(module)).items()
    }
