"""The state of optimizers, schedulers and the loss scaler of a fit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import Protocol

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import OptimizerError, StateError
from typedloops.loops.run.optimization import Optimization
from typedloops.loops.run.saving.parameter_names import check_names, names_of_parameters
from typedloops.loops.run.scheduled_rate import ScheduledRate


class Resumable(Protocol):
    """An optimizer or a scheduler, as far as its state goes."""

    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state_dict: dict[str, object], /) -> object: ...


def optimization_state(optimization: Optimization, module: object) -> dict[str, object]:
    """What a later fit needs to go on with optimizers that are made anew.

    Args:
        optimization: Has them.
        module: Whose parameters they have, which are saved by their names.
    """
    return {
        "optimizers": [
            {**_saved(optimizer), "names": names_of_parameters(optimizer, module)}
            for optimizer in optimization.optimizers
        ],
        "schedulers": [_saved(rate.scheduler) for rate in optimization.rates],
        "rates": [
            {"due": rate.due, "pending": rate.pending, "progress": rate.progress.state_dict()}
            for rate in optimization.rates
        ],
        "scaler": None if optimization.scaler is None else optimization.scaler.state_of(optimization.optimizers),
    }


def window_states(optimization: Optimization) -> dict[int, object]:
    """Where the windows of gradients are that are added up for each optimizer."""
    made = {index: window.state_dict() for index, window in optimization.windows.items() if window is not None}
    # A run that goes on may be saved anew before its windows are made.
    return {**optimization.resumed_windows, **made}


def load_optimization(optimization: Optimization, module: object, state: Mapping[str, object]) -> None:
    """Give optimizers and schedulers that were made anew the states of those before.

    Args:
        optimization: Has them.
        module: Whose parameters they have.
        state: What `optimization_state` gave.

    Raises:
        OptimizerError: They are others, or have other parameters or the same in another order.
        StateError: It is no such state.
    """
    optimizers, schedulers, rates = (_items(state, name) for name in ("optimizers", "schedulers", "rates"))
    _check_alike(optimization.optimizers, optimizers)
    _check_alike([rate.scheduler for rate in optimization.rates], schedulers)
    for optimizer, saved in zip(optimization.optimizers, optimizers, strict=True):
        check_names(optimizer, module, saved.get("names"))
        _load(optimizer, saved)
        _keep_types(optimizer, saved["state"])
        if optimization.steps.total.completed:
            # Otherwise torch warns of a scheduler that steps first.
            vars(optimizer)["_opt_called"] = True
    for rate, saved, counts in zip(optimization.rates, schedulers, rates, strict=True):
        _load(rate.scheduler, saved)
        _load_counts(rate, counts)
    scaler = state.get("scaler")
    if optimization.scaler is not None and is_mapping(scaler):
        optimization.scaler.load_state_of(optimization.optimizers, scaler)


def _saved(thing: object) -> dict[str, object]:
    return {"kind": type(thing).__name__, "state": cast("Resumable", thing).state_dict()}


def _load(thing: object, saved: Mapping[str, object]) -> None:
    state = saved.get("state")
    if not is_mapping(state):
        raise StateError("optimizers", f"{state!r:.60} is no state", "Load what was saved.")
    try:
        cast("Resumable", thing).load_state_dict(copy.copy(dict(state)))
    except ValueError as error:
        raise _others(
            f"what it made does not fit: {error}",
            "Make the same, parameter groups that were added during the run among them, or start anew.",
        ) from error


def _keep_types(optimizer: Optimizer, saved: object) -> None:
    """Undo torch's conversion of an optimizer's state to the type of its parameter: sums may be kept in more bits."""
    states = saved.get("state") if is_mapping(saved) else None
    if not is_mapping(states):
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in cast("list[Tensor]", group["params"])]
    of_optimizer = cast("dict[Tensor, dict[str, object]]", optimizer.state)
    for index, entries in cast("Mapping[object, object]", states).items():
        # What is of no single parameter goes by a name.
        if not isinstance(index, int) or index >= len(parameters):
            continue
        if is_mapping(entries) and parameters[index] in of_optimizer:
            loaded = of_optimizer[parameters[index]]
            for name, value in entries.items():
                now = loaded.get(name)
                if isinstance(value, Tensor) and isinstance(now, Tensor) and now.dtype != value.dtype:
                    loaded[name] = value.to(now.device, copy=True)


def _load_counts(rate: ScheduledRate, counts: Mapping[str, object]) -> None:
    due, pending, progress = counts.get("due"), counts.get("pending"), counts.get("progress")
    if not isinstance(due, int) or not isinstance(pending, bool) or not is_mapping(progress):
        raise StateError("schedulers", f"{counts!r:.60} are no counts", "Load what was saved.")
    rate.due, rate.pending = due, pending
    rate.progress.load_state_dict(progress)


def _items(state: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    items = state.get(name)
    if not is_list_or_tuple(items) or not all(map(is_mapping, items)):
        raise StateError(name, f"{items!r:.60} is no list of states", "Load what was saved.")
    return cast("list[Mapping[str, object]]", list(items))


def _check_alike(things: Sequence[object], saved: Sequence[Mapping[str, object]]) -> None:
    now, then = [type(thing).__name__ for thing in things], [str(each.get("kind")) for each in saved]
    if now != then:
        raise _others(f"it made {', '.join(now) or 'none'}, and the last fit had {', '.join(then) or 'none'}")


def _others(problem: str, remedy: str = "Make the same, or start anew.") -> OptimizerError:
    return OptimizerError("configure_optimizers", problem, remedy)
