"""What is kept of a module: its weights, and what its `state_dict` leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Protocol, runtime_checkable

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import CheckpointError
from typedloops.loops.run.computing.modes import load_modes_into, modes_of, submodules
from typedloops.loops.run.saving.buffers import (
    empty_buffers,
    fill_empty_buffers,
    load_passing_buffers,
    passing_buffers,
)
from typedloops.loops.run.saving.sparse import as_data, of_data
from typedloops.protocols.state import Stateful

REMEDY = "Build the module that was saved, with the same arguments."


@runtime_checkable
class MetricObject(Protocol):
    """A metric that adds up what it is shown: one of torchmetrics, whose state is not in `state_dict`."""

    @property
    def metric_state(self) -> Mapping[str, object]: ...
    def update(self, *args: object, **kwargs: object) -> None: ...
    def compute(self) -> object: ...


def has_weights(module: object) -> TypeGuard[Stateful]:
    """Whether its weights can be asked for: not those of a class, which has the methods of its instances."""
    return isinstance(module, Stateful) and not isinstance(module, type)


def weights_of(module: object) -> Mapping[str, object]:
    """The weights and persistent buffers of a module by name.

    Raises:
        CheckpointError: It has none that could be asked for.
    """
    if not has_weights(module):
        raise CheckpointError(
            type(module).__name__,
            "it cannot be saved: it has no `state_dict` and `load_state_dict`",
            "Give it both, or make it an nn.Module.",
        )
    return module.state_dict()


def load_weights_into(where: str, module: object, weights: Mapping[str, object]) -> None:
    """Load what `weights_of` gave.

    Raises:
        CheckpointError: It does not fit.
    """
    if isinstance(module, nn.Module):
        own: Mapping[str, object] = module.state_dict()
        empty = empty_buffers(module, weights.keys() - own.keys())
        _check_names(where, {*own, *empty}, weights.keys())
        fill_empty_buffers(module, weights, empty)
    if not isinstance(module, Stateful):
        raise CheckpointError(where, f"a {type(module).__name__} has no `load_state_dict`", REMEDY)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(where, f"the weights do not fit: {error}", REMEDY) from error


def _check_names(where: str, here: Iterable[str], there: Iterable[str]) -> None:
    here, there = set(here), set(there)
    lines = [f"- {name}" for name in sorted(there - here)] + [f"+ {name}" for name in sorted(here - there)]
    if lines:
        raise CheckpointError(
            where,
            "the module has other weights than the checkpoint (-: only there, +: only here):\n" + "\n".join(lines),
            REMEDY,
        )


def rest_of(module: object) -> dict[str, object]:
    """What belongs to a module and is not in its `state_dict`.

    Those are buffers that are not persistent, metrics, which submodules are in eval mode, and which
    parameters need no gradient.
    """
    if not isinstance(module, nn.Module):
        return {}
    return {
        "buffers": passing_buffers(module),
        "metrics": {name: _state_of(metric) for name, metric in _metrics(module)},
        **modes_of(module),
    }


def load_rest_into(where: str, module: object, rest: Mapping[str, object]) -> None:
    """Load what `rest_of` gave into a module whose weights fit.

    Raises:
        CheckpointError: There is something that finds no place in it.
    """
    if not isinstance(module, nn.Module) or not rest:
        return
    load_modes_into(module, rest)
    metrics = _mapping(rest, "metrics")
    load_passing_buffers(where, module, _mapping(rest, "buffers"))
    for name, metric in _metrics(module):
        saved = metrics.get(name)
        if is_mapping(saved):
            _load_metric(metric, saved)


def _metrics(module: nn.Module) -> Iterator[tuple[str, MetricObject]]:
    return ((name, part) for name, part in submodules(module) if _is_metric(part))


def _is_metric(part: object) -> TypeGuard[MetricObject]:
    # By its class: a property may compute something.  Of a collection each metric is asked by itself.
    return not isinstance(part, nn.ModuleDict) and all(
        hasattr(type(part), name) for name in ("metric_state", "update", "compute")
    )


def _state_of(metric: MetricObject) -> dict[str, object]:
    return {"state": dict(metric.metric_state), "updates": getattr(metric, "_update_count", 0)}


def _load_metric(metric: MetricObject, saved: Mapping[str, object]) -> None:
    device: object = getattr(metric, "device", None)
    for name, value in _mapping(saved, "state").items():
        setattr(metric, name, _on(device, value))
    # torchmetrics has no setter for it, and takes a metric without updates for an empty one.
    vars(metric)["_update_count"] = saved.get("updates", 0)
    vars(metric)["_computed"] = None


def _on(device: object, value: object) -> object:
    if isinstance(value, Tensor):
        return value.to(device) if isinstance(device, torch.device) else value
    return [_on(device, item) for item in value] if is_list_or_tuple(value) else value


def gradients_of(module: object, optimizers: Iterable[Optimizer], *, adds_up: bool = True) -> dict[str, object]:
    """The gradients that are not put away before the next ones, by the name of their parameter.

    Args:
        module: Has the parameters.
        optimizers: Have the same, or others.
        adds_up: Whether those of the optimizers are among them; nobody puts away the gradients of other parameters.
    """
    optimizers = list(optimizers)
    put_away: set[int] = set() if adds_up else {id(parameter) for _, parameter in _of_optimizers(optimizers)}
    return {
        name: as_data(parameter.grad)
        for name, parameter in _parameters(module, optimizers)
        if parameter.grad is not None and id(parameter) not in put_away
    }


def load_gradients_into(module: object, optimizers: Iterable[Optimizer], gradients: Mapping[str, object]) -> None:
    """Load what `gradients_of` gave; other parameters have none afterwards."""
    for name, parameter in _parameters(module, optimizers):
        saved = of_data(gradients.get(name))
        parameter.grad = None if saved is None else saved.to(parameter.device)


def _parameters(module: object, optimizers: Iterable[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()
    named = list(module.named_parameters()) if isinstance(module, nn.Module) else []
    for name, parameter in [*named, *_of_optimizers(optimizers)]:
        if id(parameter) not in seen:
            seen.add(id(parameter))
            yield name, parameter


def _of_optimizers(optimizers: Iterable[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    for place, optimizer in enumerate(optimizers):
        for index, group in enumerate(optimizer.param_groups):
            for number, parameter in enumerate(cast("list[Tensor]", group["params"])):
                yield f"optimizer {place}, group {index}, parameter {number}", parameter


def _mapping(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = values.get(name)
    return value if is_mapping(value) else {}
