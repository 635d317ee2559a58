"""The generators of their own that loaders draw their order from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Generator, Tensor

PLACES = ("generator", "sampler.generator", "batch_sampler.generator", "batch_sampler.sampler.generator")
"""Where a loader may keep one."""


def generators_of(loader: object) -> dict[str, Generator]:
    """The generators of a loader by their place."""
    found: dict[str, Generator] = {}
    for place in PLACES:
        thing: object = loader
        for name in place.split("."):
            thing = getattr(thing, name, None)
        if isinstance(thing, Generator) and all(thing is not other for other in found.values()):
            found[place] = thing
    return found


def generator_states(loader: object) -> dict[str, Tensor]:
    """The states of the generators of a loader by their place."""
    return {place: generator.get_state() for place, generator in generators_of(loader).items()}


def restore_generators(loader: object, states: Mapping[str, object]) -> None:
    """Put the generators of a loader where they were."""
    for place, generator in generators_of(loader).items():
        if isinstance(state := states.get(place), Tensor):
            generator.set_state(state)
