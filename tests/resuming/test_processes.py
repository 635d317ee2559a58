"""Processes that are killed: started again, they go on, and end with the bits of one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.resuming.digits import BATCHES, EPOCHS, EVERY

ROOT = Path(__file__).parents[2]
KILLS = 3
"""How often each fit is killed."""


class Run:
    """A process that fits, up to its end or until it is killed.

    Args:
        folder: Where it saves, and goes on from.
        how: When it saves.
        kill: The signal that it gets after some batches, or None.
        after: How many batches.
    """

    def __init__(self, folder: Path, how: str, kill: signal.Signals | None = None, after: int = 0) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", "tests.resuming.digits", str(folder), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            self.lines: list[str] = []
            if kill is None:
                process.stdin.close()
            for line in process.stdout:
                self.lines.append(line.strip())
                if kill is None or len(self.lines) > after:
                    continue
                process.stdin.write(".")
                process.stdin.flush()
                if len(self.lines) == after:
                    # It is somewhere in what comes after the batch, or already at the next one's end.
                    process.send_signal(kill)
                    process.stdin.close()
            self.returned = process.wait()

    @property
    def batches(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("end")]

    @property
    def end(self) -> str | None:
        return next((line for line in self.lines if line.startswith("end")), None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A process that is left alone."""
    run = Run(tmp_path_factory.mktemp("whole"), "saving")
    assert run.returned == 0
    assert len(run.batches) == EPOCHS * BATCHES
    assert run.end is not None
    return run


def killed_runs(folder: Path, how: str, kill: signal.Signals) -> list[Run]:
    """Runs that are killed at random, and one that is not, which comes to the end."""
    chosen = random.Random(how)
    # Beyond the next checkpoint, so that each of them comes further than the one before.
    runs = [Run(folder, how, kill, chosen.randint(EVERY + 3, 14)) for _ in range(KILLS)]
    assert [run.returned for run in runs] == [-kill] * KILLS
    runs.append(Run(folder, how))
    assert runs[-1].returned == 0
    return runs


@pytest.mark.parametrize("how", ["saving", "saving beside"])
def test_killed_at_random(how: str, whole: Run, tmp_path: Path) -> None:
    """What was done since the last checkpoint is done anew, and comes to the same."""
    runs = killed_runs(tmp_path, how, signal.SIGKILL)
    place = {line: number for number, line in enumerate(whole.batches)}
    reached = 0
    for run in runs:
        numbers = [place[line] for line in run.batches]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] <= reached
        reached = numbers[-1] + 1
    assert reached == len(place)
    assert runs[-1].end == whole.end


def test_told_to_end(whole: Run, tmp_path: Path) -> None:
    """SIGTERM saves where the run is: no batch is done twice."""
    runs = killed_runs(tmp_path, "signal", signal.SIGTERM)
    assert [line for run in runs for line in run.batches] == whole.batches
    assert runs[-1].end == whole.end
