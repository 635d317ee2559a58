"""The architecture as a table: lower never imports higher, siblings do not import each other, no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import typedloops

ROOT = Path(typedloops.__file__).parent

LAYER = {
    "_lazy": 0,
    "errors": 0,
    "protocols": 1,
    "_core": 2,
    "checkpoint": 3,
    "loops": 4,
    "callbacks": 5,
    "data": 5,
    "recipes": 6,
    "trainer": 6,
    "testing": 7,
    "verification": 7,
    "demo": 7,
}
"""A room may import from rooms with a lower number only."""

LOOP_LAYER = {"base": 0, "run": 1, "evaluation": 2, "prediction": 2, "fit": 3}
"""The rooms of the loops: what a loop is, what a run is, the families."""

RUN_LAYER = {"computing": 0, "settings": 1}
"""The rooms of a run that know nothing of the rest of it."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(("typedloops", *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(path: Path, *, typing_only: bool = True) -> set[str]:
    """The modules of the package that a file imports, those only for type checkers included."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if not typing_only and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped.update(id(inner) for statement in node.body for inner in ast.walk(statement))
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
            assert node.level == 0, f"{path}: relative import"
            names.update(
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module
                for alias in node.names
            )
    return {name for name in names if name.startswith("typedloops")}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_upward_or_sideways(module: str) -> None:
    if module == "typedloops":
        return
    assert room(module) in LAYER, f"{module} is in no layer: add its room to the table"
    for other in imported(MODULES[module]):
        if room(other) and room(other) != room(module):
            assert LAYER[room(other)] < LAYER[room(module)], f"{module} imports {other}"
        elif not room(other):
            assert LAYER[room(module)] == max(LAYER.values()), f"{module} imports the whole package"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("typedloops.loops.")])
def test_families_of_loops_build_on_each_other_one_way(module: str) -> None:
    def layer(name: str) -> int:
        return LOOP_LAYER[name.split(".")[2]]

    for other in imported(MODULES[module]):
        same_family = other.split(".")[:3] == module.split(".")[:3]
        if other.startswith("typedloops.loops.") and not same_family:
            assert layer(other) < layer(module), f"{module} imports {other}"


def in_run(module: str) -> str:
    """The room or file in `loops/run/` that a module is in, or nothing."""
    parts = module.split(".")
    return parts[3] if parts[1:3] == ["loops", "run"] and len(parts) > 3 else ""


@pytest.mark.parametrize("module", [name for name in MODULES if in_run(name) in RUN_LAYER])
def test_what_a_run_is_told_does_not_know_the_run(module: str) -> None:
    for other in map(in_run, imported(MODULES[module])):
        if other and other != in_run(module):
            assert RUN_LAYER.get(other, len(RUN_LAYER)) < RUN_LAYER[in_run(module)], f"{module} imports {other}"


def test_there_are_no_cycles() -> None:
    graph = {name: imported(path) - {name, "typedloops"} for name, path in MODULES.items() if name != "typedloops"}
    # A package that re-exports its own modules is no room of its own.
    graph = {name: {other for other in others if not name.startswith(f"{other}.")} for name, others in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_every_module_can_be_imported_alone() -> None:
    """In one process each; all at once would hide a missing import behind another module's."""
    names = [name for name in MODULES if ".compiled" not in name or typedloops.COMPILED]
    forks = (
        "import os, sys\n"
        "import torch, lightning\n"
        f"for name in {names!r}:\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try:\n"
        "            __import__(name)\n"
        "        except BaseException as error:\n"
        "            print(name, repr(error), flush=True)\n"
        "            os._exit(1)\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    ).replace(", lightning", "")
    assert run(forks) == ""


def test_a_loop_of_ones_own_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from typedloops import Loop, Slot, Progress, LoopProtocol\n"
        "class Once(Loop[[], int]):\n"
        "    ran = 0\n"
        "    done = property(lambda self: self.ran > 0)\n"
        "    def advance(self): self.ran += 1\n"
        "    def on_run_end(self): return self.ran\n"
        "print(Once().run())"
    )
    assert run(code).strip() == "1"


def test_the_public_names() -> None:
    names: list[str] = vars(typedloops)["__all__"]
    """Every public name can be had, and `dir` tells them."""
    assert set(names) <= set(dir(typedloops))
    for name in names:
        assert getattr(typedloops, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Trianer'"):
        _ = typedloops.Trianer  # type: ignore[attr-defined]
