"""A picture of a tree of loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typedloops.loops.base.run_progress import RunProgress

if TYPE_CHECKING:
    from rich.tree import Tree


@dataclass(frozen=True)
class LoopTree:
    """A loop and the loops below it, by name and class, and how far each has come.

    `str()` draws it in plain text; rich draws it by itself when asked to print it.
    """

    name: str
    kind: str
    children: tuple[LoopTree, ...] = ()
    progress: RunProgress | None = None
    """None before the first run, and for a loop that has nothing to tell."""

    @property
    def label(self) -> str:
        label = self.kind if self.name == self.kind else f"{self.name}: {self.kind}"
        return label if self.progress is None else f"{label}  {self.progress}"

    def __str__(self) -> str:
        return "\n".join([self.label, *self._branches("")])

    def _branches(self, indent: str) -> Iterator[str]:
        for child in self.children:
            last = child is self.children[-1]
            yield f"{indent}{'└─' if last else '├─'} {child.label}"
            yield from child._branches(f"{indent}{'   ' if last else '│  '}")

    def __rich__(self) -> Tree:
        from rich.tree import Tree

        tree = Tree(self.label)
        for child in self.children:
            tree.add(child.__rich__())
        return tree
