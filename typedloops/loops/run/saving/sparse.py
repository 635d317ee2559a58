"""Sparse tensors as what a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from typedloops._core.shapes import is_mapping

PARTS = ("indices", "values", "size", "coalesced")


def as_data(tensor: Tensor) -> object:
    """A tensor as it is; of a sparse one (COO) its indices, values and size, and whether each index is there once."""
    if tensor.layout is not torch.sparse_coo:
        return tensor
    tensor = tensor.detach()
    parts = (tensor._indices(), tensor._values(), list(tensor.shape), tensor.is_coalesced())
    return dict(zip(PARTS, parts, strict=True))


def of_data(data: object) -> Tensor | None:
    """The tensor that `as_data` was given; None where it is none."""
    if isinstance(data, Tensor):
        return data
    if not is_mapping(data) or tuple(data) != PARTS:
        return None
    indices, values = cast("Tensor", data["indices"]), cast("Tensor", data["values"])
    size, coalesced = cast("Sequence[int]", data["size"]), cast("bool", data["coalesced"])
    return torch.sparse_coo_tensor(  # pyright: ignore[reportUnknownMemberType]  # its values may be a list of anything
        indices, values, list(size), is_coalesced=coalesced, check_invariants=True
    )
