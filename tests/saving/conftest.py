"""What tests of saving have in common."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest


@pytest.fixture
def handlers() -> Generator[None]:
    """The handlers of this process as they were, whatever a test does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
