"""Contents of checkpoints, and when two of them are the same."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Final

import torch
from hypothesis import strategies as st
from torch import Tensor

from typedloops.checkpoint import DistributedFormat, FolderFormat
from typedloops.checkpoint.layout import CODES
from typedloops.protocols.checkpoint import CheckpointFormat

FORMATS: Final[dict[str, CheckpointFormat]] = {"folder": FolderFormat(), "distributed": DistributedFormat()}

CONTENT: Final[dict[str, object]] = {
    "module": {"weight": torch.arange(3000.0), "bias": torch.ones(5)},
    "loops": {"epoch": 3, "left": (1, 2.5)},
}
NEWER: Final[dict[str, object]] = {"module": {"weight": torch.zeros(2)}}


def of_bytes(dtype: torch.dtype, shape: list[int], seed: int) -> Tensor:
    """A tensor of arbitrary bytes, NaNs of every kind among them."""
    generator = torch.Generator().manual_seed(seed)
    high = 2 if dtype is torch.bool else 256
    nbytes = math.prod(shape) * dtype.itemsize
    return torch.randint(0, high, (nbytes,), dtype=torch.uint8, generator=generator).view(dtype).view(shape)


tensors = st.builds(
    of_bytes, st.sampled_from(list(CODES)), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 999)
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | tensors
)
keys = (
    st.text(max_size=4)
    | st.integers(-3, 3)
    | st.sampled_from(["$", "$tensor", "a/b", "a.b", "1", "__metadata__"])
    | st.booleans()
)
states = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: object, b: object) -> bool:
    """Whether two contents are the same to the bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        pairs = zip(a.items(), b.items(), strict=False)
        return len(a) == len(b) and all(same(k, m) and same(v, w) for (k, v), (m, w) in pairs)
    return type(a) is type(b) and a == b


def bits(tensor: Tensor) -> list[int]:
    return list(tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).tolist())


def in_child(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
