"""The public names of the library: what the reference shows, and what a docstring's code may link to."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import typedloops.recipes

RECIPES = tuple(f"typedloops.recipes.{found.name}" for found in pkgutil.iter_modules(typedloops.recipes.__path__))
"""Each a file or a folder; a name that is also to be had of `typedloops.recipes` is shown with its recipe."""

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
    *RECIPES,
    "typedloops.recipes",
    "typedloops.testing",
    "typedloops.trainer",
    "typedloops.verification",
)
NOT_SHOWN = {"typedloops.__version__"}


def names_of(package: str) -> list[str]:
    """`__all__` of a package or, where it has none, what it re-exports; of a single file what it defines."""
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if f"{package}.{name}" not in NOT_SHOWN]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "annotations"
        and not inspect.ismodule(value)
        and (hasattr(module, "__path__") or _is_of(module.__name__, value))
    ]


def _is_of(module: str, value: object) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module


def things() -> Iterator[tuple[str, str, object]]:
    """Every public name: its path, itself, what it is; where a thing has several paths, the shortest comes first."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in names_of(package):
            yield f"{package}.{name}", name, getattr(module, name)


@functools.cache
def homes() -> dict[str, str]:
    """Each public path with the one under which the reference shows that thing."""
    first: dict[tuple[str, int], str] = {}
    return {path: first.setdefault((name, id(thing)), path) for path, name, thing in things()}


@functools.cache
def public_paths() -> dict[str, str]:
    """The path in the reference for each name by which prose may call a public thing: `Trainer`, `Trainer.fit`."""
    paths: dict[str, str] = {}
    for path, name, thing in things():
        paths.setdefault(name, homes()[path])
        paths.setdefault(path, homes()[path])
        if inspect.isclass(thing):
            for member in vars(thing):
                if not member.startswith("_") and inspect.getdoc(inspect.getattr_static(thing, member)):
                    paths.setdefault(f"{name}.{member}", f"{homes()[path]}.{member}")
    return paths
