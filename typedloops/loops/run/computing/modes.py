"""The train and eval modes of a module, and whether gradients are recorded."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
from torch import nn

from typedloops._core.shapes import is_list_or_tuple


@contextmanager
def evaluating(model: object, inference_mode: bool) -> Generator[None]:
    """Eval mode and no gradients; afterwards every submodule is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
    try:
        if isinstance(model, nn.Module):
            model.eval()
        with torch.inference_mode() if inference_mode else torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def training(model: object, detect_anomaly: bool = False) -> Generator[None]:
    """Gradients on, and train mode for a module that as a whole is in eval mode.

    A module in train mode keeps the modes of its parts, so what was frozen with
    `part.eval()` stays frozen.
    """
    if isinstance(model, nn.Module) and not model.training:
        model.train()
    anomalies = torch.autograd.detect_anomaly() if detect_anomaly else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), anomalies:
        yield


def modes_of(module: object) -> dict[str, object]:
    """Which parts of a module are in eval mode, and which parameters need no gradient."""
    if not isinstance(module, nn.Module):
        return {}
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    return {"eval": eval_parts_of(module), "frozen": frozen}


def eval_parts_of(module: object) -> list[str]:
    """The names of submodules that are in eval mode, the module itself among them."""
    return [name for name, part in submodules(module) if not part.training]


def load_eval_parts_into(module: object, names: Collection[object]) -> None:
    """Put those into eval mode that `eval_parts_of` gave, and all others into train mode."""
    for name, part in submodules(module):
        part.training = name not in names


def submodules(module: object) -> Iterator[tuple[str, nn.Module]]:
    """The submodules by name, the module itself among them."""
    if isinstance(module, nn.Module):
        yield from cast("Iterator[tuple[str, nn.Module]]", module.named_modules())


def load_modes_into(module: nn.Module, rest: Mapping[str, object]) -> None:
    """Load the modes of all parts and what is frozen."""
    in_eval, frozen = rest.get("eval"), rest.get("frozen")
    if is_list_or_tuple(in_eval) and is_list_or_tuple(frozen):
        load_eval_parts_into(module, in_eval)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name not in frozen)
