"""What was seen of a fit's numbers, and where that was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from typedloops.errors import NonFiniteError
from typedloops.loops.run.watching.sighting import NOT_SEEN, Reader, Sighting

MODULES, LOSS, GRADIENTS = range(3)
"""What is told of first: where it comes from."""

MOST_NAMES = 3
REMEDIES = {
    MODULES: "Look at what it was given, and at its parameters.",
    LOSS: "Look for a division by 0, the logarithm of 0, or too high a learning rate; detect_nonfinite='modules' says "
    "where in the module it begins.",
    GRADIENTS: "detect_anomaly=True says which operation made it.",
}

Key: TypeAlias = tuple[int, torch.device, torch.dtype | None, tuple[str, ...]]
"""Of what kind, on which device, of which type, and what the values are called."""


@dataclass(frozen=True)
class Place:
    """Where a fit is: its epoch, the batch in it, and how many optimizer steps were taken before."""

    epoch: int
    batch: int
    step: int

    def __str__(self) -> str:
        return f"epoch {self.epoch}, batch {self.batch}, step {self.step}"


class Lookout:
    """Sees values that are not finite, and tells of the first of them as soon as the host knows.

    Args:
        submodules: What to call each submodule whose outputs are seen.
    """

    def __init__(self, submodules: Sequence[str] = ()) -> None:
        self._submodules = submodules
        self._width = max(1, len(submodules))
        self._sightings: dict[Key, Sighting] = {}
        self._readers: dict[torch.device, Reader] = {}
        self._places: dict[int, Place] = {}
        self._batch = -1

    def begin(self, place: Place) -> None:
        """Another batch begins."""
        self._batch += 1
        self._places[self._batch] = place

    def see(self, key: Key, norms: Sequence[Tensor], submodule: int = 0) -> None:
        """See values.

        Args:
            key: What values.
            norms: Their sizes, scalars on one device.
            submodule: The index of the submodule that they are from.
        """
        sighting = self._sightings.get(key)
        if sighting is None:
            sighting = self._sightings[key] = Sighting(key[1])
        sighting.look_at(torch.stack(list(norms)).isfinite(), self._batch * self._width + submodule)

    def tell(self, *, wait: bool = False) -> None:
        """Raise if it is known that something was not finite.

        Args:
            wait: Whether to wait until it is known.

        Raises:
            NonFiniteError: Something was.
        """
        of_devices: defaultdict[torch.device, list[Key]] = defaultdict(list)
        for key in self._sightings:
            of_devices[key[1]].append(key)
        seen: list[tuple[int, Key]] = []
        known_until = self._batch
        for device, keys in of_devices.items():
            reader = self._readers.setdefault(device, Reader(device))
            news = reader.read([self._sightings[key].time for key in keys], self._batch, wait=wait)
            known_until = min(known_until, NOT_SEEN if news is None else news[0])
            # A copy that was sent some time ago has fewer of them.
            times = () if news is None else news[1]
            seen += [(time, key) for time, key in zip(times, keys, strict=False) if time != NOT_SEEN]
        if seen:
            raise self._error(*min(seen, key=lambda found: (found[0] // self._width, found[1][0])))
        self._places = {batch: place for batch, place in self._places.items() if batch >= known_until}

    def _error(self, time: int, key: Key) -> NonFiniteError:
        batch, index = divmod(time, self._width)
        kind, _, _, names = key
        if kind == MODULES:
            problem = f"the output of {self._submodules[index]},"
        elif kind == LOSS:
            problem = "the loss"
        else:
            bad = [f"`{names[i]}`" for i in self._sightings[key].which()]
            others = f" and {len(bad) - MOST_NAMES} others" if len(bad) > MOST_NAMES else ""
            problem = f"the gradient of {', '.join(bad[:MOST_NAMES])}{others}"
        return NonFiniteError(str(self._places[batch]), f"{problem} is not finite", REMEDIES[kind])
