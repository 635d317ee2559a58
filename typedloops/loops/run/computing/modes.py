"""The train and eval modes of a module, and whether gradients are recorded."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


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
