"""`BatchTransfer`: what is moved, what keeps its class, and what is left as it is."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from tests.core.cores import Core

if TYPE_CHECKING:
    from typedloops._core.compiled.transfer import BatchTransfer

META = torch.device("meta")


class Pair(NamedTuple):
    x: Tensor
    y: object


Untyped = namedtuple("Untyped", "a b")  # noqa: PYI024  # there are such batches


class Tagged(list[object]):
    tag = ""


class Shape(tuple[object, ...]):
    pass


@dataclass
class Item:
    x: Tensor
    name: str = "a"
    derived: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.derived = [self.x]


@dataclass(frozen=True)
class Frozen:
    x: Tensor


@dataclass(frozen=True, slots=True)
class Slotted:
    x: Tensor
    y: object = None


@dataclass
class Unset:
    x: Tensor
    later: Tensor = field(init=False)


class Mover:
    """Moves itself in place and returns nothing, or is moved and returns another."""

    def __init__(self, returns: bool) -> None:
        self.device: object = None
        self.returns = returns

    def to(self, device: object) -> Mover | None:
        if not self.returns:
            self.device = device
            return None
        other = Mover(True)
        other.device = device
        return other


def to_meta(core: Core, dtype: torch.dtype | None = None) -> BatchTransfer:
    return core.BatchTransfer(Tensor, META, dtype, non_blocking=True)


def ones() -> Tensor:
    return torch.ones(2)


def default() -> defaultdict[str, Tensor]:
    made = defaultdict(ones)
    made["a"] = ones()
    return made


def tagged() -> Tagged:
    made = Tagged([ones()])
    made.tag = "train"
    return made


BATCHES: dict[str, Callable[[], Any]] = {
    "tensor": ones,
    "parameter": lambda: torch.nn.Parameter(ones()),
    "tuple": lambda: (ones(), "label", 3),
    "list": lambda: [ones(), None, 1.5],
    "dict": lambda: {"x": ones(), "ids": b"1"},
    "nested": lambda: {"a": [(ones(), {"b": [ones()]})], 1: ()},
    "named tuple": lambda: Pair(ones(), [ones()]),
    "untyped named tuple": lambda: Untyped(1, ones()),
    "list subclass": tagged,
    "tuple subclass": lambda: Shape([ones(), 1]),
    "ordered dict": lambda: OrderedDict(a=ones(), b=1),
    "default dict": default,
    "mapping": lambda: MappingProxyType({"a": ones()}),
    "user dict": lambda: UserDict({"a": ones()}),
    "dataclass": lambda: Item(ones()),
    "frozen dataclass": lambda: Frozen(ones()),
    "slotted dataclass": lambda: Slotted(ones(), [ones()]),
    "unset field": lambda: Unset(ones()),
    "packed sequence": lambda: pack_sequence([ones(), torch.ones(1)]),
}


def parts(batch: object) -> list[Any]:
    """Everything that is no container, in order."""
    if isinstance(batch, PackedSequence):
        return [batch.data]
    if isinstance(batch, (list, tuple)):
        return [part for item in batch for part in parts(item)]
    if isinstance(batch, (dict, UserDict, MappingProxyType)):
        return [part for item in batch.items() for part in parts(item)]
    if isinstance(batch, (Item, Frozen, Slotted, Unset)):
        return [p for f in fields(batch) if hasattr(batch, f.name) for p in parts(getattr(batch, f.name))]
    return [batch]


def tensors(batch: object) -> list[Tensor]:
    return [part for part in parts(batch) if isinstance(part, Tensor)]


@pytest.mark.parametrize("name", BATCHES)
def test_every_tensor_is_moved_and_every_container_keeps_its_class(core: Core, name: str) -> None:
    batch = BATCHES[name]()
    moved = to_meta(core)(batch)
    assert type(moved) is type(batch) or name in ("parameter", "mapping")
    assert moved is not batch
    assert [tensor.device for tensor in tensors(moved)] == [META] * len(tensors(batch))
    assert [part for part in parts(moved) if not isinstance(part, Tensor)] == [
        part for part in parts(batch) if not isinstance(part, Tensor)
    ]
    assert all(tensor.device.type == "cpu" for tensor in tensors(batch)), "the batch itself is not changed"


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_that_is_there_already_is_itself(core: Core, name: str) -> None:
    batch = BATCHES[name]()
    assert core.BatchTransfer(Tensor, torch.device("cpu"))(batch) is batch
    assert core.BatchTransfer(Tensor, None)(batch) is batch


def test_what_was_not_moved_keeps_its_identity(core: Core) -> None:
    labels, meta = ["a", "b"], ones().to(META)
    batch: dict[str, object] = {"x": ones(), "labels": labels, "there": (meta, {"y": meta})}
    moved = to_meta(core)(batch)
    assert moved is not batch
    assert moved["labels"] is labels
    assert moved["there"] is batch["there"]


def test_what_a_subclass_adds_is_kept(core: Core) -> None:
    moved = to_meta(core)(tagged())
    assert (type(moved), moved.tag) == (Tagged, "train")
    mapping = to_meta(core)(default())
    assert mapping["new"].device.type == "cpu"
    item = to_meta(core)(Item(ones(), name="b"))
    assert (item.name, item.derived[0].device) == ("b", META)


@pytest.mark.parametrize("part", ["text", b"bytes", None, 3, 1.5, True, 2j, {1, 2}, range(3), Tensor, object(), META])
def test_what_cannot_be_moved_is_left(core: Core, part: object) -> None:
    assert to_meta(core)(part) is part
    batch = (part, [part])
    assert to_meta(core)(batch) is batch


@pytest.mark.parametrize("returns", [True, False])
def test_anything_with_to_moves_itself(core: Core, returns: bool) -> None:
    mover = Mover(returns)
    moved = to_meta(core)([mover])[0]
    assert moved.device == META
    assert (moved is mover) is not returns
    assert core.BatchTransfer(Tensor, None, torch.float64)(mover) is mover


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_floating_point_tensors_become_of_the_type_asked_for(core: Core, device: torch.device | None) -> None:
    transfer = core.BatchTransfer(Tensor, device, torch.float64)
    indices, there = torch.arange(2), torch.ones(2, dtype=torch.float64)
    x, i, t, flags, half = transfer((ones(), indices, there, torch.tensor([True]), ones().half()))
    assert [x.dtype, half.dtype, flags.dtype] == [torch.float64, torch.float64, torch.bool]
    assert i is indices
    assert t is there
    both = core.BatchTransfer(Tensor, META, torch.bfloat16)([ones(), indices])
    assert [(tensor.device, tensor.dtype) for tensor in both] == [(META, torch.bfloat16), (META, torch.int64)]


class Recorded:
    """A tensor that writes down how it is moved."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def is_floating_point(self) -> bool:
        return True

    def to(self, *args: object, **kwargs: object) -> Recorded:
        self.calls.append((args, kwargs))
        return self


