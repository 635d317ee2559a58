"""The counter that is given to torch as a step hook."""

from __future__ import annotations

import pytest

from tests.core.cores import Core


@pytest.mark.parametrize(("completed", "expected"), [(False, (2, 0)), (True, (0, 2))])
def test_it_counts_its_calls(core: Core, completed: bool, expected: tuple[int, int]) -> None:
    progress = core.DataLoaderProgress()
    counter = core.CallCounter(progress, completed)
    counter()
    counter("optimizer", (), {})
    assert (progress.total.ready, progress.total.completed) == expected
    assert (progress.current.ready, progress.current.completed) == expected
