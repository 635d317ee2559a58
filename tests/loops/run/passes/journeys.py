"""Passes that are saved everywhere, and begun again in what stands for a new process."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from typedloops.checkpoint.encoding import decode, encode
from typedloops.loops.run.passes import LoaderPass

Draw = tuple[float, float, float]
Step = tuple[object, Draw]
"""A batch, and what a step then draws."""


def draw() -> Draw:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def seeded(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Augmented(Dataset[Tensor]):
    """Items with a random number of each kind beside their index."""

    def __init__(self, size: int = 23) -> None:
        self.size = size
        self.fetched: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        self.fetched.append(index)
        return torch.tensor([index, *draw()])


class Together(Augmented):
    """Asked for all items of a batch at once."""

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        return [self[index] for index in indices]


def carried(state: dict[str, object]) -> dict[str, Any]:
    """A state as it comes out of a file."""
    encoded, tensors = encode("it", state)
    copied = {name: tensor.clone() for name, tensor in tensors.items()}
    return decode("it", json.loads(json.dumps(encoded)), copied)  # type: ignore[return-value]


@dataclass
class Mark:
    """Where a pass was, and the generators."""

    taken: int
    position: dict[str, Any]
    generators: tuple[Any, Any, Tensor]

    def restore(self) -> None:
        random.setstate(self.generators[0])
        np.random.set_state(self.generators[1])
        torch.set_rng_state(self.generators[2])


@dataclass
class Journey:
    """What was seen in a pass and in the next one, and where it can be begun again."""

    steps: list[Step] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    following: list[Step] = field(default_factory=list)


def plain(batch: object) -> object:
    if isinstance(batch, Tensor):
        return batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(item) for key, item in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [plain(item) for item in batch]
    return batch


def travel(loader: Iterable[object], resumed: Mark | None = None, most: int = 10**9) -> Journey:
    """Go through a loader twice; the first pass is saved before each batch and at its end.

    Args:
        loader: What to go through.
        resumed: Where to begin.
        most: After how many batches to leave each pass.
    """
    journey = Journey()
    taken = 0 if resumed is None else resumed.taken
    first = LoaderPass("train loader", loader, resumed=None if resumed is None else resumed.position)
    batches = iter(first)
    if resumed is not None:
        resumed.restore()
    else:
        draw()  # a hook between the beginning of a pass and its first batch

    def save() -> None:
        generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
        journey.marks.append(Mark(taken, carried(first.state_dict(taken)), generators))

    save()
    for batch in islice(batches, most - taken):
        taken += 1
        journey.steps.append((plain(batch), draw()))
        save()
    if taken < most:
        save()
    journey.following = [(plain(batch), draw()) for batch in islice(LoaderPass("train loader", loader), most)]
    return journey


def check_everywhere(
    make: Callable[[], Iterable[object]], most: int = 10**9, places: Iterable[int] | None = None
) -> None:
    """Begin again at each mark of a whole pass, and once more in the middle of what is left.

    Args:
        make: Makes the loader, as each process does.
        most: After how many batches to leave each pass.
        places: Which marks, by their number; by default all.
    """
    seeded(1)
    loader = make()
    seeded(2)
    whole = travel(loader, most=most)
    assert whole.following
    assert whole.following != whole.steps
    for place in range(len(whole.marks)) if places is None else places:
        rest = check_again(make, whole, whole.marks[place], most)
        check_again(make, whole, rest.marks[len(rest.marks) // 2], most)


def check_again(make: Callable[[], Iterable[object]], whole: Journey, mark: Mark, most: int = 10**9) -> Journey:
    seeded(1)
    loader = make()
    seeded(99)
    rest = travel(loader, mark, most)
    assert rest.steps == whole.steps[mark.taken :]
    assert rest.following == whole.following
    return rest


def check_twice(make: Callable[[], Iterable[object]], place: float, again: float) -> None:
    """A pass that is begun again at a share of it, and what is left once more."""
    seeded(1)
    loader = make()
    seeded(2)
    whole = travel(loader)
    rest = check_again(make, whole, whole.marks[round(place * (len(whole.marks) - 1))])
    check_again(make, whole, rest.marks[round(again * (len(rest.marks) - 1))])


def position_of(loader: Any, taken: int, where: str = "train loader") -> dict[str, Any]:
    """Where a pass is after so many batches, as it comes back from a checkpoint."""
    whole = LoaderPass(where, loader)
    batches = iter(whole)
    for _ in range(taken):
        next(batches)
    return carried(whole.state_dict(taken))


def whole_of(message: str) -> str:
    """A pattern of the whole message."""
    return f"^{re.escape(message)}$"


class Numbers:
    """Batches without a length, one after another."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return (i for i in range(self.count))
