"""The tensors of a part as they can be written: on the CPU, each whole and in memory of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from typedloops.checkpoint.layout import CODES
from typedloops.errors import CheckpointError

Place: TypeAlias = tuple[object, ...]


def without_aliases(part: str, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Contiguous tensors on the CPU, and for further names of the same tensor the first one.

    Raises:
        CheckpointError: One of them has no bytes that could be written.
    """
    own: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[Place, str] = {}
    for name, tensor in tensors.items():
        _check(f"{part}: {name}", tensor)
        first = seen.setdefault(place_of(tensor), name) if tensor.numel() else name
        if first == name:
            own[name] = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        else:
            aliases[name] = first
    return own, aliases


def place_of(tensor: Tensor) -> Place:
    """What tensors have in common that are one; two of the same memory may differ in what is yet to be done to it."""
    memory = tensor.device, tensor.data_ptr(), tensor.dtype
    return (*memory, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg())


def has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor is numbers in the memory of one device, and nothing else."""
    return not tensor.is_meta and tensor.layout == torch.strided and not hasattr(tensor, "full_tensor")


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
