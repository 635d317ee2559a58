"""The tensors of a part as they can be written: on the CPU, each whole and in memory of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from typedloops.checkpoint.layout import CODES
from typedloops.errors import CheckpointError


def without_aliases(part: str, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Contiguous tensors on the CPU, and for further names of the same tensor the first one.

    Raises:
        CheckpointError: One of them has no bytes that could be written.
    """
    own: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[object, ...], str] = {}
    for name, tensor in tensors.items():
        _check(f"{part}: {name}", tensor)
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), *_lazy(tensor))
        first = seen.setdefault(place, name) if tensor.numel() else name
        if first == name:
            own[name] = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        else:
            aliases[name] = first
    return own, aliases


def _lazy(tensor: Tensor) -> tuple[bool, bool]:
    """Two tensors of the same memory may differ in what is yet to be done to it."""
    return tensor.is_conj(), tensor.is_neg()


def _check(where: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise CheckpointError(where, "a tensor on the meta device has no numbers", "Give it some before it is saved.")
    if tensor.layout != torch.strided:
        raise CheckpointError(where, f"a tensor of the layout {tensor.layout} cannot be saved", "Save its to_dense().")
    if hasattr(tensor, "full_tensor"):
        raise CheckpointError(where, "a tensor in pieces on several devices cannot be saved", "Save its full_tensor().")
    if tensor.dtype not in CODES:
        raise CheckpointError(
            where, f"a tensor of {tensor.dtype} has no place in a safetensors file", "Save it as another type."
        )
