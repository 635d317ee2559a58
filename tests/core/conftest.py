"""Every behaviour of the core is tested on both cores: the fixture `core` is one after the other."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from tests.core.cores import Core


def load(name: str) -> Core:
    """The core `name`; skips, or fails if the environment insists, where the compiled one is not built."""
    try:
        return Core(name)
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("typedloops._core.compiled"):
            raise
        reason = "the compiled core is not built: run `python setup.py build_ext --inplace`"
        if os.environ.get("TYPEDLOOPS_REQUIRE_COMPILED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


# Batches to move are made of tensors; the rest of the core is tested without torch as well.
collect_ignore = [] if find_spec("torch") else ["test_transfer.py"]


@pytest.fixture(scope="session", params=["compiled", "reference"])
def core(request: pytest.FixtureRequest) -> Core:
    return load(str(request.param))


@pytest.fixture(scope="session")
def cores() -> tuple[Core, Core]:
    """The core under test and its specification."""
    return load("compiled"), load("reference")
