"""The type of numbers that a run computes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias

import torch
from torch import nn
from typing_extensions import ParamSpec, TypeVar

from typedloops.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

Precision: TypeAlias = Literal[
    "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", 64, 32, 16, "64", "32", "16", "bf16"
]
"""What numbers are: all of them (`true`), or only where it is safe, with weights in 32 bits (`mixed`)."""

SHORT: dict[object, str] = {
    **dict.fromkeys((64, "64"), "64-true"),
    **dict.fromkeys((32, "32"), "32-true"),
    **dict.fromkeys((16, "16"), "16-mixed"),
    "bf16": "bf16-mixed",
}
DTYPES = {"16": torch.float16, "bf16": torch.bfloat16, "32": torch.float32, "64": torch.float64}
NAMES = ("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")


@dataclass(frozen=True)
class NumberType:
    """The floating-point numbers of a run.

    Args:
        name: What they are called.
        dtype: Their type.
        mixed: Whether only some operations use it, as `torch.autocast` sees fit.
    """

    name: str
    dtype: torch.dtype
    mixed: bool

    @property
    def converts_to(self) -> torch.dtype | None:
        """What the module and its batches are made; None leaves them as they are."""
        return None if self.mixed or self.dtype is torch.float32 else self.dtype

    @property
    def scales(self) -> bool:
        """Whether gradients are too small for it: losses are then scaled."""
        return self.mixed and self.dtype is torch.float16

    def convert(self, module: object) -> None:
        """Make the module's numbers those of the run; they stay so afterwards."""
        if self.converts_to is not None and isinstance(module, nn.Module):
            module.to(self.converts_to)

    def check(self, device: torch.device) -> None:
        """Raise `ConfigurationError` unless it can be computed in on `device`."""
        if self.mixed and not torch.amp.is_autocast_available(device.type):
            raise ConfigurationError(
                "precision",
                f"{self.name!r} cannot be had on {str(device)!r}, which torch has no autocast for",
                "Give '32-true'.",
            )

    def applied_to(self, step: Callable[P, R], device: torch.device) -> Callable[P, R]:
        """`step`, computing in these numbers; in 32 bits, `step` itself."""
        if self.mixed:
            return InContext(step, torch.autocast(device.type, self.dtype))
        return step if self.converts_to is None else InContext(step, DefaultDtype(self.converts_to))


class InContext(Generic[P, R]):
    """A function that is always called inside a context.

    Args:
        function: What is called.
        context: What is entered for each call; it is not entered again before it was left.
    """

    def __init__(self, function: Callable[P, R], context: AbstractContextManager[object]) -> None:
        self.__wrapped__ = function
        self._context = context

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._context:
            return self.__wrapped__(*args, **kwargs)


class DefaultDtype:
    """Inside it, tensors that are made without a type are of this one.

    Args:
        dtype: Their type.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._before = dtype

    def __enter__(self) -> None:
        self._before = torch.get_default_dtype()
        torch.set_default_dtype(self._dtype)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(self._before)


def number_type(precision: object) -> NumberType:
    """What is meant by a `Precision`.

    Raises:
        ConfigurationError: Nothing is.
    """
    hashable = isinstance(precision, (int, str)) and not isinstance(precision, bool)
    name = SHORT.get(precision, precision) if hashable else None
    if name not in NAMES:
        raise ConfigurationError("precision", f"{precision!r} is no precision", f"Give one of {', '.join(NAMES)}.")
    bits, _, kind = str(name).partition("-")
    return NumberType(str(name), DTYPES[bits], kind == "mixed")
