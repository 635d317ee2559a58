"""The layout of a safetensors file: the length of the header, the header as JSON, the bytes of the tensors.

Source: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from math import prod
from typing import Final

import torch
from torch import Tensor

from typedloops._core.shapes import is_list_or_tuple, is_mapping

CODES: Final[dict[torch.dtype, str]] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
DTYPES: Final = {code: dtype for dtype, code in CODES.items()}

METADATA: Final = "__metadata__"
"""The one name that is no tensor's."""

LARGEST_HEADER: Final = 100_000_000
"""The library of safetensors reads no larger one."""


@dataclass(frozen=True)
class Span:
    """Where a tensor is in a file.

    Args:
        dtype: Its type.
        shape: Its shape.
        begin: Its first byte, counted from the beginning of the file.
        nbytes: How many bytes it has.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    nbytes: int


def in_order(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in the order of the file: the widest types first, so that each lies at a multiple of its width."""
    return dict(sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])))


def header_of(tensors: Mapping[str, Tensor]) -> bytes:
    """What comes before the bytes of `tensors`, which follow one another as they are.

    Raises:
        ValueError: It would be larger than any that is read.
    """
    entries: dict[str, object] = {METADATA: {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise ValueError(f"its header would have {len(text):,} bytes, and at most {LARGEST_HEADER:,} are read")
    return len(text).to_bytes(8, "little") + text


def header_in(stream: FileIO, size: int) -> bytes:
    """The header of a file, which is not longer than the file.

    Args:
        stream: The file, at its beginning.
        size: Its bytes.

    Raises:
        ValueError: It claims to be longer.
    """
    length = int.from_bytes(stream.read(8), "little")
    if length > min(size - 8, LARGEST_HEADER):
        raise ValueError(f"its header claims {length:,} bytes of {size:,}")
    return stream.read(length)


def spans_of(stream: FileIO, size: int) -> dict[str, Span]:
    """Where the tensors of a file are, in their order.

    Args:
        stream: The file, at its beginning.
        size: Its bytes.

    Raises:
        ValueError: They do not fill the file exactly; nothing that the header claims is trusted until then.
    """
    text = header_in(stream, size)
    try:
        header: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header cannot be read: {error}") from error
    if not is_mapping(header):
        raise ValueError("its header is no mapping")
    spans = {name: _span(name, entry, 8 + len(text)) for name, entry in header.items() if name != METADATA}
    end = 8 + len(text)
    ordered = dict(sorted(spans.items(), key=lambda item: (item[1].begin, item[1].nbytes)))
    for name, span in ordered.items():
        if span.begin != end:
            raise ValueError(f"its tensor {name!r} is not where the one before it ends")
        end += span.nbytes
    if end != size:
        raise ValueError(f"its tensors end at byte {end:,} of {size:,}")
    return ordered


def _span(name: str, entry: object, start: int) -> Span:
    wrong = ValueError(f"its header has no place for the tensor {name!r}")
    if not is_mapping(entry):
        raise wrong
    code, shape, place = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(code, str) or code not in DTYPES or not is_list_or_tuple(shape) or not is_list_or_tuple(place):
        raise wrong
    sizes = tuple(size for size in shape if isinstance(size, int) and size >= 0)
    begin, end = (*place, None, None)[:2]
    if len(sizes) != len(shape) or not isinstance(begin, int) or not isinstance(end, int) or begin < 0:
        raise wrong
    dtype = DTYPES[code]
    if prod(sizes) * dtype.itemsize != end - begin:
        raise ValueError(f"its tensor {name!r} claims a shape of {prod(sizes):,} numbers and {end - begin:,} bytes")
    return Span(dtype, sizes, start + begin, end - begin)