@pytest.mark.parametrize("non_blocking", [True, False])
def test_how_a_tensor_is_moved(core: Core, non_blocking: bool) -> None:
    tensor = Recorded()
    core.BatchTransfer(Recorded, "device", non_blocking=non_blocking)(tensor)
    core.BatchTransfer(Recorded, "device", "dtype", non_blocking=non_blocking)(tensor)
    core.BatchTransfer(Recorded, None, "dtype", non_blocking=non_blocking)(tensor)
    assert tensor.calls == [
        (("device",), {"non_blocking": non_blocking}),
        (("device", "dtype", non_blocking), {}),
        (("dtype",), {}),
    ]


def test_an_error_of_a_part_comes_through(core: Core) -> None:
    class Stuck:
        def to(self, device: object) -> None:
            raise KeyError(device)

    with pytest.raises(KeyError):
        to_meta(core)({"a": [Stuck()]})


LEAVES = st.one_of(st.none(), st.integers(), st.text(max_size=2), st.builds(ones), st.builds(Frozen, st.builds(ones)))
NESTED: st.SearchStrategy[object] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.builds(Pair, st.builds(ones), inner),
        st.lists(inner, max_size=2).map(Shape),
    ),
    max_leaves=12,
)


def shape_of(batch: object) -> object:
    """What can be compared of a batch: classes, values, and devices in place of tensors."""
    if isinstance(batch, Tensor):
        return batch.device
    if isinstance(batch, (list, tuple)):
        return type(batch), [shape_of(item) for item in batch]
    if isinstance(batch, dict):
        return [(key, shape_of(value)) for key, value in batch.items()]
    return shape_of(batch.x) if isinstance(batch, Frozen) else batch


@given(NESTED)
def test_both_cores_move_alike(cores: tuple[Core, Core], batch: object) -> None:
    compiled, reference = (to_meta(core)(batch) for core in cores)
    assert shape_of(compiled) == shape_of(reference)
    assert (compiled is batch) == (reference is batch) == (not tensors_below(batch))


def tensors_below(batch: object) -> bool:
    return "meta" in str(shape_of(to_meta(Core("reference"))(batch)))
