"""Batches brought to where, and into what type of numbers, a module computes."""

from __future__ import annotations

from typing import cast

from typing_extensions import TypeVar

from typedloops._core.moving import Movable, move_other

B = TypeVar("B")

PLAIN = (str, bytes, int, float, bool, complex, type(None))
"""Exactly of these types, a part is left as it is."""


class BatchTransfer:
    """Moves the tensors in a batch; called with the batch."""

    def __init__(
        self, tensor_type: type[Movable], device: object, dtype: object = None, *, non_blocking: bool = False
    ) -> None:
        self._tensor_type = tensor_type
        self._device = device
        self._dtype = dtype
        self._non_blocking = non_blocking

    def __call__(self, batch: B) -> B:
        return cast("B", self._move(batch))

    def _move(self, part: object) -> object:
        kind = type(part)
        if isinstance(part, self._tensor_type):
            return self._move_tensor(part)
        if kind in PLAIN:
            return part
        if kind is list or kind is tuple:
            return self._move_items(cast("list[object] | tuple[object, ...]", part))
        if kind is dict:
            return self._move_values(cast("dict[object, object]", part))
        return move_other(part, self._device, self._move)

    def _move_tensor(self, tensor: Movable) -> Movable:
        if self._dtype is not None and tensor.is_floating_point():
            if self._device is None:
                return tensor.to(self._dtype)
            return tensor.to(self._device, self._dtype, self._non_blocking)
        return tensor if self._device is None else tensor.to(self._device, non_blocking=self._non_blocking)

    def _move_items(self, part: list[object] | tuple[object, ...]) -> object:
        items = [self._move(item) for item in part]
        if all(item is before for item, before in zip(items, part, strict=True)):
            return part
        return items if isinstance(part, list) else tuple(items)

    def _move_values(self, part: dict[object, object]) -> object:
        values = {key: self._move(value) for key, value in part.items()}
        return part if all(value is part[key] for key, value in values.items()) else values
