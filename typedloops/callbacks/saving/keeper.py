"""The checkpoints of one callback in their folder: what they are called, and what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.callbacks.saving.folder import delete, holds_any, link, names_in
from typedloops.callbacks.saving.naming import Template, free_name
from typedloops.callbacks.saving.retention import Kept, Retention
from typedloops.callbacks.saving.settings import SIGNALS, SaveLast
from typedloops.protocols.trainer import TrainerView

LAST: Final = "last"
ON_EXCEPTION: Final = "on_exception"
RESERVED: Final = frozenset({LAST, ON_EXCEPTION, *(f"on_{name.lower()}" for name in SIGNALS)})


class Keeper:
    """Names checkpoints, and removes those that are replaced.

    Others may save in the same folder, and it may have been there before.  Names that someone else has are
    left to them.  What is on the disk says nothing of that once the run has begun: in one that goes on
    it may be what is about to be written again.

    Args:
        folder: Where the checkpoints are.
        template: Their names.
        retention: Says which are kept.
        save_last: Whether there is a `last`, and of what kind.
    """

    def __init__(self, folder: Path, template: Template, retention: Retention, save_last: SaveLast) -> None:
        self.folder = folder
        self.retention = retention
        self._template = template
        self._links = save_last == "link"
        self._foreign: tuple[str, ...] = ()
        self._linked = 0
        self.last_name: str | None = None
        """What `last` is called, once there is one."""

    @property
    def best(self) -> Path | None:
        best = self.retention.best
        return None if best is None else self.folder / best.name

    @property
    def newest(self) -> Path | None:
        """`last`, or without one the newest that is kept."""
        newest = self.retention.newest
        name = self.last_name or (None if newest is None else newest.name)
        return None if name is None else self.folder / name

    @property
    def claims(self) -> set[str]:
        """The names that are in use here."""
        names = self.retention.names
        return names if self.last_name is None else names | {self.last_name}

    def begin(self) -> None:
        """Begin anew: what is in the folder now is someone else's."""
        self.retention.forget()
        self._foreign = tuple(name for name in names_in(self.folder) if self._could_give(name))
        self.last_name, self._linked = None, 0

    def recover(self, trainer: TrainerView, others: Iterable[Keeper]) -> None:
        """Make the folder what the loaded state says, as far as that was left undone."""
        unwanted = self.retention.recover(lambda name: holds_any(self.folder / name))
        newest = self.retention.newest
        if self._links and newest is not None:
            self._link(trainer, newest)
        elif not self._links and self.last_name is not None and (last := self.folder / self.last_name).is_symlink():
            last.unlink()  # before this setting was changed it was a link
        self._remove(trainer, others, unwanted)

    def admit(self, trainer: TrainerView, others: Iterable[Keeper], score: float | None) -> Kept | None:
        """Take in the checkpoint that could be saved now, if it is to be kept.

        Raises:
            ConfigurationError: Its name needs a metric that is not there.
        """

        def named(replaced: Collection[str]) -> str:
            metrics: Mapping[str, float] = trainer.metrics if self._template.needs_metrics else {}
            name = self._template.fill(trainer.current_epoch, trainer.global_step, metrics)
            return self._free(name, (self.claims | RESERVED).difference(replaced), others)

        admitted = self.retention.admit(score, named)
        if admitted is not None and self._links:
            self.name_last(others)
        return admitted

    def name_last(self, others: Iterable[Keeper]) -> str:
        """What `last` is called, from now on."""
        if self.last_name is None:
            self.last_name = self.reserved(LAST, others)
        return self.last_name

    def reserved(self, name: str, others: Iterable[Keeper]) -> str:
        """One of the names that no template gives, unless someone else has it."""
        return self._free(name, self.retention.names, others)

    def written(self, trainer: TrainerView, others: Iterable[Keeper], admitted: Kept) -> None:
        """A checkpoint is on the disk: what it replaces may go."""
        if self._links and admitted.request > self._linked:
            self._link(trainer, admitted)
        self._remove(trainer, others, self.retention.written(admitted.request))

    def state_dict(self) -> dict[str, object]:
        return {
            "last_name": self.last_name,
            "foreign": list(self._foreign),
            "retention": self.retention.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take back a state; ValueError for what is none."""
        foreign, last_name, retention = state["foreign"], state["last_name"], state["retention"]
        if not is_list_or_tuple(foreign) or not isinstance(last_name, str | None) or not is_mapping(retention):
            raise ValueError(f"{state!r} is not what is kept")
        self.retention.load_state_dict(retention)
        self._foreign, self.last_name, self._linked = tuple(map(str, foreign)), last_name, 0

    def _could_give(self, name: str) -> bool:
        return self._template.could_give(name) or any(name.startswith(reserved) for reserved in RESERVED)

    def _free(self, name: str, taken: Collection[str], others: Iterable[Keeper]) -> str:
        everything = set(taken).union(self._foreign, *(other.claims for other in others))
        return free_name(name, everything.__contains__)

    def _link(self, trainer: TrainerView, newest: Kept) -> None:
        last = self.folder / (self.last_name or LAST)
        if last.is_dir() and not last.is_symlink():
            delete(last, trainer)  # before this setting was changed it was a checkpoint of its own
        link(last, self.folder / newest.name)
        self._linked = newest.request

    def _remove(self, trainer: TrainerView, others: Iterable[Keeper], names: Collection[str]) -> None:
        wanted = self.claims.union(*(other.claims for other in others))
        for name in names:
            if name not in wanted:
                delete(self.folder / name, trainer)
