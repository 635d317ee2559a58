"""Whatever environments are given, as one thing that is stepped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError
from typedloops.recipes.online.environments import AnyEnvironments, Environment, Environments, VectorEnvironment
from typedloops.recipes.online.separate import SeparateEnvironments
from typedloops.recipes.online.vectorized import VectorizedEnvironments


def environments_of(environments: AnyEnvironments, *, seed: int, replay: bool) -> Environments:
    """Those environments as one thing that is stepped.

    Raises:
        ConfigurationError: There are none, or something else.
    """
    if isinstance(environments, VectorEnvironment):
        return VectorizedEnvironments(environments, seed=seed, replay=replay)
    several = environments if is_list_or_tuple(environments) else [environments]
    for environment in several or (None,):
        if not isinstance(environment, Environment):
            raise ConfigurationError(
                "environments",
                f"{environment!r} has no `reset` and `step`" if several else "there are none",
                "Give what has the shape of a gymnasium environment, a list of those, or a vector environment.",
            )
    return SeparateEnvironments(cast("Sequence[Environment]", several), seed=seed, replay=replay)
