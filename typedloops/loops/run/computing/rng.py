"""Random numbers that are drawn as if nothing had been drawn in between."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import torch


class RngStates:
    """Where the generators of Python, NumPy (where it is loaded), torch and its devices are now."""

    def __init__(self) -> None:
        self._restoring: list[Callable[[], object]] = [
            partial(random.setstate, random.getstate()),
            partial(torch.set_rng_state, torch.get_rng_state()),
        ]
        if "numpy.random" in sys.modules:
            import numpy as np

            self._restoring.append(partial(np.random.set_state, np.random.get_state()))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            self._restoring.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
        if torch.backends.mps.is_available():
            self._restoring.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))

    def restore(self) -> None:
        """Put the generators back there."""
        for restore in self._restoring:
            restore()


@contextmanager
def isolated_rng() -> Generator[None]:
    """Afterwards the generators are where they were."""
    states = RngStates()
    try:
        yield
    finally:
        states.restore()
