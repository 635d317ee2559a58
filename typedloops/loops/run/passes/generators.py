"""The generators of random numbers that a pass may draw from: where they are, and back there."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from typedloops._core.shapes import is_mapping
from typedloops.errors import StateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    NumpyState: TypeAlias = tuple[str, NDArray[np.uint32], int, int, float]

States: TypeAlias = dict[str, object]
"""The state of each generator by its name, as the generator gives it."""

PARTS = ("", "dataset", "sampler", "batch_sampler", "batch_sampler.sampler")
"""The parts of a loader in whose attributes its own generators are."""

PYTHON_LENGTH = 625
"""How many numbers the state of Python's generator has."""

PYTHON_WORDS = struct.Struct(f"<{PYTHON_LENGTH}I")

WORDS, ARRAY, BYTES = "words", "array", "bytes"


class NumpyType(Protocol):
    @property
    def str(self) -> str: ...


@runtime_checkable
class NumpyArray(Protocol):
    """What is asked of an array, where there may be no NumPy."""

    @property
    def dtype(self) -> NumpyType: ...
    def tobytes(self) -> bytes: ...


@dataclass(frozen=True)
class Source:
    """A generator, whatever its kind."""

    get: Callable[[], object]
    set: Callable[[object], object]


def torch_alone() -> dict[str, Source]:
    """Torch's generator, from which its samplers draw."""
    return {"torch": Source(torch.get_rng_state, lambda state: torch.set_rng_state(cast("Tensor", state)))}


def shared() -> dict[str, Source]:
    """The generators of torch, Python and, where it is loaded, NumPy, from which anybody draws."""
    found = torch_alone()
    found["python"] = Source(random.getstate, lambda state: random.setstate(cast("tuple[object, ...]", state)))
    if "numpy.random" in sys.modules:
        from numpy import random as numpy_random

        found["numpy"] = Source(numpy_random.get_state, lambda state: numpy_random.set_state(cast("NumpyState", state)))
    return found


def own(loader: object) -> dict[str, Source]:
    """The generators that a loader and its parts have for themselves, by where they are."""
    found: dict[str, Source] = {}
    seen: set[int] = set()
    kinds = _kinds()
    for path in PARTS:
        for name, value in _attributes(loader, path):
            if isinstance(value, kinds) and id(value) not in seen and not isinstance(value, random.SystemRandom):
                seen.add(id(value))
                found[f"{path}.{name}" if path else name] = _source_of(value)
    return found


def _kinds() -> tuple[type[object], ...]:
    if "numpy.random" not in sys.modules:
        return (torch.Generator, random.Random)
    from numpy import random as numpy_random

    return (torch.Generator, random.Random, numpy_random.RandomState, numpy_random.Generator)


def _attributes(loader: object, path: str) -> Iterable[tuple[str, object]]:
    part = loader
    for name in path.split(".") if path else ():
        part = getattr(part, name, None)
    attributes: dict[str, object] = getattr(part, "__dict__", {})
    return attributes.items()


def _source_of(value: object) -> Source:
    if isinstance(value, torch.Generator):
        return Source(value.get_state, lambda state: value.set_state(cast("Tensor", state)))
    if isinstance(value, random.Random):
        return Source(value.getstate, lambda state: value.setstate(cast("tuple[object, ...]", state)))
    from numpy import random as numpy_random

    if isinstance(value, numpy_random.RandomState):
        return Source(value.get_state, lambda state: value.set_state(cast("NumpyState", state)))
    bits = cast("numpy_random.Generator", value).bit_generator
    return Source(lambda: bits.state, lambda state: setattr(bits, "state", state))


def states_of(sources: dict[str, Source]) -> States:
    """Where they are now."""
    return {name: source.get() for name, source in sources.items()}


def restore(where: str, sources: dict[str, Source], states: States) -> None:
    """Put them where they were.

    Raises:
        StateError: One that was saved is not there.
    """
    for name, state in states.items():
        if name not in sources:
            raise StateError(
                where,
                f"the saved position has the state of its generator {name!r}, and it has no such generator",
                "Resume with a loader that is made as the one that was saved.",
            )
        sources[name].set(state)


def differ(before: States, after: States) -> bool:
    """Whether any of them has been drawn from in between."""
    return any(not _equal(state, after[name]) for name, state in packed(before).items())


def _equal(state: object, other: object) -> bool:
    if isinstance(state, Tensor):
        return torch.equal(state, cast("Tensor", other))
    return state == _pack(other)


def packed(states: States) -> States:
    """The states as what can be saved."""
    return {name: _pack(state) for name, state in states.items()}


def unpacked(saved: Mapping[str, object]) -> States:
    """The states as the generators take them."""
    return {name: _unpack(state) for name, state in saved.items()}


def _pack(state: object) -> object:
    if is_mapping(state):
        return {key: _pack(item) for key, item in state.items()}
    if isinstance(state, tuple):
        items = cast("tuple[object, ...]", state)
        return {WORDS: PYTHON_WORDS.pack(*items)} if len(items) == PYTHON_LENGTH else tuple(map(_pack, items))
    if isinstance(state, NumpyArray):
        return {ARRAY: state.dtype.str, BYTES: state.tobytes()}
    return state


def _unpack(saved: object) -> object:
    if isinstance(saved, tuple):
        return tuple(map(_unpack, cast("tuple[object, ...]", saved)))
    if not is_mapping(saved):
        return saved
    if WORDS in saved:
        return PYTHON_WORDS.unpack(cast("bytes", saved[WORDS]))
    if ARRAY in saved:
        import numpy as np

        return np.frombuffer(cast("bytes", saved[BYTES]), np.dtype(cast("str", saved[ARRAY]))).copy()
    return {key: _unpack(item) for key, item in saved.items()}
