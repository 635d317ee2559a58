"""What an import adds to a new interpreter."""

from __future__ import annotations

import pytest

from benchmarks.fixture import Benchmark
from benchmarks.importing import run_python

pytestmark = pytest.mark.benchmark(group="a new interpreter")

STATEMENTS = {
    "torch": "import torch",
    "torch_typedloops": "import torch, typedloops",
    "torch_Trainer": "import torch; from typedloops import Trainer",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_import(benchmark: Benchmark, statement: str) -> None:
    benchmark.pedantic(lambda: run_python(statement), rounds=3)
