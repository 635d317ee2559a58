"""Everything with everything: what fits do in every setting, held against a plain simulation of what they should do.

The axes are in `axes.py`, the simulation in `expected.py`, the real fits in `recorded.py`.  Every three
settings are met in some cell; without a trainer every two.
"""

from __future__ import annotations

import pytest

from tests.grid.axes import AXES, Cell, Fault
from tests.grid.cover import cover
from tests.grid.expected import Expected, Outcome
from tests.grid.recorded import run

ALWAYS_THERE = ("M.configure_optimizers", "M.optimizer_step")


def makes_sense(values: tuple[object, ...]) -> bool:
    return cell_of(values).makes_sense


def cell_of(values: tuple[object, ...]) -> Cell:
    return Cell(*values)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def makes_sense_alone(values: tuple[object, ...]) -> bool:
    return cell_of(values).makes_sense_alone


CELLS = [cell_of(values) for values in cover(AXES, makes_sense)]
ALONE = [cell_of(values) for values in cover(AXES, makes_sense_alone, strength=2)]


def is_recorded(event: str, quiet: bool, fault: Fault | None) -> bool:
    """Whether somebody is there to write it down: with nobody listening, hooks are not called."""
    name = event.split()[0]
    is_hook = name.startswith(("C.", "M.")) and name not in ALWAYS_THERE
    return not is_hook or not quiet or (fault is not None and fault.where == name)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(cell: Cell) -> None:
    expected = Expected(cell)
    trace, outcome = run(cell)
    should_be = [entry for entry in expected.trace if is_recorded(str(entry[0]), not cell.way.heard, cell.fault)]
    assert difference(trace, should_be) is None
    compare(outcome, expected.outcome, cell)


@pytest.mark.parametrize("cell", ALONE, ids=str)
def test_alone(cell: Cell) -> None:
    """Without a trainer: the loops have the settings themselves, and only the module has hooks."""
    expected = Expected(cell)
    trace, outcome = run(cell, alone=True)
    should_be = [entry for entry in expected.trace if is_recorded(str(entry[0]), not cell.way.heard, cell.fault)]
    assert difference(trace, [entry for entry in should_be if not str(entry[0]).startswith("C.")]) is None
    compare(outcome, expected.outcome, cell)


def difference(trace: list[tuple[object, ...]], expected: list[tuple[object, ...]]) -> str | None:
    """Where two traces part, and what came before."""
    for place, (seen, wanted) in enumerate(zip([*trace, None], [*expected, None], strict=False)):
        if seen != wanted:
            before = "".join(f"\n    {entry}" for entry in trace[max(0, place - 8) : place])
            return f"after{before}\nthere was\n    {seen}\nand should have been\n    {wanted}"
    return None


def compare(outcome: Outcome, expected: Outcome, cell: Cell) -> None:
    if expected.error is None:
        assert outcome.error is None
    else:
        assert outcome.error is not None
        assert outcome.error[0] == expected.error[0]
        assert outcome.error[1].startswith(expected.error[1])
    assert outcome.result == expected.result
    for name, counts in outcome.counts.items():
        assert counts == {field: expected.counts[name][field] for field in counts}, name
    assert len(outcome.warnings) == len(expected.warnings), outcome.warnings
    for told, phrase in zip(outcome.warnings, expected.warnings, strict=True):
        assert phrase in told
    if cell.optimizing.closures <= 1:  # where LBFGS goes is told elsewhere
        assert outcome.weights == pytest.approx(expected.weights, rel=1e-9)
        if expected.error is None:
            outputs = [output for output in (outcome.last_output, expected.last_output) if output is not None]
            assert len(outputs) != 1
            assert outputs[:1] == pytest.approx(outputs[1:], rel=1e-9)
            assert outcome.metrics == pytest.approx(expected.metrics, rel=1e-9)
