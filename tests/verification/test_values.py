"""Values of two runs: whether they are the same, to the bit, and how a difference is told."""

from __future__ import annotations

import copy
import random
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from typedloops.verification.flattening import leaves_of
from typedloops.verification.state import differences, kept_state
from typedloops.verification.values import fingerprint, kept, mismatch, same, shown

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
NUMBERS = st.lists(st.floats(width=32), min_size=1, max_size=6)


@given(NESTED)
def test_what_is_equal_has_the_same_fingerprint(value: object) -> None:
    assert fingerprint(value) == fingerprint(copy.deepcopy(value))


@given(NUMBERS)
def test_a_tensor_is_the_same_as_its_copy_whatever_is_in_it(numbers: list[float]) -> None:
    tensor = torch.tensor(numbers)
    assert same(kept(tensor), kept(tensor.clone()))
    assert fingerprint([tensor]) == fingerprint([tensor.clone()])


@given(NUMBERS, st.data())
def test_one_other_bit_is_seen_and_told(numbers: list[float], data: st.DataObject) -> None:
    one = torch.tensor(numbers)
    index = data.draw(st.integers(0, len(numbers) - 1))
    other = one.clone()
    other.view(torch.int32)[index] ^= 1
    assert not same(kept(one), kept(other))
    assert fingerprint(one) != fingerprint(other)
    assert mismatch("w", one, other).path == "w"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), [0.0, 0.0]),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"b": 1}),
        (np.zeros(2), np.ones(2)),
        (torch.tensor([1 + 2j]), torch.tensor([1 - 2j])),
        (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        (torch.eye(2).to_sparse(), (2 * torch.eye(2)).to_sparse()),
        ({1, 2}, {1, 3}),
        (random.Random(1), random.Random(2)),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
    ],
)
def test_what_differs_has_another_fingerprint(one: object, other: object) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(copy.deepcopy(one))


class Batch:
    """A batch that is an object, and knows itself."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.itself = self


def test_an_object_is_its_attributes() -> None:
    assert fingerprint(Batch(torch.zeros(2))) == fingerprint(Batch(torch.zeros(2)))
    assert fingerprint(Batch(torch.zeros(2))) != fingerprint(Batch(torch.ones(2)))


def test_a_difference_of_tensors_tells_the_first_element_how_many_and_how_much() -> None:
    one = torch.tensor([[0.0, 1.0], [2.0, float("nan")]])
    found = mismatch("module: w", one, torch.tensor([[0.0, 1.0], [2.5, float("nan")]]))
    assert (found.path, found.expected, found.found) == (
        "module: w",
        "2 at [1, 0]",
        "2.5 at [1, 0] (1 of 4 differ, by at most 0.5)",
    )
    assert mismatch("m", torch.tensor(1.0), torch.tensor(3.0)).found == "3 (1 of 1 differ, by at most 2)"
    assert mismatch("m", torch.zeros(1), torch.zeros(2)).found == "float32[2] of 0, 0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("a" * 100, "'" + "a" * 59 + "..."),
        (torch.arange(6), "int64[6] of 0, 1, 2, 3, ..."),
        (np.zeros((2, 3)), "float64[2, 3]"),
        (torch.eye(2).to_sparse(), "float32[2, 2] of 1, 0, 0, 1"),
        (random.Random(1), "a Random"),
        (object(), "a object"),
    ],
)
def test_a_value_is_shown_in_a_line(value: object, text: str) -> None:
    assert shown(value) == text


@dataclass
class Pair:
    a: int
    b: tuple[int, ...]


def test_leaves_are_told_by_path() -> None:
    value = {"x": [1, {"y": 2}], "pair": Pair(3, (4, 5)), "empty": [], "queue": deque([1])}
    assert [path for path, _ in leaves_of(value)] == [
        "x/0",
        "x/1/y",
        "pair/a",
        "pair/b/0",
        "pair/b/1",
        "empty",
        "queue",
    ]
    assert dict(leaves_of({"a": {"b": 1}}, "root", ".")) == {"root.a.b": 1}


def test_differences_of_states_are_in_the_order_of_the_run_and_then_what_is_missing() -> None:
    expected = kept_state([("a", 1), ("b", torch.zeros(1)), ("gone", "x"), ("nan", float("nan"))])
    found = differences(expected, [("nan", float("nan")), ("new", 2), ("b", torch.ones(1)), ("a", 1)])
    assert [(each.path, each.expected, each.found) for each in found] == [
        ("new", "nothing", "2"),
        ("b", "0 at [0]", "1 at [0] (1 of 1 differ, by at most 1)"),
        ("gone", "'x'", "nothing"),
    ]
