"""The pages of the guide: every block of Python runs as written, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(str(page.relative_to(GUIDE)) for page in GUIDE.rglob("*.md"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(#[^)\s]*)?\)")


@pytest.fixture
def page_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Where the blocks of a page live; pickle finds their classes there."""
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    return module


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_run_and_print_what_is_shown(
    page: str, page_module: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fences = FENCE.findall((GUIDE / page).read_text())
    for (kind, code), following in zip(fences, [*fences[1:], ("", "")], strict=True):
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, page, "exec"), vars(page_module))
            if printed.getvalue():
                assert following == ("text", printed.getvalue()), f"below: {code}"


@pytest.mark.parametrize("page", PAGES)
def test_the_links_lead_somewhere(page: str) -> None:
    path = GUIDE / page
    broken = [target for target, _ in LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert not broken
