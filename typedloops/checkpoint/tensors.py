"""Tensors in a safetensors file, each with a checksum."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from typing_extensions import Self, TypeVar

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import CheckpointError

T = TypeVar("T")

THREADS = 2
"""A checksum takes about as long as the writing and is reckoned beside it."""


@dataclass(frozen=True)
class TensorRecord:
    """What a tensor must turn out to be when it is read.

    Args:
        dtype: Its type, without `torch.`.
        shape: Its shape.
        crc32: The checksum of its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    crc32: int

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        return cls(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), checksum(tensor))

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Raises ValueError unless `value` is a record."""
        if not is_mapping(value) or set(value) != {"dtype", "shape", "crc32"}:
            raise ValueError("a tensor's record is none")
        dtype, shape, crc32 = value["dtype"], value["shape"], value["crc32"]
        if not isinstance(dtype, str) or not is_list_or_tuple(shape) or not isinstance(crc32, int):
            raise ValueError("a tensor's record is none")
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) != len(shape):
            raise ValueError("a tensor's record is none")
        return cls(dtype, sizes, crc32)

    def to_json(self) -> dict[str, object]:
        return {"dtype": self.dtype, "shape": list(self.shape), "crc32": self.crc32}


def checksum(tensor: Tensor) -> int:
    """The CRC-32 of the bytes of a contiguous tensor on the CPU."""
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy())


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, TensorRecord]:
    """Write tensors, none of which shares memory with another, and say what they are."""
    with ThreadPoolExecutor(THREADS) as pool:
        records = pool.map(TensorRecord.of, tensors.values())
        save_file(dict(tensors), file)
        return dict(zip(tensors, records, strict=True))


def read_tensors(file: Path, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
    """Read the tensors that `records` tell of.

    Raises:
        CheckpointError: The file is not what was written.
    """
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise damaged(file, str(error)) from error
    if tensors.keys() != records.keys():
        raise damaged(file, "it has other tensors than the manifest says")
    for name, found in _in_threads(TensorRecord.of, tensors):
        if found != records[name]:
            raise damaged(file, f"its tensor {name!r} is not what was written")
    return tensors


def _in_threads(function: Callable[[Tensor], T], tensors: Mapping[str, Tensor]) -> Iterable[tuple[str, T]]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(zip(tensors, pool.map(function, tensors.values()), strict=True))


def damaged(file: Path, how: str) -> CheckpointError:
    return CheckpointError(str(file), f"it is damaged: {how}", "Load an older checkpoint.")
