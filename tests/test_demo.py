"""The demo, as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys


def test_the_demo_reaches_its_accuracy() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "typedloops.demo"], check=True, capture_output=True, text=True
    ).stdout
    assert "fit_loop: FitLoop" in output
    assert output.count("epoch ") >= 10
    assert "handwritten digits" in output
    last = output.strip().splitlines()[-1]
    accuracy = re.fullmatch(r"test accuracy: (0\.\d{3})", last)
    assert accuracy, last
    assert float(accuracy[1]) > 0.95
