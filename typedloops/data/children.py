"""Several loaders gone through at a time: what each mode of a `CombinedLoader` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TypeAlias

from typedloops._core.batch_errors import none_batch
from typedloops._core.shapes import is_mapping
from typedloops.errors import LoaderError, StateError
from typedloops.loops.run.loaders import check_end, check_ran, length_of
from typedloops.loops.run.passes import LoaderPass


class End(Enum):
    """In the place of a batch: there is none any more."""

    END = 0


END = End.END

Round: TypeAlias = "list[object]"
"""A batch of each child, in their order."""


class Child:
    """One of several loaders as it is gone through, once or again and again.

    Args:
        name: What to call it in an error.
        loader: Where its batches come from; iterated when the first is taken.
        under_way: Of all children that are being gone through, the name by the identity of the iterator.
        exact: Whether to refuse to go on where batches may not be those that there would have been.
    """

    def __init__(self, name: str, loader: Iterable[object], under_way: dict[int, str], exact: bool = False) -> None:
        self.name = name
        self.loader = loader
        self.finished: bool = False
        self._under_way = under_way
        self._exact = exact
        self._pass: LoaderPass[object] | None = None
        self._batches: Iterator[object] | None = None
        self._taken = 0

    def take(self) -> object:
        """The next batch, or `END`; after an end the loader is iterated anew.

        Raises:
            LoaderError: It has none at all, or one that is None, or another child goes through it.
        """
        if self._batches is None:
            self._taken, self._batches = 0, self._begin(None)
        try:
            batch = next(self._batches)
        except StopIteration as stop:
            check_end(stop)
            self._end(self._batches)
            check_ran(self.name, self.loader, batches=self._taken, length=length_of(self.loader), exhausted=True)
            return END
        if batch is None:
            raise none_batch(self.name, self._taken)
        self._taken += 1
        return batch

    def _begin(self, resumed: Mapping[str, object] | None) -> Iterator[object]:
        self._pass = LoaderPass(self.name, self.loader, resumed=resumed, exact=self._exact, tells_end=True)
        batches = iter(self._pass)
        other = self._under_way.setdefault(id(batches), self.name)
        if other != self.name:
            raise LoaderError(
                self.name,
                f"it goes on where {other} is: a {type(self.loader).__name__} like this has one iterator at a time",
                "Give another one; an iterator, or a DataLoader with persistent_workers=True, cannot be shared.",
            )
        return batches

    def _end(self, batches: Iterator[object]) -> None:
        del self._under_way[id(batches)]
        if self._pass is not None:
            self._pass.end()
        self._batches, self.finished = None, True

    def take_round(self) -> object:
        """The next batch, if need be the first one again."""
        batch = self.take()
        return self.take() if batch is END else batch

    def state_dict(self) -> dict[str, object]:
        """Which of its passes it is in, and where."""
        return {
            "finished": self.finished,
            "under way": self._batches is not None,
            "taken": self._taken,
            "pass": None if self._pass is None else self._pass.state_dict(self._taken),
        }

    def load_state_dict(self, state: object) -> None:
        """Be there again.

        Raises:
            LoaderError: Its loader cannot be begun again there.
            StateError: It is no state of such a loader.
        """
        taken = state.get("taken") if is_mapping(state) else None
        if not is_mapping(state) or not isinstance(taken, int):
            raise StateError(self.name, "it has no saved position", "Give what `state_dict` gave.")
        self.finished, self._taken = bool(state.get("finished")), taken
        saved = state.get("pass")
        batches = self._begin(saved) if is_mapping(saved) else None
        if state.get("under way"):
            self._batches = batches
        elif batches is not None:
            del self._under_way[id(batches)]


def children_of(loaders: Mapping[str, Iterable[object]], *, exact: bool = False) -> list[Child]:
    """Loaders, by what they are called in an error, about to be gone through."""
    under_way: dict[int, str] = {}
    return [Child(name, loader, under_way, exact) for name, loader in loaders.items()]


def until_the_shortest_ends(children: Sequence[Child]) -> Iterator[Round]:
    while True:
        batches: Round = []
        for child in children:
            batch = child.take()
            if batch is END:
                return
            batches.append(batch)
        yield batches


def until_the_longest_ends_round_and_round(children: Sequence[Child]) -> Iterator[Round]:
    while True:
        # Those that have not ended are asked first, so that nothing is fetched when the last of them ends.
        first = {child: child.take() for child in children if not child.finished}
        if all(batch is END for batch in first.values()):
            return
        yield [child.take_round() if (batch := first.get(child, END)) is END else batch for child in children]


def until_the_longest_ends(children: Sequence[Child]) -> Iterator[Round]:
    while True:
        batches = [END if child.finished else child.take() for child in children]
        if all(batch is END for batch in batches):
            return
        yield [None if batch is END else batch for batch in batches]


ROUNDS: dict[str, Callable[[Sequence[Child]], Iterator[Round]]] = {
    "min_size": until_the_shortest_ends,
    "max_size_cycle": until_the_longest_ends_round_and_round,
    "max_size": until_the_longest_ends,
}
"""How children are gone through at the same time, by mode."""


def one_after_another(children: Sequence[Child]) -> Iterator[tuple[int, object]]:
    """Each batch with the index of its child."""
    for index, child in enumerate(children):
        while not child.finished and (batch := child.take()) is not END:
            yield index, batch
