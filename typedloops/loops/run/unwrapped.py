"""What a compiled module stands in front of."""

from __future__ import annotations

from torch import nn


def unwrapped(module: object) -> object:
    """The module that `torch.compile` was given, or `module` itself.

    The methods of the one are found on the other, but not by looking at its class.
    """
    while isinstance(module, nn.Module) and (original := dict(module.named_children()).get("_orig_mod")) is not None:
        module = original
    return module
