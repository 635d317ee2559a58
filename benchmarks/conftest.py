"""One torch thread: what is measured is the framework."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cores import CoreName


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=["compiled", "reference"])
def core(request: pytest.FixtureRequest) -> CoreName:
    return "compiled" if request.param == "compiled" else "reference"
