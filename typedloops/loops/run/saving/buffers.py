"""The buffers of a module: where they are, and what a checkpoint had in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, cast

import torch
from torch import Tensor, nn

from typedloops.errors import CheckpointError

IN_INIT: Final = (
    "Register them in `__init__`, `register_buffer(name, None, persistent=False)` where the value comes later."
)


class BufferPlace:
    """Where a buffer of a module is, or will be.

    Args:
        part: The submodule that has it.
        name: What it is called there.
    """

    def __init__(self, part: nn.Module, name: str) -> None:
        self._buffers = cast("dict[str, Tensor | None]", vars(part)["_buffers"])
        self._name = name

    @property
    def tensor(self) -> Tensor | None:
        """What is there."""
        return self._buffers[self._name]

    def put(self, value: Tensor) -> None:
        """Let another tensor be there."""
        self._buffers[self._name] = value


def buffer_places(module: nn.Module) -> dict[str, BufferPlace]:
    """All buffers by name: those that are None too, and under every name those that several submodules share."""
    parts = cast("Iterator[tuple[str, nn.Module]]", module.named_modules())
    return {
        f"{path}.{name}" if path else name: BufferPlace(part, name)
        for path, part in parts
        for name in cast("dict[str, object]", vars(part)["_buffers"])
    }


def passing_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The buffers that are not in the module's `state_dict`."""
    kept = module.state_dict().keys()
    found = {name: place.tensor for name, place in buffer_places(module).items() if name not in kept}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def load_passing_buffers(where: str, module: nn.Module, saved: Mapping[str, object]) -> None:
    """Load what `passing_buffers` gave.

    Raises:
        CheckpointError: The module has no buffer of such a name.
    """
    places, device = buffer_places(module), _device_of(module)
    if lost := sorted(saved.keys() - places.keys()):
        problem = f"it has buffers that the module has not, and that are not among its weights: {', '.join(lost)}"
        raise CheckpointError(where, problem, IN_INIT)
    moved: dict[int, Tensor] = {}
    for name, value in saved.items():
        if isinstance(value, Tensor):
            place, now = places[name], places[name].tensor
            if now is not None and _takes(now, value):
                with torch.no_grad():
                    now.copy_(value)
            else:
                # One tensor under several names stays one.
                place.put(moved.setdefault(id(value), value.to(device if now is None else now.device, copy=True)))


def fill_empty_buffers(module: nn.Module, weights: Mapping[str, object], names: Iterable[str]) -> None:
    """Make room in buffers that are None for what is among the weights."""
    places, device = buffer_places(module), _device_of(module)
    for name in names:
        value = weights[name]
        if isinstance(value, Tensor):
            places[name].put(torch.empty_like(value, device=device))


def empty_buffers(module: nn.Module, names: Collection[str]) -> list[str]:
    """Which of these names are those of buffers that are None."""
    return [name for name, place in buffer_places(module).items() if name in names and place.tensor is None]


def _takes(buffer: Tensor, value: Tensor) -> bool:
    strides = zip(buffer.stride(), buffer.shape, strict=True)
    overlaps = any(stride == 0 and size > 1 for stride, size in strides)
    return buffer.shape == value.shape and buffer.dtype == value.dtype and not overlaps


def _device_of(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))
