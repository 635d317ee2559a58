"""Memory that runs out: what says so, and trying again with less."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from typedloops import shrinking
from typedloops.errors import ConfigurationError
from typedloops.loops.run.computing.out_of_memory import is_out_of_memory


def exhausted() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exhausted(), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_says_that_memory_ran_out(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(failed.value)


def test_it_is_done_with_half_as_much_until_it_fits() -> None:
    tried: list[int] = []

    def attempt(size: int) -> str:
        tried.append(size)
        if size > 10:
            raise exhausted()
        return f"done with {size}"

    with pytest.warns(UserWarning, match="memory ran out") as told:
        assert shrinking(70, attempt, what="a prediction") == (8, "done with 8")
    assert tried == [70, 35, 17, 8]
    assert [str(warning.message) for warning in told] == [
        f"a prediction: memory ran out with {size} at a time; from now on it is done with {size // 2}."
        for size in (70, 35, 17)
    ]


def test_what_fits_at_once_is_done_once() -> None:
    assert shrinking(3, lambda size: [size]) == (3, [3])


class Large:
    """Something that takes memory."""


def test_nothing_of_a_failed_attempt_is_alive_in_the_next() -> None:
    seen: list[weakref.ref[Large]] = []

    def attempt(size: int) -> None:
        gc.disable()
        large = Large()
        assert [ref() for ref in seen] == [None] * len(seen)
        seen.append(weakref.ref(large))
        if size > 1:
            raise exhausted()

    try:
        with pytest.warns(UserWarning, match="memory ran out"):
            shrinking(4, attempt)
    finally:
        gc.enable()
    assert len(seen) == 3


def test_with_nothing_smaller_the_error_says_what_was_tried() -> None:
    def attempt(size: int) -> None:
        raise exhausted()

    with pytest.warns(UserWarning, match="memory ran out"), pytest.raises(torch.OutOfMemoryError) as failed:
        shrinking(2, attempt)
    assert failed.value.__notes__ == ["a batch: memory runs out with 1 at a time; there is nothing smaller to try."]


def test_another_error_is_raised_at_once() -> None:
    def attempt(size: int) -> None:
        raise ValueError(size)

    with pytest.raises(ValueError, match="8"):
        shrinking(8, attempt)


@pytest.mark.parametrize("size", [0, -1, True, 2.0])
def test_a_size_that_is_none(size: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        shrinking(size, lambda size: size)
    assert str(refused.value) == f"shrinking: a size of {size!r} is no number of things. Give 1 or more."
