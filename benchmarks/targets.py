"""Holds the dispatch, the null step, the tiny real step, growth and the import against their targets.

    python benchmarks/targets.py [--tolerance 1.0] [--interpreters 5]

Every ratio is measured side by side in one process, and that in several new processes:
where things happen to lie in memory moves a ratio by up to a percent.  The table has the
median over the processes, and the least and the greatest.  The exit status is 1 when a
median is above its target times the tolerance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from statistics import median

import torch

from benchmarks import ratios
from benchmarks.importing import added_milliseconds
from benchmarks.machine import machine
from benchmarks.workloads import Loader, ManualNullModule, NullModule, null_batches
from typedloops import COMPILED


@dataclass(frozen=True)
class Row:
    """Something measured.

    Args:
        what: Its name.
        measure: Measures it once, in a new interpreter.
        target: What it should not be above; None is for information.
        unit: What is counted; a ratio by default.
    """

    what: str
    measure: Callable[[], float]
    target: float | None = None
    unit: str = "x"


def rows() -> list[Row]:
    loader, batches = Loader(null_batches(ratios.NULL_STEPS)), null_batches(ratios.NULL_STEPS)
    return [
        Row("own loop under run_loop / bare while", partial(ratios.own_loop, "compiled"), 1.0),
        Row("  with the pure-Python core", partial(ratios.own_loop, "reference")),
        Row("  its two methods alone", ratios.own_loop_dispatch),
        Row("batch driver / bare for", partial(ratios.batch_driver, "compiled"), 1.5),
        Row("  with the pure-Python core", partial(ratios.batch_driver, "reference")),
        Row("null fit / bare for", partial(ratios.null_fit, NullModule()), 1.5),
        Row("null fit, manual optimization / bare for", partial(ratios.null_fit, ManualNullModule()), 1.5),
        Row("null validate / bare for", partial(ratios.null_validate, loader), 1.5),
        Row("null validate, a plain list / bare for", partial(ratios.null_validate, batches), 1.5),
        Row("null predict / bare for", partial(ratios.null_predict, loader), 1.5),
        Row("null predict, a plain list / bare for", partial(ratios.null_predict, batches), 1.5),
        Row("tiny step: hand-written / itself (noise)", ratios.hand_written_again),
        Row("tiny step: fit / hand-written", ratios.tiny_fit, 1.01),
        Row("tiny step: 10 callbacks elsewhere / hand-written", partial(ratios.tiny_fit, callbacks=10), 1.01),
        Row("windows of 4: hand-written / itself (noise)", ratios.hand_written_windows_again),
        Row("windows of 4, clipped, scheduled: fit / hand-written", ratios.tiny_fit_of_windows, 1.02),
        Row("tiny step: three logs / hand-written", ratios.tiny_fit_logging, 1.05),
        Row("tiny step: three logged means / hand-written", partial(ratios.tiny_fit_logging, "mean")),
        Row("null step: last of 1e6 / first", ratios.late_steps, 1.05),
        Row("null step: 100 callbacks elsewhere / none", partial(ratios.steps_with_callbacks, 100), 1.05),
        Row("memory kept after 1e5 more steps", ratios.kept_bytes, 1024, "B"),
    ]


IMPORTS = [
    Row("import typedloops, after torch", partial(added_milliseconds, "import typedloops", 3), 60, "ms"),
    Row("from typedloops import Trainer", partial(added_milliseconds, "from typedloops import Trainer", 3), 60, "ms"),
]


def measure_rows() -> list[float]:
    """Measure every row once; meant for an interpreter of its own."""
    torch.set_num_threads(1)
    return [row.measure() for row in rows()]


def in_new_interpreter(function: Callable[[], list[float]]) -> list[float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


def report(row: Row, values: Sequence[float], tolerance: float) -> bool:
    """Print a line of the table; whether the target is met within the tolerance."""
    value = median(values)
    met = row.target is None or value <= row.target * tolerance
    target = "" if row.target is None else f"{row.target:g}"
    verdict = "" if row.target is None else "met" if value <= row.target else "MISSED"
    figures = f"{_figure(value, row.unit):>9} {_figure(min(values), row.unit):>9} {_figure(max(values), row.unit):>9}"
    print(f"{row.what:54} {figures} {row.unit:2} {target:>6} {verdict}", flush=True)
    return met


def _figure(value: float, unit: str) -> str:
    return f"{value:.4f}" if unit == "x" else f"{value:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold the measured ratios against their targets.")
    parser.add_argument("--tolerance", type=float, default=1.0, help="how many times its target a figure may be")
    parser.add_argument("--interpreters", type=int, default=5, help="in how many new processes to measure")
    arguments = parser.parse_args()
    if not COMPILED:
        sys.exit("The targets are those of the compiled core: build it (pip install -e .) and unset TYPEDLOOPS_PURE.")
    print(machine())
    columns = [in_new_interpreter(measure_rows) for _ in range(arguments.interpreters)]
    print(f"\n{'what':54} {'median':>9} {'least':>9} {'greatest':>9}    {'target':>6}")
    met = [report(row, values, arguments.tolerance) for row, *values in zip(rows(), *columns, strict=True)]
    met += [report(row, [row.measure()], arguments.tolerance) for row in IMPORTS]
    print("\nWhat does not depend on the number of steps:")
    for what, microseconds in ratios.fixed_costs().items():
        print(f"{what:54} {microseconds:9.1f} us")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
