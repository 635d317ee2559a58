"""Random numbers that are the same each time."""

from __future__ import annotations

import hashlib
import os
import random
from importlib import import_module
from typing import ClassVar, cast

import torch
from torch.utils.data import DataLoader
from typing_extensions import Protocol

from typedloops.errors import ConfigurationError

LARGEST_SEED = 2**32 - 1
"""NumPy takes no larger one."""


class Seeds(Protocol):
    """A module of random numbers that can be seeded: `numpy.random`."""

    def seed(self, seed: int, /) -> object: ...


class Workers:
    """Whether the workers of loaders are seeded."""

    seeded: ClassVar[bool] = False


def seed_everything(seed: int, workers: bool = True) -> int:
    """Seed Python, NumPy if it is installed, and torch on all devices.

    The workers of a torch `DataLoader` need nothing more: torch seeds all three in each of them,
    differently, from a number that it draws for each epoch from its own generator, which this
    seeds.  But in each of several processes (`RANK` in the environment, as torchrun sets it) that
    number is the same, and so would be what their workers draw.

    Args:
        seed: From 0 to 2**32 - 1.
        workers: Whether the runs of this process let workers draw other numbers than those of other
            processes do; a loader with a `worker_init_fn` of its own keeps it.

    Returns:
        The seed.

    Raises:
        ConfigurationError: It is no such number.
    """
    number: object = seed
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_SEED:
        raise ConfigurationError("seed_everything", f"{seed!r} is no seed", f"Give an int from 0 to {LARGEST_SEED}.")
    seed_generators(seed)
    Workers.seeded = workers
    return seed


def seed_generators(seed: int) -> None:
    """Seed the generators of this process."""
    random.seed(seed)
    numpy = _numpy_random()
    if numpy is not None:
        numpy.seed(seed)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open


def _numpy_random() -> Seeds | None:
    try:
        return cast("Seeds", import_module("numpy.random"))
    except ModuleNotFoundError:
        return None


def rank() -> int:
    """Which of several processes this one is."""
    given = os.environ.get("RANK", "")
    return int(given) if given.isdecimal() else 0


def seed_workers_of(loader: object) -> None:
    """Let the workers of a loader draw other numbers than those of the same loader in another process."""
    if not (Workers.seeded and rank() and isinstance(loader, DataLoader)):
        return
    if loader.num_workers and loader.worker_init_fn is None:
        loader.worker_init_fn = seed_worker


def seed_worker(worker_id: int) -> None:
    """Seed a worker by the number that torch drew for the epoch, the worker and the process."""
    base = torch.initial_seed() - worker_id
    digest = hashlib.blake2b(f"{base}/{worker_id}/{rank()}".encode(), digest_size=4).digest()
    seed_generators(int.from_bytes(digest, "big"))
