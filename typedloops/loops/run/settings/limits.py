"""Limits on the batches of several loaders."""

from __future__ import annotations

from collections.abc import Sequence

from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError
from typedloops.loops.run.settings.config import BatchCounts, BatchLimit, BatchLimits, check_limits
from typedloops.loops.run.settings.durations import Unit, counted


def counted_limits(where: str, limits: BatchCounts) -> BatchLimits:
    """One limit or several without their units; see `counted`.

    Raises:
        ConfigurationError: One of them is no limit.
    """
    if isinstance(limits, Sequence) and not isinstance(limits, str):
        plain: BatchLimits = tuple(counted(f"{where}[{i}]", limit, Unit.BATCHES) for i, limit in enumerate(limits))
    else:
        plain = counted(where, limits, Unit.BATCHES)
    check_limits(where, plain)
    return plain


def each_limit(where: str, limits: BatchLimits, loaders: int) -> Sequence[BatchLimit]:
    """The limit of each of so many loaders.

    Raises:
        ConfigurationError: There is another number of limits.
    """
    if not isinstance(limits, Sequence):
        return [limits] * loaders
    if len(limits) != loaders:
        raise ConfigurationError(
            where,
            f"the number of limits is {len(limits)}, and that of loaders {loaders}",
            "Give one limit for each loader, or one for all.",
        )
    return limits


def leaves_nothing(limits: object) -> bool:
    """Whether no loader is to be asked for anything."""
    return all(limit == 0 for limit in limits) if is_list_or_tuple(limits) else limits == 0
