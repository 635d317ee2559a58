"""Copies of a content, which stay as they are while the run goes on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from threading import Lock
from typing import TypeAlias, cast, final

import torch
from torch import Tensor

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.checkpoint.encoding import DEEPEST, is_named_tuple
from typedloops.checkpoint.own import Place, has_numbers, place_of

Kind: TypeAlias = tuple[int, bool]
"""How many bytes, and whether a device can write into them by itself."""

Buffer: TypeAlias = tuple[Kind, Tensor]


def copied(content: Mapping[str, object]) -> dict[str, object]:
    """A deep copy of a content, whose tensors are on the CPU and in memory of their own.

    One tensor under several names is copied once and stays one.
    """
    return Staging().copied(content).content


@final
class Staged:
    """A copy of a content, in memory that is used again once it is released."""

    def __init__(self, staging: Staging, content: dict[str, object], buffers: list[Buffer]) -> None:
        self.content = content
        self._staging = staging
        self._buffers = buffers

    def release(self) -> None:
        """Say that nobody looks at the copy any more; its tensors will change under whoever still does."""
        buffers, self._buffers = self._buffers, []
        self._staging._take_back(buffers)  # pyright: ignore[reportPrivateUsage]  # of the same file


@final
class Staging:
    """Makes copies of contents, and uses the memory of earlier ones that were released.

    New memory costs several times what the copying costs; contents of one run are alike, so the
    second copy needs none.  Memory that the last copy did not need is given up.
    """

    def __init__(self) -> None:
        self._free: dict[Kind, list[Tensor]] = defaultdict(list)
        self._lock = Lock()

    def copied(self, content: Mapping[str, object]) -> Staged:
        """A copy of a content, see `copied`, until it is released."""
        with self._lock:
            free, self._free = self._free, defaultdict(list)
        copying = _Copying(free)
        copy = {name: copying.value(value) for name, value in content.items()}
        copying.wait()
        return Staged(self, copy, copying.buffers)

    def _take_back(self, buffers: list[Buffer]) -> None:
        with self._lock:
            for kind, buffer in buffers:
                self._free[kind].append(buffer)


class _Copying:
    """One copy in the making.

    Args:
        free: Memory to be used; what is left over is given up.
    """

    def __init__(self, free: dict[Kind, list[Tensor]]) -> None:
        self.buffers: list[Buffer] = []
        self._free = free
        self._copies: dict[Place, Tensor] = {}
        self._devices: set[torch.device] = set()

    def value(self, value: object, depth: int = 0) -> object:
        # What no format takes is left for it to refuse.
        if isinstance(value, Tensor):
            return self._tensor(value) if has_numbers(value) else value
        if depth > DEEPEST:
            return value
        if is_named_tuple(value):
            return value
        if isinstance(value, Counter):
            return Counter(cast("Counter[object]", value))
        if is_list_or_tuple(value):
            items = [self.value(item, depth + 1) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if is_mapping(value):
            pairs = cast("Mapping[object, object]", value)
            return {key: self.value(item, depth + 1) for key, item in pairs.items()}
        return value

    def _tensor(self, tensor: Tensor) -> Tensor:
        place = place_of(tensor)
        if place not in self._copies:
            copy = self._memory(tensor.nbytes, tensor.is_cuda).view(tensor.dtype).view(tensor.shape)
            # From a device into pinned memory the copies run beside each other, and are waited for together.
            self._copies[place] = copy.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
            if tensor.is_cuda:
                self._devices.add(tensor.device)
        return self._copies[place]

    def _memory(self, nbytes: int, pinned: bool) -> Tensor:
        kind = nbytes, pinned
        free = self._free.get(kind)
        buffer = free.pop() if free else torch.empty(nbytes, dtype=torch.uint8, pin_memory=pinned)
        self.buffers.append((kind, buffer))
        return buffer

    def wait(self) -> None:
        for device in self._devices:
            torch.cuda.current_stream(device).synchronize()
