"""Something seen on a device, of which the host learns without waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from typedloops._core.shapes import is_list_or_tuple, is_mapping

NOT_SEEN = -1


class Sighting:
    """The first time that one of several values is not finite; it is kept where the values are.

    Args:
        device: Where the values are.
    """

    def __init__(self, device: torch.device) -> None:
        self.time: Tensor = torch.full((), NOT_SEEN, dtype=torch.int64, device=device)
        self._which: Tensor | None = None

    def look_at(self, finite: Tensor, time: int) -> None:
        """Look once more, at the same values.

        Args:
            finite: Which values are; a vector.
            time: A number from 0; it grows.
        """
        bad = finite.logical_not()
        first = bad.any() & (self.time < 0)
        self.time = torch.where(first, time, self.time)
        self._which = bad if self._which is None else torch.where(first, bad, self._which)

    def which(self) -> list[int]:
        """The indices of the values that were not finite then; this waits for the device."""
        return [] if self._which is None else [int(index) for index in self._which.nonzero().flatten()]


class Reader:
    """Reads numbers from a device: at once on the CPU, elsewhere when a copy has arrived.

    Args:
        device: Where they are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._host: Tensor | None = None
        self._arrival: torch.cuda.Event | None = None
        self._sent = NOT_SEEN

    def read(self, numbers: Sequence[Tensor], now: int, *, wait: bool) -> tuple[int, list[int]] | None:
        """The numbers and of when they are; None when there is no news.

        Args:
            numbers: Scalars, on the device.
            now: What time it is.
            wait: Whether to wait for the numbers of now.
        """
        if wait or self._device.type == "cpu":
            self._arrival = None
            return now, [int(number) for number in numbers]
        if self._device.type != "cuda":  # of other devices' copies it is not known when they have arrived
            return None
        if self._arrival is None or self._host is None:
            self._sent = now
            self._host, self._arrival = send(torch.stack(list(numbers)))
            return None
        if not self._arrival.query():
            return None
        self._arrival = None
        return self._sent, [int(number) for number in self._host]


def send(numbers: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """Begin a copy to the host, and say when it will have arrived."""
    host = torch.empty(len(numbers), dtype=numbers.dtype, pin_memory=True)
    host.copy_(numbers, non_blocking=True)
    arrival = torch.cuda.Event()
    arrival.record(torch.cuda.current_stream(numbers.device))
    return host, arrival


def largest(tensor: Tensor) -> Tensor:
    """The largest absolute value, which is finite if all values are; 0 without values."""
    values = tensor.detach()
    if values.is_sparse:
        values = values.coalesce().values()
    if values.numel() == 0:
        return torch.zeros((), device=values.device)
    # torch leaves its type open.
    return cast("Tensor", torch.linalg.vector_norm(values, torch.inf))  # pyright: ignore[reportUnknownMemberType]


def numbers_in(output: object) -> Iterator[Tensor]:
    """The tensors of numbers in an output that may not be finite."""
    if isinstance(output, Tensor):
        if output.is_floating_point() or output.is_complex():
            yield output
    elif is_list_or_tuple(output) or is_mapping(output):
        for part in output.values() if is_mapping(output) else output:
            yield from numbers_in(part)
