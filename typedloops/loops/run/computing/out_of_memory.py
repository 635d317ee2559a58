"""Memory that runs out: knowing it, and trying again with less."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import torch
from typing_extensions import TypeVar

from typedloops.errors import ConfigurationError, add_note

T = TypeVar("T")

SIGNS = (
    "out of memory",  # CUDA, MPS, cuBLAS and cuDNN before they had a class for it
    "can't allocate memory",  # torch's allocator for the CPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What the messages of allocators that have no class of their own for it say."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def shrinking(size: int, attempt: Callable[[int], T], *, what: str = "a batch") -> tuple[int, T]:
    """Do something of which less takes less memory, with half as much each time that memory runs out.

    ```
    size, predictions = shrinking(512, lambda size: predict_in_batches_of(size))
    ```

    Args:
        size: How much to try first.
        attempt: Does it with so much.
        what: What to call it in the warning.

    Returns:
        How much could be done at a time, and what `attempt` returned.

    Raises:
        ConfigurationError: The size is no number of things.
    """
    _check_size(size)
    tried = [size]
    while True:
        try:
            return tried[-1], attempt(tried[-1])
        except Exception as error:
            tried.append(halved(tried[-1], error, what))
        # Outside of `except`: until there the error keeps everything alive that was on the way to it.
        release_memory()


def _check_size(size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigurationError("shrinking", f"a size of {size!r} is no number of things", "Give 1 or more.")


def halved(size: int, error: Exception, what: str) -> int:
    """Half of a size at which memory ran out; any other error is raised again, and so is this one at size 1."""
    if not is_out_of_memory(error):
        raise error
    if size == 1:
        add_note(error, f"{what}: memory runs out with 1 at a time; there is nothing smaller to try.")
        raise error
    warnings.warn(
        f"{what}: memory ran out with {size} at a time; from now on it is done with {size // 2}.",
        UserWarning,
        stacklevel=3,
    )
    return size // 2
