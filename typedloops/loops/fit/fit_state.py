"""What a fit knows besides what its loops declare: its metrics, its times, a stop that it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import cast

from torch import Tensor

from typedloops.loops.run.context import RunContext


def fit_state(context: RunContext) -> dict[str, object]:
    """What there is of a fit under way, for `take_up`."""
    return {
        "epoch": context.epoch,
        "step": context.optimization.steps.total.completed,
        "order": context.saver.order,
        "metrics": dict(context.metrics),
        "logged": context.training_metrics.state_dict(),
        "since_validation": monotonic() - context.validated_at,
        "elapsed": context.stop.elapsed,
        "stop": context.stop.requested,
        "scalars": {index: dict(scalars) for index, scalars in context.optimization.scalars.items()},
    }


def take_up(context: RunContext, state: Mapping[str, object]) -> None:
    """Let a fit go on where `fit_state` was taken."""
    context.metrics.update(cast("Mapping[str, float]", state["metrics"]))
    context.training_metrics.load_state_of(context.on_device(state["logged"]))
    context.validated_at -= cast("float", state["since_validation"])
    context.stop.took(cast("float", state["elapsed"]))
    if state["stop"]:
        context.stop.request(True)
    scalars = cast("Mapping[int, dict[str, Tensor | float]]", state["scalars"])
    context.optimization.scalars.update(context.on_device(scalars))
