"""What the README, the guide and the docstrings show as Python runs as written; what is printed stands below it, and
trees of loops are those of the loops.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

import typedloops
from typedloops import FitLoop, Loop, PredictionLoop, TestLoop, Trainer, ValidationLoop
from typedloops.loops.base.node import LoopNode

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
}

NOT_RUN: dict[str, tuple[int, str]] = {
    "docs/guide/coming_from.md": (3, "Lightning 1, Ignite and torchtnt are not dependencies of the tests"),
}
"""How many blocks of a page are marked `python no-run`, and why."""

BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
BRANCH = re.compile(r"^(?P<indent>[│ ]*)[├└]─ (?P<label>\w+(?:\.\d+)?: \w+)", re.MULTILINE)
CODE = re.compile(
    r"^ *```(?:python)?\n(?P<code>(?: *(?:class|def|import|from|with|assert) .*?))^ *```$", re.DOTALL | re.MULTILINE
)


def blocks_of(page: str, info: str) -> list[str]:
    return [found["code"] for found in BLOCK.finditer(PAGES[page]) if found["info"].strip() == info]


WITH_BLOCKS = [page for page in PAGES if blocks_of(page, "python")]


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_run_print_and_make_what_is_shown(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # what a page defines can be pickled
    blocks = [(found["info"].strip(), found["code"]) for found in BLOCK.finditer(PAGES[page])]
    for (info, code), (below, shown) in pairwise([*blocks, ("", "")]):
        if info == "python":
            with redirect_stdout(StringIO()) as printed:
                exec(compile(code, page, "exec"), vars(module))
            if printed.getvalue() and (below == "text" or page.startswith("docs/guide/")):
                assert (below, shown) == ("text", printed.getvalue()), f"below: {code}"
    assert_trees_are_of_loops(PAGES[page], vars(module))


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_python_is_run_or_said_not_to_be(page: str) -> None:
    opened = re.findall(r"^\s*(?:```+|~~~+) *python.*$", PAGES[page], re.MULTILINE)
    not_run = blocks_of(page, "python no-run")
    assert len(opened) == len(blocks_of(page, "python")) + len(not_run)
    assert len(not_run) == NOT_RUN.get(page, (0, ""))[0]
    for block in not_run:
        ast.parse(block)


def test_there_are_pages_with_blocks() -> None:
    assert {"README.md", "docs/index.md", "docs/training.md", "docs/checkpoints.md"} <= {*WITH_BLOCKS}
    assert NOT_RUN.keys() <= PAGES.keys()


def assert_trees_are_of_loops(text: str, names: dict[str, object]) -> None:
    """Each tree is that of a default loop or of one that the page has made, or its loops have such slots."""
    loops: list[object] = [FitLoop(), ValidationLoop(), TestLoop(), PredictionLoop(), *names.values()]
    loops += [trainer.fit_loop for trainer in names.values() if isinstance(trainer, Trainer)]
    known = {tuple(branches(str(loop.tree()))) for loop in loops if isinstance(loop, Loop)}
    for found in BLOCK.finditer(text):
        if found["info"].strip() in {"", "text"} and (drawn := tuple(branches(found["code"]))) and drawn not in known:
            root = re.search(r"(\w+)(?: .*)?$", found["code"].splitlines()[0])
            assert root is not None
            assert_slots_are_there(root[1], drawn)


def assert_slots_are_there(root: str, drawn: Iterable[tuple[int, str]]) -> None:
    """Of a tree that no loop at hand has: each class is there, and has a slot of the name that its child has."""
    kinds = {kind.__name__: kind for kind in subclasses(Loop)}
    above = [root]
    for depth, label in drawn:
        name, _, kind = label.partition(": ")
        assert name.partition(".")[0] in kinds[above[depth]].slots(), label
        above[depth + 1 :] = [kind]
    assert {*above} <= kinds.keys()


def subclasses(kind: type[LoopNode]) -> Iterator[type[LoopNode]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from subclasses(inner)


def branches(tree: str) -> Iterator[tuple[int, str]]:
    """What is below the root: how deep, and the name and class; what stands behind is not looked at."""
    return ((len(found["indent"]) // 3, found["label"]) for found in BRANCH.finditer(tree))


def docstrings() -> Iterator[tuple[str, str]]:
    for module in pkgutil.walk_packages(typedloops.__path__, "typedloops."):
        if ".compiled" in module.name:
            continue
        tree = ast.parse(inspect.getsource(importlib.import_module(module.name)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (docstring := ast.get_docstring(node)):
                yield f"{module.name}.{getattr(node, 'name', '')}", docstring


def test_python_in_docstrings_is_python() -> None:
    shown = [(name, dedent(found["code"])) for name, text in docstrings() for found in CODE.finditer(text)]
    assert len(shown) > 5
    for name, code in shown:
        compile(code, name, "exec")
