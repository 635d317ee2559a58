"""What the tests share: which core runs, one torch thread, fresh seeds, and small real modules."""

from __future__ import annotations

import gc
import os

import pytest


def pytest_report_header() -> str:
    import typedloops

    return f"typedloops: {'compiled' if typedloops.COMPILED else 'pure-Python'} core"


def pytest_collection_finish() -> None:
    """What was imported stays for good: a collection of garbage in a test need not go through it."""
    gc.collect()
    gc.freeze()


def pytest_sessionstart() -> None:
    import typedloops

    if os.environ.get("TYPEDLOOPS_REQUIRE_COMPILED") == "1" and not typedloops.COMPILED:
        raise pytest.UsageError("TYPEDLOOPS_REQUIRE_COMPILED=1, but the compiled core is not built")


@pytest.fixture(autouse=True)
def seeded() -> None:
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.manual_seed(0)
    torch.set_num_threads(1)
