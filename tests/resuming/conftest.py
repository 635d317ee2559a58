"""What the tests of resuming share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the machine never stops: that what was written is on the disk is tested elsewhere."""
    monkeypatch.setattr("typedloops.checkpoint.durable.flush", lambda path: None)
