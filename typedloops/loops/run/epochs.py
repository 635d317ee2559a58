"""Which epoch it is, told to the parts of loaders that want to know it."""

from __future__ import annotations

from collections.abc import Iterator

from typedloops._core.escape import call
from typedloops.protocols.data import MadeOfLoaders

PARTS = (("dataset",), ("sampler",), ("batch_sampler",), ("batch_sampler", "sampler"))
"""Where a loader keeps what may depend on the epoch, after torch's `DataLoader`."""


def tell_epoch(loader: object, epoch: int) -> None:
    """Call `set_epoch(epoch)` of the loader and of what it is made of, once on each that has it.

    Those are its dataset, its samplers (torch's `DistributedSampler` shuffles by the epoch), and
    the loaders of a combination.

    Args:
        loader: A loader of any kind.
        epoch: From 0.
    """
    for part in {id(part): part for part in _parts_of(loader)}.values():
        set_epoch: object = getattr(part, "set_epoch", None)
        if callable(set_epoch):
            call(set_epoch, epoch)


def _parts_of(loader: object) -> Iterator[object]:
    yield loader
    for path in PARTS:
        part = loader
        for name in path:
            part = getattr(part, name, None)
        if part is not None:
            yield part
    if isinstance(loader, MadeOfLoaders):
        for child in loader.child_loaders:
            yield from _parts_of(child)
