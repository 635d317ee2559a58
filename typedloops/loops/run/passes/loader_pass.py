"""One pass through a loader, which can be begun again in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, cast

from typing_extensions import TypeVar

from typedloops.errors import InternalError
from typedloops.loops.run.computing.seeding import seed_workers_of
from typedloops.loops.run.loaders import check_source, length_of
from typedloops.loops.run.passes.again import Once, ReadAgain
from typedloops.loops.run.passes.by_indices import ByIndices
from typedloops.loops.run.passes.by_place import ByPlace
from typedloops.loops.run.passes.of_loaders import ByAskingIt
from typedloops.loops.run.passes.own_state import ByItself, is_stateful_loader
from typedloops.loops.run.passes.resumable import is_resumable
from typedloops.loops.run.passes.saved import Saved
from typedloops.loops.run.passes.watched import Watched
from typedloops.loops.run.passes.way import Way

B = TypeVar("B")


class LoaderPass(Generic[B]):
    """One pass through a loader, whose position can be saved, and which can be begun again there.

    | loader                                  | is begun again                                               |
    |-----------------------------------------|--------------------------------------------------------------|
    | a list, tuple or range                  | at its place                                                 |
    | `DataLoader` over a dataset by indices  | without the first indices; nothing is fetched for them       |
    | with `state_dict`, `load_state_dict`    | by itself                                                    |
    | `CombinedLoader`                        | as each of its loaders                                       |
    | any other iterable                      | from the beginning; the first batches are let go (a warning) |
    | an iterator                             | not at all (an error)                                        |

    A pass that is begun again draws from the generators of torch, Python and NumPy to find its place: whoever
    resumes a run restores them afterwards.  Then it gives what it would have given.

    Args:
        where: What to call the loader in an error.
        loader: What to go through.
        resumed: The `state_dict` of a pass through a loader made in the same way, or None.
        exact: Whether to refuse what may not give the batches that the pass would have given.
        tells_end: Whether whoever goes through it calls `end` there.

    Raises:
        LoaderError: It gives no batches, or cannot be begun again (exactly).
        StateError: What was saved is no position in such a loader.
    """

    def __init__(
        self,
        where: str,
        loader: Iterable[B],
        *,
        resumed: Mapping[str, object] | None = None,
        exact: bool = False,
        tells_end: bool = False,
    ) -> None:
        check_source(where, loader)
        self._where = where
        self._loader = loader
        self._way = way_of(where, loader, exact)
        self._tells_end = tells_end
        self._begun = False
        self._ended = False
        self._watched: Watched[B] | None = None
        self._saved: Saved | None = None
        if resumed is not None:
            self._saved = Saved.read(where, resumed)
            if exact or not self._saved.ended:  # of one that is over, nothing depends on how long the next ones are
                self._saved.check(self._way.kind, length_of(loader))

    def __iter__(self) -> Iterator[B]:
        """Begin the pass, at its beginning or where `resumed` says.

        Raises:
            LoaderError: The resumed pass may not be exact, and is to be.
            StateError: The loader does not fit what was saved.
        """
        seed_workers_of(self._loader)
        way, saved = self._way, self._saved
        self._begun = True
        if saved is not None and saved.ended:
            way.conclude(saved)
            return iter(())
        batches = cast("Iterator[B]", way.begin() if saved is None else way.resume(saved))
        if self._tells_end or not way.watched:
            return batches
        self._watched = Watched(batches, 0 if saved is None else saved.taken)
        return self._watched

    def end(self) -> None:
        """Say that the end of the loader has been seen."""
        self._ended = True

    @property
    def goes_back(self) -> bool:
        """Whether its position before the last batch that it gave can be told."""
        return self._way.goes_back

    def state_dict(self, taken: int) -> dict[str, object]:
        """Where the pass is.

        Args:
            taken: How many batches its iterator has given, counted from the beginning of the pass,
                also where that was in another process; one that was asked for to see whether it is
                the last has been given.

        Returns:
            None, booleans, numbers, strings, bytes, tensors, and lists, tuples and dicts of them.
        """
        if not self._begun:
            raise InternalError(f"{self._where}: a pass that was not begun has no position")
        if self._saved is not None and self._saved.ended:
            return self._saved.state_dict()
        ended = self._ended or self._way.has_ended(taken)
        if self._watched is not None:
            self._check_taken(taken, self._watched.given)
            ended = ended or self._watched.ended
        position = self._way.position(taken, ended)
        return Saved(self._where, self._way.kind, length_of(self._loader), taken, ended, position).state_dict()

    def _check_taken(self, taken: int, given: int) -> None:
        if taken != given:
            raise InternalError(f"{self._where}: {given} batches were given, and {taken} are said to be taken")


def way_of(where: str, loader: Iterable[object], exact: bool) -> Way:
    """How a pass through a loader is saved and begun again."""
    if ByPlace.fits(loader):
        return ByPlace(where, loader, exact)
    if is_resumable(loader):
        return ByAskingIt(where, loader, exact)
    if is_stateful_loader(loader):
        return ByItself(where, loader, exact)
    if ByIndices.fits(loader):
        return ByIndices(where, loader, exact)
    if isinstance(loader, Iterator):
        return Once(where, loader, exact)
    return ReadAgain(where, loader, exact)
