"""The reference has every public name, and links to it wherever a page writes it as code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import zlib
from pathlib import Path
from types import ModuleType

import pytest

import typedloops.recipes

PACKAGES = (
    "typedloops",
    "typedloops.callbacks",
    "typedloops.checkpoint",
    "typedloops.data",
    "typedloops.errors",
    "typedloops.loops.base",
    "typedloops.loops.evaluation",
    "typedloops.loops.fit",
    "typedloops.loops.prediction",
    "typedloops.protocols",
    "typedloops.recipes",
    *(f"typedloops.recipes.{found.name}" for found in pkgutil.iter_modules(typedloops.recipes.__path__)),
    "typedloops.testing",
    "typedloops.trainer",
    "typedloops.verification",
)


@pytest.fixture(scope="module")
def shown(site: Path) -> dict[str, str]:
    """The kind of each thing in the reference by the last part of its path, from Sphinx's inventory."""
    head, packed = (site / "objects.inv").read_bytes().split(b"using zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2")
    lines = zlib.decompress(packed).decode().splitlines()
    things = (line.split(" ")[:2] for line in lines)
    return {path.rpartition(".")[2]: kind for path, kind in things if kind.startswith("py:")}


def public(package: str) -> set[str]:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and is_of(module, value)
    ]
    return {*names} - {"__version__", "annotations"}


def is_of(module: ModuleType, value: object) -> bool:
    """Whether a package has it, or a file has it as its own and not from another."""
    return hasattr(module, "__path__") or (
        (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_shown(package: str, shown: dict[str, str]) -> None:
    assert public(package) - shown.keys() == set()


def test_every_package_with_public_names_is_looked_at() -> None:
    root = Path(importlib.import_module("typedloops").__file__ or "").parent
    with_names = {
        ".".join(("typedloops", *path.parent.relative_to(root).parts))
        for path in root.rglob("__init__.py")
        if re.search(r"import (\w+) as \1\b", path.read_text())
    }
    assert {name for name in with_names if "._" not in name} - {"typedloops.loops.run.passes"} <= set(PACKAGES)


def test_types_overloads_and_protocols_are_shown(site: Path) -> None:
    fit = (site / "api" / "fit.html").read_text()
    run = re.findall(r'<dt class="sig sig-object py"[^>]*>(?:(?!</dt>).)*FitResult', fit, re.DOTALL)
    assert len(run) >= 4  # the overloads of `FitLoop.run`
    protocols = (site / "api" / "protocols.html").read_text()
    assert "batch_idx" in protocols
    assert "OptimizerConfig" in protocols


def test_code_in_prose_is_a_link(site: Path) -> None:
    page = (site / "design.html").read_text()
    assert re.search(r'href="api/trainer\.html#typedloops\.Trainer"[^>]*><code', page)
    # No Markdown is left over in what was written as such.
    for path in sorted((site / "api").glob("*.html")):
        prose = re.sub(r"<pre>.*?</pre>|<[^>]+>", " ", path.read_text(), flags=re.DOTALL)
        assert "`" not in prose, path
