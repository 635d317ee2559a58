"""Loaders that know how to begin a pass in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from typedloops.errors import InternalError
from typedloops.loops.run.passes.resumable import ResumableLoader, ResumablePass
from typedloops.loops.run.passes.saved import Saved
from typedloops.loops.run.passes.way import Way


class ByAskingIt(Way):
    """A pass that the loader itself makes: a combination of several loaders."""

    kind: ClassVar[str] = "a loader made of loaders"

    def __init__(self, where: str, loader: ResumableLoader[object], exact: bool) -> None:
        super().__init__(where, exact)
        self._loader = loader
        self._pass: ResumablePass[object] | None = None

    @property
    def goes_back(self) -> bool:
        return False

    def begin(self) -> Iterator[object]:
        self._pass = self._loader.begin_pass(None, exact=self.exact)
        return iter(self._pass)

    def resume(self, saved: Saved) -> Iterator[object]:
        self._pass = self._loader.begin_pass(saved.mapping("pass"), exact=self.exact)
        return iter(self._pass)

    def position(self, taken: int, ended: bool) -> dict[str, object]:
        if self._pass is None:
            raise InternalError(f"{self.where}: a pass that was not begun has no position")
        return {"pass": self._pass.state_dict(taken)}

    def conclude(self, saved: Saved) -> None:
        # What its loaders were left with at the end is restored by the pass.
        self.resume(saved)
