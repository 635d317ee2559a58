"""Settings of torch that hold for everything in the process, set for a run and restored after it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeAlias, get_args

import torch

from typedloops.errors import ConfigurationError

MatmulPrecision: TypeAlias = Literal["highest", "high", "medium"]
"""How precisely 32-bit matrices are multiplied: in 32 bits, or in fewer."""

CUBLAS_CONFIG = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_DETERMINISTIC = ":4096:8"
"""Without one of its two deterministic workspaces, cuBLAS is refused; read when the first one is made."""


@contextmanager
def torch_settings(
    matmul_precision: MatmulPrecision | None = None,
    deterministic: bool | Literal["warn"] | None = None,
    benchmark: bool | None = None,
) -> Generator[None]:
    """Set what is not None; afterwards everything is as it was.

    Args:
        matmul_precision: See `MatmulPrecision`.
        deterministic: Whether only deterministic algorithms are used; `warn` says where there is none.
        benchmark: Whether cuDNN looks for the fastest algorithm; by default not in a deterministic run.
    """
    with ExitStack() as restoring:
        if matmul_precision is not None:
            restoring.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision(matmul_precision)
        if deterministic is not None:
            _be_deterministic(deterministic, restoring)
        if benchmark is None and deterministic:
            benchmark = False
        if benchmark is not None:
            restoring.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
            torch.backends.cudnn.benchmark = benchmark
        yield


def _be_deterministic(deterministic: bool | Literal["warn"], restoring: ExitStack) -> None:
    restoring.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    restoring.callback(setattr, torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)
    torch.use_deterministic_algorithms(bool(deterministic), warn_only=deterministic == "warn")
    torch.backends.cudnn.deterministic = bool(deterministic)
    if deterministic and CUBLAS_CONFIG not in os.environ:
        os.environ[CUBLAS_CONFIG] = CUBLAS_DETERMINISTIC
        restoring.callback(os.environ.pop, CUBLAS_CONFIG, None)


def check_torch_settings(matmul_precision: object, deterministic: object, benchmark: object) -> None:
    """Raise `ConfigurationError` unless they can be set."""
    if matmul_precision is not None and matmul_precision not in get_args(MatmulPrecision):
        raise ConfigurationError(
            "float32_matmul_precision",
            f"{matmul_precision!r} is no precision of products",
            "Give 'highest', 'high' or 'medium', or None to leave it.",
        )
    if not isinstance(deterministic, bool) and deterministic not in (None, "warn"):
        raise ConfigurationError(
            "deterministic", f"{deterministic!r} says not whether", "Give True, 'warn' or False, or None to leave it."
        )
    if not isinstance(benchmark, bool) and benchmark is not None:
        raise ConfigurationError(
            "benchmark", f"{benchmark!r} says not whether", "Give True or False, or None to leave it."
        )
