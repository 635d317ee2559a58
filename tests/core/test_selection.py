"""Which core `typedloops` runs on, and what it does without the compiled one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

WITHOUT_COMPILED = """
import sys
class NotBuilt:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NotBuilt())
"""


needs_compiled = pytest.mark.skipif(
    find_spec("typedloops._core.compiled.driver") is None, reason="the compiled core is not built"
)


def python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TYPEDLOOPS_")}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
        check=False,
    )


def without(module: str, code: str) -> str:
    return WITHOUT_COMPILED.format(missing=module) + code


@pytest.mark.parametrize("value", ["1", "yes"])
def test_the_environment_chooses_the_reference(value: str) -> None:
    told = python(
        "import typedloops as t; print(t.COMPILED, t.Processed.__module__)", "-W", "error", TYPEDLOOPS_PURE=value
    )
    assert told.stdout.split() == ["False", "typedloops._core.reference.progress"], told.stderr


@needs_compiled
@pytest.mark.parametrize("value", ["", "0"])
def test_otherwise_the_compiled_core_is_chosen(value: str) -> None:
    told = python(
        "import typedloops as t; print(t.COMPILED, t.Processed.__module__)", "-W", "error", TYPEDLOOPS_PURE=value
    )
    assert told.stdout.split() == ["True", "typedloops._core.compiled.progress"], told.stderr


def test_without_the_compiled_core_the_reference_runs_and_says_so() -> None:
    told = python(without("typedloops._core.compiled.batches", "import typedloops; print(typedloops.COMPILED)"))
    assert told.stdout.split() == ["False"], told.stderr
    assert "RuntimeWarning: typedloops runs on its pure-Python core, which is slower" in told.stderr
    assert "set TYPEDLOOPS_PURE=1 to choose this core" in told.stderr


@needs_compiled
def test_something_else_that_is_missing_is_not_taken_for_the_compiled_core() -> None:
    told = python(without("typedloops._core.batch_errors", "import typedloops; typedloops.COMPILED"))
    assert "ModuleNotFoundError: No module named 'typedloops._core.batch_errors'" in told.stderr
    assert "RuntimeWarning" not in told.stderr


@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_loop_of_ones_own_needs_no_torch(pure: str) -> None:
    code = "import sys; from typedloops import Loop, Progress, Slot; print('torch' in sys.modules)"
    told = python(code, TYPEDLOOPS_PURE=pure)
    assert told.stdout.split() == ["False"], told.stderr
