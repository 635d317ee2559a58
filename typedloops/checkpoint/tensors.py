"""Tensors in a safetensors file, each with a checksum."""

from __future__ import annotations

import ctypes
import os
import stat
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import Self

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.checkpoint.layout import CODES, Span, header_of, in_order, spans_of
from typedloops.checkpoint.streams import Flushes, batches, read_all, write_all
from typedloops.checkpoint.threads import THREADS, Beside
from typedloops.errors import CheckpointError


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
    def of(cls, tensor: Tensor, crc32: int) -> Self:
        return cls(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), crc32)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Raises ValueError unless `value` is a record."""
        if not is_mapping(value) or set(value) != {"dtype", "shape", "crc32"}:
            raise ValueError("a tensor's record is none")
        dtype, shape, crc32 = value["dtype"], value["shape"], value["crc32"]
        if not isinstance(dtype, str) or not is_list_or_tuple(shape) or not isinstance(crc32, int):
            raise ValueError("a tensor's record is none")
        sizes = tuple(size for size in shape if isinstance(size, int) and size >= 0)
        if len(sizes) != len(shape) or dtype not in NAMES:
            raise ValueError("a tensor's record is none")
        return cls(dtype, sizes, crc32)

    def to_json(self) -> dict[str, object]:
        return {"dtype": self.dtype, "shape": list(self.shape), "crc32": self.crc32}

    @property
    def torch_dtype(self) -> torch.dtype:
        return NAMES[self.dtype]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.torch_dtype.itemsize


NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in CODES}


def memory_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, which has to live as long as they are used."""
    # NumPy, which torch can do without, has no bfloat16 either.
    return memoryview((ctypes.c_ubyte * tensor.nbytes).from_address(tensor.data_ptr() or 1)).cast("B")


def checksum(tensor: Tensor) -> int:
    """The CRC-32 of the bytes of a contiguous tensor on the CPU."""
    memory = memory_of(tensor)
    if tensor.nbytes > SMALL:
        return zlib.crc32(memory)
    crc32 = 0
    for begin in range(0, tensor.nbytes, LOCKED):
        crc32 = zlib.crc32(memory[begin : begin + LOCKED], crc32)
    return crc32


SMALL = 2**17
"""Bytes whose checksum takes less time than getting the interpreter's lock again while a run is busy."""
LOCKED = 5 * 1024
"""Up to so many bytes zlib keeps the lock."""


class Checksums(Beside[Mapping[str, Tensor], dict[str, int]]):
    """Reckons checksums beside the reading or the writing.

    Args:
        threads: In how many threads.
    """

    def __init__(self, threads: int = 1) -> None:
        super().__init__(_checksums, threads)

    @property
    def by_name(self) -> dict[str, int]:
        return {name: crc32 for sums in self.results for name, crc32 in sums.items()}


def _checksums(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: checksum(tensor) for name, tensor in tensors.items()}


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, TensorRecord]:
    """Write contiguous tensors on the CPU, and say what they are.

    Raises:
        OSError: They cannot be written.
    """
    # Not with the library: its releases up to 0.5 hold the interpreter's lock while they write,
    # which would stop a run whose checkpoints are written beside it.
    ordered = in_order(tensors)
    with open(file, "xb", buffering=0) as stream, Checksums() as checksums, Flushes(stream) as flushes:
        write_all(stream, [memoryview(header_of(ordered))])
        for batch in batches(ordered):
            checksums.put(batch)
            write_all(stream, [memory_of(tensor) for tensor in batch.values()])
            flushes.after(sum(tensor.nbytes for tensor in batch.values()))
    flushes.check()
    sums = checksums.by_name
    return {name: TensorRecord.of(tensor, sums[name]) for name, tensor in tensors.items()}


def read_tensors(file: Path, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
    """Read the tensors that `records` tell of, into memory of their own.

    Raises:
        CheckpointError: The file is not what was written.
    """
    tensors: dict[str, Tensor] = {}
    with opened(file) as stream, Checksums(THREADS) as checksums:
        spans = spans_of(stream, os.fstat(stream.fileno()).st_size)
        check_spans(file, spans, records)
        for batch in _read_batches(stream, spans):
            checksums.put(batch)
            tensors |= batch
    check_checksums(file, checksums.by_name, records)
    return {name: tensors[name] for name in records}


def read_file(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of which no manifest tells.

    Raises:
        CheckpointError: It is no safetensors file, or damaged.
    """
    tensors: dict[str, Tensor] = {}
    with opened(file) as stream:
        for batch in _read_batches(stream, spans_of(stream, os.fstat(stream.fileno()).st_size)):
            tensors |= batch
    return tensors


def _read_batches(stream: FileIO, spans: Mapping[str, Span]) -> Iterator[dict[str, Tensor]]:
    for some in batches(spans):
        batch = {name: empty(span.shape, span.dtype) for name, span in some.items()}
        read_all(stream, [memory_of(tensor) for tensor in batch.values()])
        yield batch


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory for a tensor.

    Raises:
        ValueError: There is not as much.
    """
    try:
        return torch.empty(shape, dtype=dtype)
    except RuntimeError as error:
        raise ValueError(f"a tensor of shape {list(shape)} needs more memory than there is") from error


def check_spans(file: Path, spans: Mapping[str, Span], records: Mapping[str, TensorRecord]) -> None:
    """Raise `CheckpointError` unless the tensors of a file are those of the manifest."""
    if spans.keys() != records.keys():
        raise damaged(file, "it has other tensors than the manifest says")
    for name, span in spans.items():
        if (span.dtype, span.shape) != (records[name].torch_dtype, records[name].shape):
            raise damaged(file, f"its tensor {name!r} is not what was written")


def check_checksums(file: Path, found: Mapping[str, int], records: Mapping[str, TensorRecord]) -> None:
    """Raise `CheckpointError` unless the checksums of tensors are those of the manifest."""
    for name, crc32 in found.items():
        if crc32 != records[name].crc32:
            raise damaged(file, f"its tensor {name!r} is not what was written")


def size_of(file: Path) -> int | None:
    """The bytes of a file that is one, and none of a link or anything else.

    Raises:
        CheckpointError: It may not be looked at.
    """
    try:
        found = file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(file, error) from error
    return found.st_size if stat.S_ISREG(found.st_mode) else None


@contextmanager
def opened(file: Path) -> Generator[FileIO]:
    """A file to read from, never what a link leads to.

    Raises:
        CheckpointError: It cannot be read, or the block raised a `ValueError` about what is in it.
    """
    if size_of(file) is None:
        raise damaged(file, "it is not there, or no file")
    try:
        with open(file, "rb", buffering=0, opener=_without_links) as stream:
            yield stream
    except CheckpointError:
        raise
    except OSError as error:
        raise unreadable(file, error) from error
    except ValueError as error:
        raise damaged(file, str(error)) from error


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def damaged(file: Path, how: str) -> CheckpointError:
    return CheckpointError(str(file), f"it is damaged: {how}", "Load an older checkpoint.")


def unreadable(file: Path, error: OSError) -> CheckpointError:
    return CheckpointError(str(file), f"it cannot be read: {error}", "See to it that it may be read.")
