"""Every block of Python in the README and the guide runs as written, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


PAGES = {
    "README.md": "best",
    "docs/training.md": "written",
    "docs/checkpoints.md": "report",
    "docs/checkpoint_format.md": "path",
    "docs/model_checkpoint.md": "best",
    "docs/verify_resume.md": "Classifier",
    "docs/recipes/k_fold.md": "whole",
    "docs/recipes/yielding.md": "result",
    "docs/recipes/guided.md": "result",
    "docs/recipes/bilevel.md": "result",
    "docs/recipes/successive_halving.md": "expected",
}
"""Each page with a name that its blocks make."""


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert names[PAGES[page]]
