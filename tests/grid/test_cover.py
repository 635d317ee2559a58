"""That few cells meet all with all."""

from __future__ import annotations

from itertools import product

import pytest

from tests.grid.cover import Cell, Part, cover, parts


def feasible(axes: list[range], strength: int) -> set[Part]:
    return {part for cell in product(*axes) if makes_sense(cell) for part in parts(cell, strength)}


def makes_sense(cell: Cell) -> bool:
    """A 2 goes with no 0 but on the last axis."""
    return 2 not in cell or 0 not in cell[:-1]


@pytest.mark.parametrize("strength", [2, 3])
@pytest.mark.parametrize("sizes", [(3, 3, 3), (4, 3, 3, 2), (5, 2, 4, 2, 3)])
def test_all_that_can_meet_does(sizes: tuple[int, ...], strength: int) -> None:
    axes = [range(size) for size in sizes]
    cells = cover(axes, makes_sense, strength)
    assert all(makes_sense(cell) for cell in cells)
    assert {part for cell in cells for part in parts(cell, strength)} == feasible(axes, strength)
    assert len(cells) == len(set(cells)) < sum(makes_sense(cell) for cell in product(*axes)) or strength == len(axes)
    assert cells == cover(axes, makes_sense, strength)
