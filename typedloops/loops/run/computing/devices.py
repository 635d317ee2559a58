"""Where a run computes: which device, and how module and optimizers get there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from typedloops.errors import ConfigurationError

REMEDY = "Give 'auto', 'cpu', 'gpu', or a device as in 'cuda:1'."
EVERYWHERE = ("cpu", "meta")
"""Devices that every torch has."""


def device_for(accelerator: str, module: object = None) -> torch.device:
    """The device that is meant.

    Args:
        accelerator: `auto` is the accelerator that the module is on, or else one that is available, or the
            CPU; `gpu` is whatever accelerator there is; anything else is a device of torch.
        module: What is to be run.

    Raises:
        ConfigurationError: There is no such device, or it is not available.
    """
    if accelerator == "auto":
        return next(_on_accelerators(module), None) or available_accelerator() or torch.device("cpu")
    if accelerator == "gpu":
        device = available_accelerator()
    else:
        device = _named(accelerator)
        device = device if _is_available(device) else None
    if device is None:
        raise ConfigurationError(
            "accelerator",
            f"{accelerator!r} is not available; there is {_what_there_is()}",
            "Give one of these, or 'auto'.",
        )
    return device


def check_accelerator(accelerator: object) -> None:
    """Raise unless it is an accelerator that is available."""
    if not isinstance(accelerator, str):
        raise ConfigurationError("accelerator", f"{accelerator!r} is no accelerator", REMEDY)
    device_for(accelerator)


def available_accelerator() -> torch.device | None:
    """What there is besides the CPU, or None."""
    if hasattr(torch, "accelerator"):  # torch 2.6
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    names = (name for name in ("cuda", "mps", "xpu") if _count(name))
    return next(map(torch.device, names), None)


def place(module: object, accelerator: str, device: torch.device) -> None:
    """Move a module to its device; `auto` leaves one that is spread over several accelerators as it is."""
    if not isinstance(module, nn.Module):
        return
    spread = set(_on_accelerators(module))
    if (device.type != "cpu" or spread) and not (accelerator == "auto" and len(spread) > 1):
        module.to(device)


def place_state(optimizers: Iterable[Optimizer], dtype: torch.dtype | None = None) -> None:
    """Move the state of optimizers that have been used before to where their parameters are by now.

    Args:
        optimizers: Whose state.
        dtype: What the numbers of the module were converted to, and those of its shapes with them; None leaves
            them as they are.
    """
    for optimizer in optimizers:
        for parameter, state in cast("dict[Tensor, dict[str, object]]", optimizer.state).items():
            for name, value in state.items():
                if isinstance(value, Tensor) and name != "step":
                    state[name] = _placed(value, parameter, dtype)


def _placed(value: Tensor, parameter: Tensor, dtype: torch.dtype | None) -> Tensor:
    converts = dtype is not None and value.is_floating_point() and value.shape == parameter.shape
    return value.to(parameter.device, dtype if converts else value.dtype)


def _named(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigurationError("accelerator", f"{name!r} is no accelerator", REMEDY) from None


def _is_available(device: torch.device) -> bool:
    return device.type in EVERYWHERE or (device.index or 0) < _count(device.type)


def _count(kind: str) -> int:
    """How many devices of a kind are available."""
    backend: object = getattr(torch, kind, None)
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    count: object = getattr(backend, "device_count", None)
    return cast("int", count()) if callable(count) else 0


def _what_there_is() -> str:
    device = available_accelerator()
    return "only the CPU" if device is None else f"the CPU and {_count(device.type)} {device.type}"


def _on_accelerators(module: object) -> Iterator[torch.device]:
    tensors = chain(module.parameters(), module.buffers()) if isinstance(module, nn.Module) else ()
    return (tensor.device for tensor in tensors if tensor.device.type != "cpu")
