"""What was found."""

from __future__ import annotations

from dataclasses import dataclass

from typedloops.errors import ResumeError
from typedloops.verification.places import Place


@dataclass(frozen=True)
class ResumeDifference:
    """The first thing that is not as in the uninterrupted run.

    Args:
        place: Where the run was saved and left; None when nothing was: two uninterrupted runs differ.
        path: What differs: `module: net.0.weight`, `optimizers: 0/state/3/exp_avg`, `attributes: Net.count`,
            `batch: train batch 7`, `logged: val_loss`, `hooks: ...`.
        expected: What it is in the uninterrupted run.
        found: What it is in the run that went on.
        hint: What probably causes it, and what to do.
        seen: Where it shows first outside: the batch, the hook, the logged value; empty when that is `path`.
    """

    place: Place | None
    path: str
    expected: str
    found: str
    hint: str
    seen: str = ""

    def __str__(self) -> str:
        again = "resumed:      " if self.place is not None else "once more:    "
        lines = [self.path, f"    uninterrupted: {self.expected}", f"    {again} {self.found}"]
        if self.seen:
            lines.append(f"    seen first in: {self.seen}")
        return "\n".join([*lines, f"    {self.hint}"])


@dataclass(frozen=True)
class ResumeReport:
    """How a run goes on from where it was saved; true when it is exact everywhere.

    Args:
        boundaries: How many boundaries the uninterrupted run has.
        places: Where it was saved, left and resumed.
        differences: The first difference for each place that has one.
    """

    boundaries: int
    places: tuple[Place, ...]
    differences: tuple[ResumeDifference, ...] = ()

    def __bool__(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        by_place = {difference.place: difference for difference in self.differences}
        heading = self._heading(by_place.get(None))
        widths = [max(map(len, column)) for column in zip(*(self._cells(place) for place in self.places), strict=True)]
        lines = [heading]
        for place in self.places:
            cells = "  ".join(cell.ljust(width) for cell, width in zip(self._cells(place), widths, strict=True))
            lines.append(f"  {cells}  {by_place.get(place, 'exact')}".replace("\n", "\n  "))
        return "\n".join(lines)

    def check(self) -> None:
        """Raise unless it is exact.

        Raises:
            ResumeError: It is not; its text is that of this report.
        """
        if self.differences:
            raise ResumeError("verify_resume", str(self), self.differences[0].hint)

    def _heading(self, uninterrupted: ResumeDifference | None) -> str:
        if uninterrupted is not None:
            return f"Two uninterrupted runs are not the same:\n  {uninterrupted}".replace("\n", "\n  ")
        exact = len(self.places) - len(self.differences)
        return f"Resuming is exact at {exact} of {len(self.places)} places; the run has {self.boundaries} boundaries."

    def _cells(self, place: Place) -> tuple[str, str]:
        return f"boundary {place.index}", str(place)
