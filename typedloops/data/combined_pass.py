"""One pass through several loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic

from typing_extensions import TypeVar

from typedloops._core.shapes import is_mapping
from typedloops.data.children import Child
from typedloops.errors import StateError

B_co = TypeVar("B_co", covariant=True)


class CombinedPass(Generic[B_co]):
    """One pass through several loaders, each of which is saved and begun again by itself.

    Args:
        mode: How they are gone through.
        children: The loaders.
        rounds: Makes the batches.
        resumed: What `state_dict` gave, or None.

    Raises:
        StateError: That is of other loaders, or of another mode.
    """

    def __init__(
        self,
        mode: str,
        children: Sequence[Child],
        rounds: Callable[[Sequence[Child]], Iterator[B_co]],
        resumed: Mapping[str, object] | None,
    ) -> None:
        self._mode = mode
        self._children = children
        self._rounds = rounds
        self._ended = False
        self._saved: Mapping[str, object] | None = None
        if resumed is not None:
            self._saved = self._checked(resumed)

    def __iter__(self) -> Iterator[B_co]:
        """Begin it.

        Raises:
            LoaderError: One of the loaders cannot be begun again where it was.
            StateError: One of them is not like the one that was saved.
        """
        if self._saved is not None:
            for child in self._children:
                child.load_state_dict(self._saved[child.name])
        return iter(()) if self._ended else self._until_the_end()

    def _until_the_end(self) -> Iterator[B_co]:
        yield from self._rounds(self._children)
        self._ended = True

    def state_dict(self, taken: int) -> dict[str, object]:
        """Where each of the loaders is now.

        Args:
            taken: How many batches were taken; each loader counts those of its own.
        """
        loaders = {child.name: child.state_dict() for child in self._children}
        return {"mode": self._mode, "ended": self._ended, "loaders": loaders}

    def _checked(self, resumed: Mapping[str, object]) -> Mapping[str, object]:
        mode, loaders = resumed.get("mode"), resumed.get("loaders")
        names = [child.name for child in self._children]
        if mode != self._mode:
            problem = f"its mode is {self._mode!r}, and was {mode!r} when its position was saved"
        elif not is_mapping(loaders) or list(loaders) != names:
            saved = ", ".join(loaders) if is_mapping(loaders) else "nothing"
            problem = f"it is made of {', '.join(names)}, and its saved position is of {saved}"
        else:
            self._ended = bool(resumed.get("ended"))
            return loaders
        raise StateError("CombinedLoader", problem, "Resume with a loader that is made as the one that was saved.")
