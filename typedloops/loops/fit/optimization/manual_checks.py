"""Settings and hooks of automatic optimization that make no sense for a module that optimizes by itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from typedloops._core.escape import name_of
from typedloops.errors import ConfigurationError
from typedloops.loops.fit.optimization.automatic import AutomaticOptimization
from typedloops.loops.fit.optimization.manual_module import ManualModule
from typedloops.loops.run.computing.precision import number_type
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.settings.config import RunConfig
from typedloops.loops.run.unwrapped import unwrapped

OWN_WAYS = ("optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping", "lr_scheduler_step")
"""What a module may do in place of the loops that optimize."""


def check_manual(context: RunContext, loops: Iterable[object]) -> None:
    """Refuse what would have no effect in a fit of a module with `automatic_optimization = False`, or warn of it.

    Args:
        context: The fit.
        loops: Those of its tree.

    Raises:
        ConfigurationError: A setting of the trainer or of a loop is for automatic optimization.
    """
    plain = RunConfig()
    for name in ("accumulate_grad_batches", "accumulation_weight", "gradient_clip_val"):
        if getattr(context.config, name) != getattr(plain, name):
            raise _useless(name)
        for loop in loops:
            kind = type(loop).__name__
            if isinstance(loop, AutomaticOptimization) and vars(loop).get(name) is not None:
                raise _useless(f"{kind}.{name}")
    from typedloops.loops.fit.optimization.micro_batches import MicroBatchOptimization  # few runs want it

    if any(isinstance(loop, MicroBatchOptimization) for loop in loops):
        raise ConfigurationError(
            "MicroBatchOptimization",
            "it is for automatic optimization, and the module has `automatic_optimization = False`",
            "Split the batch in training_step (typedloops.shrinking finds the size), and leave it out.",
        )
    if number_type(context.config.precision).scales and not isinstance(unwrapped(context.module), ManualModule):
        raise ConfigurationError(
            "precision",
            "'16-mixed' scales losses and gradients, and the module has `automatic_optimization = False`",
            "Give 'bf16-mixed', which needs no scaling, or inherit ManualModule and use what it offers.",
        )
    for name in OWN_WAYS:
        if (method := context.listeners.of_module(name)) is not None:
            warnings.warn(
                f"{name_of(method)}: it is for automatic optimization, and the module has "
                "`automatic_optimization = False`: nothing calls it. Do it in training_step.",
                UserWarning,
                stacklevel=2,
            )


def _useless(name: str) -> ConfigurationError:
    return ConfigurationError(
        name,
        "it is for automatic optimization, and the module has `automatic_optimization = False`",
        "Do it in training_step (ManualModule.clip_gradients clips), and leave the setting out.",
    )
