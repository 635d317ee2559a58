"""Pictures of trees of loops, and of what goes into each loop and comes out of it: drawn from the code.

They are made when the site is built and kept nowhere, so that none is older than the code.  Their colours are those of
the page, light or dark, and the name of a loop is a link into the reference.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

from typedloops import FitLoop, PredictionLoop, TestLoop, ValidationLoop
from typedloops._core.calls import AnyCallable
from typedloops.loops.base import LoopTree
from typedloops.loops.base.node import LoopNode
from typedloops.protocols.loop import AnyLoop

LINE, GAP, STEP, MARGIN, PADDING, LETTER, SMALL = 17, 16, 34, 10, 13, 8.0, 6.7
"""Pixels: height of a line of text, space between boxes, indent of a child, space around it all and within a box,
width of a letter in either size."""


@dataclass(frozen=True)
class Row:
    """A loop in a picture: how deep it is, its slot, its class, the row of its parent, what else is said of it."""

    depth: int
    slot: str
    kind: str
    parent: int | None
    notes: tuple[str, ...] = ()

    @property
    def x(self) -> int:
        return MARGIN + self.depth * STEP

    @property
    def width(self) -> int:
        letters = max(len(self.kind) * LETTER, *(len(line) * SMALL for line in (self.slot, *self.notes)))
        return round(letters) + 2 * PADDING

    @property
    def height(self) -> int:
        return LINE * (1 + bool(self.slot) + len(self.notes)) + 9


def rows_of(tree: LoopTree, depth: int = 0, parent: int | None = None, at: int = 0) -> list[Row]:
    rows = [Row(depth, "" if tree.name == tree.kind else tree.name, tree.kind, parent)]
    for child in tree.children:
        rows += rows_of(child, depth + 1, at, at + len(rows))
    return rows


def flow_rows(name: str, loop: LoopNode) -> list[Row]:
    """The tree with what the `run` of each loop takes and returns."""
    kinds = [child for _, child in loop.walk()]
    rows = rows_of(LoopTree(name, type(loop).__name__, loop.tree().children))
    return [
        Row(row.depth, row.slot, row.kind, row.parent, (f"↓ {taken_by(kind)}", f"↑ {returned_by(kind)}"))
        for row, kind in zip(rows, kinds, strict=True)
    ]


def _parameters(function: AnyCallable) -> list[inspect.Parameter]:
    return [found for found in inspect.signature(function).parameters.values() if found.name != "self"]


def taken_by(loop: AnyLoop) -> str:
    """The inputs of a run, as the first method that names them has them."""
    for method in ("advance", "on_run_start", "run"):
        found = _parameters(getattr(type(loop), method))
        if found and all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in found):
            return ", ".join(f"{parameter.name}: {parameter.annotation}" for parameter in found)
    raise LookupError(f"{type(loop).__name__} names its inputs nowhere")


def returned_by(loop: AnyLoop) -> str:
    """The output of a run, as `on_run_end` has it or, where a base leaves it open there, `run`."""
    end = str(inspect.signature(type(loop).on_run_end).return_annotation)  # type: ignore[attr-defined]
    return end if end != "R" else str(inspect.signature(type(loop).run).return_annotation)


def drawn(rows: list[Row], link: Callable[[str], str | None], label: str) -> str:
    """The picture as SVG.

    Args:
        rows: The loops, parents first.
        link: Where the name of a class leads to, if anywhere.
        label: What is to be seen, for those who cannot see it.
    """
    tops = list(accumulate((row.height + GAP for row in rows), initial=MARGIN))
    width, height = max(row.x + row.width for row in rows) + MARGIN, tops[-1] - GAP + MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"'
    parts = [f'<svg class="loops" role="img" aria-label="{escape(label)}" {size}><title>{escape(label)}</title>']
    for row, top in zip(rows, tops, strict=False):
        if row.parent is not None:
            parent = rows[row.parent]
            bottom, turn = tops[row.parent] + parent.height, top + min(row.height // 2, 21)
            parts.append(f'<path class="edge" d="M{parent.x + 16} {bottom}V{turn - 8}q0 8 8 8H{row.x}" fill="none"/>')
    for row, top in zip(rows, tops, strict=False):
        parts += _box(row, top, link)
    return "\n".join([*parts, "</svg>"])


def _box(row: Row, top: int, link: Callable[[str], str | None]) -> Iterator[str]:
    yield f'<rect class="loop" x="{row.x}" y="{top}" width="{row.width}" height="{row.height}" rx="7"/>'
    lines = [*([("slot", row.slot)] if row.slot else []), ("kind", row.kind), *(("note", note) for note in row.notes)]
    for position, (name, text) in enumerate(lines):
        x, y, target = row.x + PADDING, top + LINE * (position + 1), link(text) if name == "kind" else None
        line = f'<text class="{name}" x="{x}" y="{y}">{escape(text)}</text>'
        yield f'<a href="{escape(target)}">{line}</a>' if target else line


DEFAULT_TREES: Mapping[str, tuple[str, Callable[[], LoopNode]]] = {
    "fit_tree": ("fit_loop", FitLoop),
    "validate_tree": ("validate_loop", ValidationLoop),
    "test_tree": ("test_loop", TestLoop),
    "predict_tree": ("predict_loop", PredictionLoop),
}
FLOWS = {name.replace("tree", "flow"): made for name, made in DEFAULT_TREES.items()}


LINE_OF_TREE = re.compile(r"^(?P<indent>[│ ]*)[├└]─ (?:(?P<name>[\w.]+): )?(?P<kind>\w+|\.\.\.)")


def picture(name: str, link: Callable[[str], str | None]) -> str:
    """A picture by its name."""
    slot, make = {**DEFAULT_TREES, **FLOWS}[name]
    if name in FLOWS:
        return drawn(flow_rows(slot, make()), link, f"What a run of each loop of {slot} takes and returns")
    loop = make()
    tree = LoopTree(slot, type(loop).__name__, loop.tree().children)
    return drawn(rows_of(tree), link, f"The tree of loops of {slot}")


def redrawn(lines: Sequence[str], link: Callable[[str], str | None]) -> str:
    """The picture of a tree that stands on a page as `tree()` prints it; a test holds such text to the loops."""
    slot, _, kind = lines[0].partition(": ")
    rows, last = [Row(0, slot if kind else "", (kind or slot).split()[0], None)], {-1: 0}
    for line in lines[1:]:
        if found := LINE_OF_TREE.match(line):
            depth = len(found["indent"]) // 3
            last[depth] = len(rows)
            rows.append(Row(depth + 1, found["name"] or "", found["kind"], last[depth - 1]))
    return drawn(rows, link, f"The tree of loops of {rows[0].kind}")
