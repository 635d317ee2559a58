"""Which checkpoints are kept: decided when one is asked for, whatever the disk does."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import Self

from typedloops._core.shapes import is_list_or_tuple

Mode: TypeAlias = Literal["min", "max"]

REMEMBERED = 8
"""So many requests later it is forgotten what one has replaced, if it is on the disk by then.

Fewer would be enough where each is written before the next; more may be under way at once, and
what is remembered is not to depend on how fast they are written.
"""


@dataclass(frozen=True)
class Kept:
    """A checkpoint.

    Args:
        name: What it is called within its folder.
        score: The monitored value; None when nothing is monitored.
        request: The how-manieth of its run it is, from 1.
    """

    name: str
    score: float | None
    request: int

    def to_state(self) -> list[object]:
        return [self.name, self.score, self.request]

    @classmethod
    def from_state(cls, state: object) -> Self:
        """What `to_state` gave; ValueError for anything else."""
        if not is_list_or_tuple(state) or len(state) != 3:
            raise ValueError(f"{state!r} is no checkpoint")
        name, score, request = state
        if not isinstance(name, str) or not isinstance(score, int | float | None) or not isinstance(request, int):
            raise ValueError(f"{state!r} is no checkpoint")
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise ValueError(f"{name!r} is not within the folder")
        return cls(name, None if score is None else float(score), request)


@dataclass(frozen=True)
class Replaced:
    """A checkpoint that is to be removed as soon as another one is on the disk.

    Args:
        kept: It.
        after: The request of the other one.
    """

    kept: Kept
    after: int


class Retention:
    """The checkpoints that a run keeps, and what is to be removed.

    Args:
        top_k: How many of the best are kept; -1 is all.
        mode: Whether the smallest or the largest score is the best.  Without scores the newest is.
        newest_stays: Whether the newest is kept in any case.
    """

    def __init__(self, top_k: int, mode: Mode, *, newest_stays: bool = False) -> None:
        self._top_k = top_k
        self._mode: Mode = mode
        self._newest_stays = newest_stays
        self._written: set[int] = set()
        self.requests: int = 0
        """How many checkpoints the run has asked for."""
        self.kept: tuple[Kept, ...] = ()
        """Oldest first."""
        self.replaced: tuple[Replaced, ...] = ()
        self._absent: tuple[Kept, ...] = ()

    @property
    def names(self) -> set[str]:
        """The names of those that are kept, and of those that are until their turn to go comes again."""
        return {kept.name for kept in (*self.kept, *self._absent)}

    @property
    def best(self) -> Kept | None:
        return min(self.kept, key=self._rank, default=None) if self._top_k else None

    @property
    def newest(self) -> Kept | None:
        return self.kept[-1] if self.kept else None

    def forget(self) -> None:
        """A run begins anew."""
        self.requests = 0
        self.kept, self.replaced, self._absent = (), (), ()
        self._written = set()

    def admit(self, score: float | None, name_it: Callable[[Collection[str]], str]) -> Kept | None:
        """Take in the checkpoint that could be saved now, if it is among those to keep.

        Args:
            score: The monitored value.
            name_it: Gives its name, which may be one of those it is given: they are replaced.

        Returns:
            What is to be saved, or None.
        """
        candidate = Kept("", score, self.requests + 1)
        stay = self._best_of((*self.kept, candidate))
        if candidate not in stay and not self._newest_stays:
            return None
        leaving = [kept for kept in self.kept if kept not in stay]
        still_absent = [kept for kept in self._absent if kept in self._best_of((*self.kept, *self._absent, candidate))]
        gone = [kept for kept in (*leaving, *self._absent) if kept not in still_absent]
        admitted = Kept(name_it([kept.name for kept in gone]), score, candidate.request)
        self.requests = admitted.request
        self.kept = (*(kept for kept in self.kept if kept not in leaving), admitted)
        self._absent = tuple(still_absent)
        self._replace(leaving, admitted)
        return admitted

    def written(self, request: int) -> list[str]:
        """The names to remove, now that the checkpoint of a request is on the disk."""
        self._written.add(request)
        return [replaced.kept.name for replaced in self.replaced if replaced.after == request]

    def recover(self, is_there: Callable[[str], bool]) -> list[str]:
        """See what is on the disk, in a run that goes on from a saved state.

        What is no longer there is not kept, but what it was to replace, if that is still there.  Its
        name stays taken until it would have been replaced: if the run does again what it had done after this
        state, each checkpoint has the name that it had.

        Returns:
            The names that are to be removed: what they were replaced by is on the disk.
        """
        lost = {kept.request for kept in self.kept if not is_there(kept.name)}
        returning: list[Kept] = []
        done_with: list[Replaced] = []
        for replaced in sorted(self.replaced, key=lambda replaced: -replaced.after):
            if replaced.after in lost:
                done_with.append(replaced)
                if is_there(replaced.kept.name):
                    returning.append(replaced.kept)
                else:
                    lost.add(replaced.kept.request)
        present = (*(kept for kept in self.kept if kept.request not in lost), *returning)
        self._absent = tuple(kept for kept in self.kept if kept.request in lost)
        self.kept = tuple(sorted(present, key=lambda kept: kept.request))
        self.replaced = tuple(replaced for replaced in self.replaced if replaced not in done_with)
        self._written.update(replaced.after for replaced in self.replaced)
        return [replaced.kept.name for replaced in self.replaced]

    def state_dict(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "kept": [kept.to_state() for kept in sorted((*self.kept, *self._absent), key=lambda kept: kept.request)],
            "replaced": [[replaced.kept.to_state(), replaced.after] for replaced in self.replaced],
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take back a state; ValueError, and nothing changed, for what is none."""
        requests, kept, replaced = state["requests"], state["kept"], state["replaced"]
        if not isinstance(requests, int) or not is_list_or_tuple(kept) or not is_list_or_tuple(replaced):
            raise ValueError(f"{state!r} is not what is kept")
        loaded = tuple(map(Kept.from_state, kept)), tuple(map(_replaced_from, replaced))
        self.requests = requests
        self.kept, self.replaced = loaded
        self._absent = ()
        self._written = set()

    def _best_of(self, checkpoints: Iterable[Kept]) -> list[Kept]:
        ranked = sorted(checkpoints, key=self._rank)
        return ranked if self._top_k == -1 else ranked[: self._top_k]

    def _rank(self, kept: Kept) -> tuple[bool, float, int]:
        """Smaller is better; of equal scores the older is."""
        if kept.score is None:
            return False, 0.0, -kept.request
        score = kept.score if self._mode == "min" else -kept.score
        return math.isnan(score), 0.0 if math.isnan(score) else score, kept.request

    def _replace(self, leaving: Collection[Kept], admitted: Kept) -> None:
        self.replaced = tuple(self._remembered(admitted)) + tuple(
            Replaced(kept, admitted.request) for kept in leaving if kept.name != admitted.name
        )
        self._written = {request for request in self._written if request > self.requests - REMEMBERED}

    def _remembered(self, admitted: Kept) -> Iterator[Replaced]:
        for replaced in self.replaced:
            recent = replaced.after > self.requests - REMEMBERED or replaced.after not in self._written
            if recent and replaced.kept.name != admitted.name:
                yield replaced


def _replaced_from(state: object) -> Replaced:
    if not is_list_or_tuple(state) or len(state) != 2 or not isinstance(after := state[1], int):
        raise ValueError(f"{state!r} is not what is to be removed")
    return Replaced(Kept.from_state(state[0]), after)
