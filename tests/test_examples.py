"""Every example runs as a user runs it and comes to the result that it is there to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LAST_LINE = {
    "k_fold": r"accuracy of the five together on 114 other cases: (0\.9[4-9]\d|1\.000)",
    "cart_pole": r"mean return over 100 episodes: (4(7[5-9]|[89]\d)\.\d|500\.0)",
    "active_learning": r"200 labels: accuracy 0\.9[4-6]\d by margin, 0\.9[0-3]\d at random",
    "curriculum": r"test accuracy at 8x8: 0\.9[4-9]\d",
    "killed_and_resumed": "the same bits: True",
    "gan": r"recognized: (0\.[89]\d|1\.00), variety of real digits: 0\.[6-9]\d",
    "learned_regularization": r"test accuracy: best of fixed decays 0\.[67]\d\d, learnt decays 0\.(8[5-9]|9\d)\d",
    "noisy_labels": r"test accuracy: all labels 0\.[67]\d\d, right labels alone 0\.8\d\d, guided 0\.9[2-9]\d",
    "sharpness_aware": r"test accuracy: 0\.9[5-9]\d",
    "successive_halving": "the same winner: True",
    "sinusoids": r"second order +[23]\.\d+ +0\.[4-8]\d+ +0\.[1-4]\d+ +0\.[1-3]\d+ +\(\d+ s of one core\)",
}


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Future[str]]]:
    """What each example tells; they run side by side, so that no core waits for the longest."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(run, name) for name in LAST_LINE}


def run(name: str) -> str:
    # One thread each: there are as many examples at once as there are cores.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == LAST_LINE.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST_LINE)
def test_an_example(name: str, told: dict[str, Future[str]]) -> None:
    lines = told[name].result().strip().splitlines()
    assert re.fullmatch(LAST_LINE[name], lines[-1]), lines
