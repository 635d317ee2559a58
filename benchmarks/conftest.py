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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "filterwarnings", "ignore:.*took no optimizer step"
    )  # the null step is meant to train nothing
