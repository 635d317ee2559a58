"""Few cells of a grid in which all is met with all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from math import comb

Cell = tuple[object, ...]
Part = tuple[tuple[int, object], ...]
"""Some axes, and a value on each."""


def parts(cell: Cell, strength: int) -> Iterator[Part]:
    """What a cell has of `strength` axes at a time."""
    return combinations(enumerate(cell), strength)


def cover(axes: Sequence[Sequence[object]], makes_sense: Callable[[Cell], bool], strength: int = 3) -> list[Cell]:
    """Cells in which each feasible combination of values on `strength` axes is met at least once.

    Greedy, and the same at every call: for each combination on the longest axes in turn the cell
    that has most of what was not met yet.
    """
    chosen: list[Cell] = []
    met: set[Part] = set()
    most = comb(len(axes), strength)
    by_size = sorted(
        combinations(range(len(axes)), strength), key=lambda places: [-len(axes[place]) for place in places]
    )
    for places in by_size:
        others = [place for place in range(len(axes)) if place not in places]
        for values in product(*(axes[place] for place in places)):
            wanted = tuple(zip(places, values, strict=True))
            if wanted in met:
                continue
            best: tuple[int, Cell, list[Part]] | None = None
            for rest in product(*(axes[place] for place in others)):
                at = dict([*wanted, *zip(others, rest, strict=True)])
                cell = tuple(at[place] for place in range(len(axes)))
                if makes_sense(cell):
                    new = [part for part in parts(cell, strength) if part not in met]
                    if best is None or len(new) > best[0]:
                        best = len(new), cell, new
                    if len(new) == most:
                        break
            if best is not None:
                chosen.append(best[1])
                met.update(best[2])
    return chosen
