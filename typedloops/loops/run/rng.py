"""Random numbers that are drawn as if nothing had been drawn in between."""

from __future__ import annotations

import random
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def isolated_rng() -> Generator[None]:
    """Afterwards the generators of Python, NumPy (where it is loaded), torch and its devices are as they were."""
    with ExitStack() as restoring:
        restoring.callback(random.setstate, random.getstate())
        if "numpy.random" in sys.modules:
            import numpy as np

            restoring.callback(np.random.set_state, np.random.get_state())
        restoring.callback(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            restoring.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        if torch.backends.mps.is_available():
            restoring.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
        yield
