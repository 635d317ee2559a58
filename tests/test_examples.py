"""Every example runs as a user runs it and comes to the result that it is there to show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LAST_LINE = {
    "k_fold": r"accuracy of the five together on 114 other cases: (0\.9[4-9]\d|1\.000)",
    "killed_and_resumed": "the same bits: True",
    "sharpness_aware": r"test accuracy: 0\.9[5-9]\d",
    "successive_halving": "the same winner: True",
}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == LAST_LINE.keys()


@pytest.mark.parametrize("name", LAST_LINE)
def test_an_example(name: str) -> None:
    told = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], check=True, capture_output=True, text=True
    ).stdout
    assert re.fullmatch(LAST_LINE[name], told.strip().splitlines()[-1]), told
