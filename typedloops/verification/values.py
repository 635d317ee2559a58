"""Single values: whether two are the same to the bit, and how that is told."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from typing_extensions import Protocol, TypeGuard

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.verification.flattening import leaves_of

LONGEST = 60
"""So many characters of a value are shown."""


class Array(Protocol):
    """An array of NumPy."""

    @property
    def dtype(self) -> object: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def tobytes(self) -> bytes: ...


class BitGenerator(Protocol):
    """What draws the random numbers of a generator of NumPy."""

    @property
    def state(self) -> Mapping[str, object]: ...


class ArrayGenerator(Protocol):
    """A generator of NumPy."""

    @property
    def bit_generator(self) -> BitGenerator: ...


@dataclass(frozen=True)
class Fingerprint:
    """What a value is, without the value.

    Args:
        digest: The same for the same value, to the bit.
        text: How it is shown.
    """

    digest: str
    text: str = field(compare=False)


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not the same in two runs.

    Args:
        path: What it is, `module: net.0.weight`.
        expected: What it is in the uninterrupted run.
        found: What it is in the other.
    """

    path: str
    expected: str
    found: str


def fingerprint(value: object) -> Fingerprint:
    """What a value is to the bit: its tensors and arrays with their numbers, in whatever they are."""
    digest = hashlib.blake2b(digest_size=8)
    for part in value if is_list_or_tuple(value) else (value,):
        _feed(digest.update, part, frozenset())
    first = next((leaf for _, leaf in leaves_of(value) if isinstance(leaf, Tensor) or is_array(leaf)), value)
    return Fingerprint(digest.hexdigest(), shown(first))


def _feed(take: Callable[[bytes], object], value: object, around: frozenset[int]) -> None:
    """Give `take` all of a value; an object is its attributes."""
    if is_list_or_tuple(value) and all(type(item) is int for item in value):
        take(repr(value).encode())  # the hundreds of numbers that a generator's state is, at once
        return
    for path, leaf in leaves_of(value):
        take(f"\0{path}\0{type(leaf).__name__}\0".encode())
        if (plain := _bytes_of(leaf)) is not None:
            take(plain)
        elif isinstance(leaf, (set, frozenset)):
            take(repr(sorted(map(repr, cast("set[object]", leaf)))).encode())
        elif (own := getattr(leaf, "__dict__", None)) and id(leaf) not in around and not callable(leaf):
            _feed(take, own, around | {id(leaf)})


def is_array(value: object) -> TypeGuard[Array]:
    """Whether it is an array of NumPy, or like one."""
    return all(hasattr(type(value), name) for name in ("dtype", "shape", "tobytes"))


def is_generator(value: object) -> TypeGuard[random.Random | torch.Generator | ArrayGenerator]:
    """Whether it draws random numbers."""
    return isinstance(value, (random.Random, torch.Generator)) or hasattr(type(value), "bit_generator")


def drawn_from(generator: random.Random | torch.Generator | ArrayGenerator) -> Fingerprint:
    """Where a generator of random numbers is."""
    state: object
    if isinstance(generator, random.Random):
        state = generator.getstate()
    elif isinstance(generator, torch.Generator):
        state = generator.get_state()
    else:
        state = generator.bit_generator.state
    digest = fingerprint(state).digest
    return Fingerprint(digest, f"a {type(generator).__name__} in the state {digest}")


def kept(value: object) -> object:
    """A value that stays as it is: a tensor is copied, what is no data is told by its type."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if value is None or isinstance(value, (bool, int, float, str, bytes, Fingerprint)):
        return value
    if is_array(value) or is_mapping(value) or is_list_or_tuple(value):
        return fingerprint(value)
    return f"a {type(value).__qualname__}"


def same(one: object, other: object) -> bool:
    """Whether two values that were kept are the same, to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bytes_of(one) == _bytes_of(other)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return False
    if isinstance(one, Fingerprint) and isinstance(other, Fingerprint):
        return one.digest == other.digest
    return one == other or (one != one and other != other)


def mismatch(path: str, expected: object, found: object) -> Mismatch:
    """Tell two values that are not the same; of tensors the first element that is not."""
    if isinstance(expected, Tensor) and isinstance(found, Tensor) and _comparable(expected, found):
        index, count, largest = _first_difference(expected, found)
        where = f" at {index}" if index else ""
        some = f" ({count} of {expected.numel()} differ, by at most {largest:.3g})"
        return Mismatch(path, f"{_element(expected, index)}{where}", f"{_element(found, index)}{where}{some}")
    return Mismatch(path, shown(expected), shown(found))


def shown(value: object) -> str:
    """A value in a line."""
    if isinstance(value, Fingerprint):
        return value.text
    if isinstance(value, Tensor):
        first = ", ".join(f"{item:.6g}" for item in _first_of(value))
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)} of {first}" + ", ..." * (
            value.numel() > 4
        )
    if is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    if type(value).__repr__ is object.__repr__ or is_generator(value):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _first_of(tensor: Tensor) -> Iterable[float]:
    flat = _dense(tensor).reshape(-1)[:4]
    return [number.item() for number in (flat.abs() if flat.is_complex() else flat)]


def _dense(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()


def _comparable(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and not one.is_complex() and one.layout == torch.strided
    )


def _first_difference(one: Tensor, other: Tensor) -> tuple[list[int], int, float]:
    """Where the first element is that differs, how many do, and by how much."""
    one, other = one.detach().cpu(), other.detach().cpu()
    differs = (one != other) & ~((one != one) & (other != other))
    places = differs.nonzero()
    first = [int(index) for index in places[0]] if len(places) else []
    largest = float((one.double() - other.double()).abs().nan_to_num(0.0).max())
    return first, len(places), largest


def _element(tensor: Tensor, index: list[int]) -> str:
    value = tensor[tuple(index)] if index else tensor.reshape(-1)[0]
    return f"{value.item():.9g}"


def _bytes_of(leaf: object) -> bytes | None:
    """A value that has no parts as bytes; None for one that has."""
    if isinstance(leaf, Tensor):
        kind = f"{leaf.dtype}{tuple(leaf.shape)}".encode()
        plain = _dense(leaf).resolve_conj().resolve_neg().cpu().contiguous()
        return kind + plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    if is_array(leaf):
        return f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes()
    if is_generator(leaf):
        return drawn_from(leaf).digest.encode()
    if leaf is None or isinstance(leaf, (bool, int, float, complex, str, bytes)):
        return repr(leaf).encode()
    return None
