"""Gradients kept from growing too large."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from typedloops.protocols.trainer import ClipAlgorithm


def clip_gradients(optimizer: Optimizer, value: float, algorithm: ClipAlgorithm = "norm") -> Tensor | None:
    """Clip the gradients of every parameter of `optimizer`.

    Args:
        optimizer: Whose gradients.
        value: The largest norm of all of them together, or the largest absolute value of any.
        algorithm: Which of the two.

    Returns:
        The norm before it was clipped, a scalar that is still on its device; None when values were clipped.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in cast("list[Tensor]", group["params"])]
    if algorithm == "value":
        clip_grad_value_(parameters, value)
        return None
    return clip_grad_norm_(parameters, value)
