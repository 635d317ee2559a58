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
    """Keeps the weights of the best validation of a fit, and the metrics that belong to them; they are its state.

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
        """Those of the best validation, and of the training in the epoch that it was in."""
        self._before: Mapping[str, float] = {}
        self._of_validation: Mapping[str, float] = {}
        self._epoch_goes_on = False

    def on_validation_start(self, trainer: TrainerView, module: object) -> None:
        if _counts(trainer):
            self._before = dict(trainer.metrics)

    def on_validation_end(self, trainer: TrainerView, module: object) -> None:
        if not _counts(trainer):
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
            # Those of the training in this epoch are not known yet: what is there is of the epoch before.
            self._of_validation = {name: metrics[name] for name in metrics if metrics[name] != self._before.get(name)}
            self._epoch_goes_on = True

    def on_train_epoch_end(self, trainer: TrainerView, module: object) -> None:
        if self._epoch_goes_on:
            self.metrics = {**trainer.metrics, **self._of_validation}
            self._epoch_goes_on = False

    def state_dict(self) -> dict[str, object]:
        return {
            "best": self.best,
            "metrics": dict(self.metrics),
            "weights": self.weights,
            "before": dict(self._before),
            "of_validation": dict(self._of_validation),
            "epoch_goes_on": self._epoch_goes_on,
        }

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        self.best = cast("float", state_dict["best"])
        self.metrics = cast("Mapping[str, float]", state_dict["metrics"])
        self.weights = cast("Mapping[str, object] | None", state_dict["weights"])
        self._before = cast("Mapping[str, float]", state_dict["before"])
        self._of_validation = cast("Mapping[str, float]", state_dict["of_validation"])
        self._epoch_goes_on = bool(state_dict["epoch_goes_on"])


def _counts(trainer: TrainerView) -> bool:
    """Whether the validation under way is one of the fit's own."""
    return trainer.stage == Stage.FIT and not trainer.sanity_checking


def copied_weights(module: object) -> dict[str, object]:
    """The weights and buffers of a module as they are now, on the CPU."""
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in weights_of(unwrapped(module)).items()
    }
