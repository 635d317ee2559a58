"""Random numbers that are drawn as if nothing had been drawn in between."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias, cast

import torch
from torch import Tensor

from typedloops.errors import StateError

States: TypeAlias = "dict[str, object]"


class RngStates:
    """Where the generators of Python, NumPy (where it is loaded), torch and its devices are now.

    Args:
        states: What `state_dict` gave; by default they are asked.
    """

    def __init__(self, states: Mapping[str, object] | None = None) -> None:
        self._states: Mapping[str, object] = _asked() if states is None else states

    def state_dict(self) -> States:
        """The states by the name of their generator, made of numbers, tuples and tensors."""
        return dict(self._states)

    def restore(self, *, exact: bool = True) -> None:
        """Put the generators back there; those that were not there then are left as they are.

        Args:
            exact: Whether it is an error that the devices are others; otherwise those of devices that are not
                here are left out, with a warning.

        Raises:
            StateError: A state is of a generator that is not here, or of another number of devices.
        """
        for name, state in self._states.items():
            setter = _setters().get(name)
            if not exact and (problem := _lacks(name, state)):
                warnings.warn(
                    f"random numbers of {name}: {problem}, so they do not go on as they would have.",
                    UserWarning,
                    stacklevel=2,
                )
                continue
            if setter is None:
                raise StateError(
                    f"random numbers of {name}",
                    "there is no such generator here",
                    "Go on with the packages and devices that the state is from.",
                )
            try:
                setter(state)
            except (TypeError, ValueError, RuntimeError, IndexError) as error:
                raise StateError(
                    f"random numbers of {name}", f"the state does not fit: {error}", "Load a state as it was saved."
                ) from error


def _asked() -> States:
    states: States = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if "numpy.random" in sys.modules:
        import numpy as np

        kind, keys, *rest = cast("tuple[str, object, int, int, float]", np.random.get_state())
        states["numpy"] = (kind, torch.tensor(keys, dtype=torch.int64), *rest)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def _setters() -> dict[str, Callable[[object], object]]:
    setters: dict[str, Callable[[object], object]] = {
        "python": _set_python,
        "torch": lambda state: torch.set_rng_state(cast("Tensor", state)),
    }
    if "numpy" in sys.modules or _has_numpy():
        setters["numpy"] = _set_numpy
    if torch.cuda.is_available():
        setters["cuda"] = _set_cuda
    if torch.backends.mps.is_available():
        setters["mps"] = lambda state: torch.mps.set_rng_state(cast("Tensor", state))
    return setters


def _lacks(name: str, state: object) -> str:
    """What is here of devices, where that is not what a state is of; empty where it is."""
    if name == "mps":
        return "" if torch.backends.mps.is_available() else "there is no such device here"
    if name != "cuda":
        return ""
    saved, here = len(cast("list[Tensor]", state)), torch.cuda.device_count() if torch.cuda.is_available() else 0
    return "" if saved == here else f"they are of {saved} devices, and there are {here}"


def _has_numpy() -> bool:
    from importlib.util import find_spec

    return find_spec("numpy") is not None


def _set_python(state: object) -> None:
    version, numbers, following = cast("tuple[int, Sequence[int], float | None]", state)
    random.setstate((version, tuple(numbers), following))


def _set_numpy(state: object) -> None:
    import numpy as np

    kind, keys, position, has_gauss, gauss = cast("tuple[str, Tensor, int, int, float]", state)
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))


def _set_cuda(state: object) -> None:
    states = cast("list[Tensor]", state)
    if len(states) != torch.cuda.device_count():
        raise ValueError(f"it is of {len(states)} devices, and there are {torch.cuda.device_count()}")
    torch.cuda.set_rng_state_all(states)


@contextmanager
def isolated_rng() -> Generator[None]:
    """Afterwards the generators are where they were."""
    states = RngStates()
    try:
        yield
    finally:
        states.restore()
