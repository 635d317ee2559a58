"""The train and eval modes of a module, and whether gradients are recorded."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from typedloops._core.shapes import is_list_or_tuple
from typedloops.loops.run.unwrapped import unwrapped


@contextmanager
def evaluating(model: object, inference_mode: bool, resumed: object = None) -> Generator[list[str]]:
    """Eval mode and no gradients; afterwards every submodule is in the mode that it was in.

    Args:
        model: Is evaluated.
        inference_mode: Whether under `torch.inference_mode`.
        resumed: What was yielded in the process whose evaluation goes on, or None.

    Yields:
        The names of the parts that were in eval mode before.
    """
    modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
    itself = unwrapped(model)
    named = dict(itself.named_modules()) if isinstance(itself, nn.Module) else {}
    if is_list_or_tuple(resumed):
        modes.update({module: name not in resumed for name, module in named.items()})
    try:
        if isinstance(model, nn.Module):
            model.eval()
        with torch.inference_mode() if inference_mode else torch.no_grad():
            yield [name for name, module in named.items() if not modes[module]]
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
