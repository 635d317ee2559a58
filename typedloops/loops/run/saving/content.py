"""What a checkpoint of a run is made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from time import time_ns

import torch

from typedloops.checkpoint.migrations import CONTENT_VERSION
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.state import SavableLoop, collect_state
from typedloops.loops.run.computing.rng import RngStates
from typedloops.loops.run.context import InRun, RunContext, contexts_of
from typedloops.loops.run.listeners import Listeners
from typedloops.loops.run.saving.callback_states import states_of
from typedloops.loops.run.saving.custom import Custom
from typedloops.loops.run.saving.module_state import gradients_of, has_weights, rest_of, weights_of
from typedloops.loops.run.saving.optimization_state import optimization_state, window_states
from typedloops.loops.run.settings.config import RunConfig
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.trainer import Stage


def content_of(root: LoopNode, at: LoopNode | None, order: int, note: str = "") -> dict[str, object]:
    """The whole of what a run needs to go on as if nothing had happened.

    Args:
        root: The loop at the top of the run.
        at: The loop that is at one of its points, the innermost that is under way; None when none is.
        order: How many checkpoints there were before.
        note: Why the run does not go on exactly from here; empty when it does.

    Returns:
        These parts, those of runs within the run with a number after their name:

        - `about`: the version of the content, and how far the run has come;
        - `module`: the weights; `rest`: what belongs to the module besides, and gradients that are added up;
        - `optimizers`: optimizers, schedulers, loss scaler;
        - `loops`: the tree, what its loops declare, where each of those under way is;
        - `callbacks`, `custom`: the states of callbacks, what `on_save_checkpoint` added;
        - `rng`: the random numbers of Python, NumPy, torch and its devices.

    Raises:
        CheckpointError: Something in it cannot be saved.
    """
    runs = contexts_of(root if at is None else at)
    outermost, innermost = runs[0], runs[-1]
    custom = Custom()
    told = {
        **about(outermost.stage, innermost.epoch, steps_of(innermost), order),
        "note": note,
        "settings": settings_of(outermost.config),
    }
    content = of_the_whole(told, root, _places(root), _path(root, at), outermost.listeners)
    for depth, context in enumerate(runs):
        if context.guard is not None:
            context.guard.look(wait=True)  # rather the error now than a checkpoint of weights that are not numbers
        content |= {
            named(part, depth): state
            for part, state in _parts_of(context, at is not None and context is innermost).items()
        }
        if depth and (states := states_of(context.own_callbacks)):
            content[named("callbacks", depth)] = states
        for listener in context.own_listeners("on_save_checkpoint"):
            listener(custom)
    return {**content, "custom": dict(custom)}


def of_the_whole(
    told: Mapping[str, object], root: LoopNode, places: Mapping[str, object], at: str, listeners: Listeners
) -> dict[str, object]:
    """The parts that there are once, however many runs are within the run."""
    return {
        "about": told,
        "loops": {
            "tree": tree_of(root),
            "state": declared(root),
            "under_way": under_way(root),
            "places": places,
            "at": at,
        },
        "callbacks": states_of(listeners.callbacks),
        "rng": RngStates().state_dict(),
    }


def weights_content(context: RunContext, order: int) -> dict[str, object]:
    """The weights alone."""
    told = about(context.stage, context.epoch, steps_of(context), order, weights_only=True)
    return {"about": told, "module": dict(weights_of(unwrapped(context.module)))}


def named(part: str, depth: int) -> str:
    """What a part of a run within so many others is called."""
    return f"{part}_{depth}" if depth else part


def under_way(root: LoopNode) -> list[str]:
    """The paths of the loops whose run has not come to its end."""
    return [path or "." for path, loop in root.walk() if isinstance(loop, Loop) and loop.unfinished]


def tree_of(root: LoopNode) -> dict[str, object]:
    """The class of each loop by its path."""
    return {path or ".": f"{type(loop).__module__}.{type(loop).__qualname__}" for path, loop in root.walk()}


def _parts_of(context: RunContext, runs_module: bool) -> dict[str, object]:
    module, optimization = unwrapped(context.module), context.optimization
    # What a loop of one's own is given may be what makes the modules that loops within it run.
    weights: Mapping[str, object] = weights_of(module) if runs_module or has_weights(module) else {}
    gradients = gradients_of(module, optimization.optimizers, adds_up=optimization.adds_up)
    return {
        "module": dict(weights),
        "rest": {**rest_of(module), "gradients": gradients},
        "optimizers": {**optimization_state(optimization, module), "windows": window_states(optimization)},
    }


def about(stage: Stage, epoch: int, step: int, order: int, *, weights_only: bool = False) -> dict[str, object]:
    """What a checkpoint says of itself.

    Args:
        stage: What the run is for.
        epoch: The epoch under way, from 0.
        step: How many optimizer steps were taken.
        order: How many checkpoints there were, this one included.
        weights_only: Whether it is nothing to go on from.
    """
    return {
        "version": CONTENT_VERSION,
        "typedloops": release_of("typedloops"),
        "torch": str(torch.__version__),
        "stage": str(stage),
        "epoch": epoch,
        "step": step,
        "order": order,
        "written": time_ns(),
        "weights_only": weights_only,
        "note": "",
    }


SETTINGS = (
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "limit_train_batches",
    "limit_val_batches",
    "overfit_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "reload_dataloaders_every_n_epochs",
)
"""Settings of a trainer that change what is computed, or in which order."""


def settings_of(config: RunConfig) -> dict[str, str]:
    """Those settings as they are told."""
    return {name: repr(getattr(config, name)) for name in SETTINGS}


def steps_of(context: RunContext) -> int:
    """How many optimizer steps a run has taken."""
    return context.optimization.steps.total.completed


@cache
def release_of(package: str) -> str:
    """The version of an installed package; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def declared(root: LoopNode) -> dict[str, object]:
    """What the loops of a tree declare."""
    return collect_state(root) if isinstance(root, SavableLoop) else {}


def _places(root: LoopNode) -> dict[str, object]:
    return {
        path or ".": {"point": loop.place.point, "state": loop.run_state()}
        for path, loop in root.walk()
        if isinstance(loop, InRun) and loop.place.point
    }


def _path(root: LoopNode, at: LoopNode | None) -> str:
    nodes: list[tuple[str, object]] = list(root.walk())
    return next((path or "." for path, loop in nodes if loop is at), "")
