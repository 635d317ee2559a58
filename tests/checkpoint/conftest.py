"""A format of checkpoints, and a checkpoint in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoint.contents import CONTENT, FORMATS
from typedloops.protocols.checkpoint import CheckpointFormat


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> CheckpointFormat:
    return FORMATS[request.param]


@pytest.fixture
def saved(form: CheckpointFormat, tmp_path: Path) -> Path:
    path = tmp_path / "epoch=1[best].ckpt"
    form.save(path, CONTENT)
    return path
