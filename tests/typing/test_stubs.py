"""The stubs of the compiled core, the core itself and its reference in plain Python have one surface.

stubtest looks at methods; here are the names, which it does not compare with the reference, and
the parameters of constructors, which an extension type does not tell.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import ParamSpec

P = ParamSpec("P")
COMPILED = Path(__file__).parents[2] / "typedloops" / "_core" / "compiled"
STUBS = {path.stem: ast.parse(path.read_text()) for path in sorted(COMPILED.glob("*.pyi"))}
CLASSES = {
    f"{module}.{node.name}": node
    for module, stub in STUBS.items()
    for node in stub.body
    if isinstance(node, ast.ClassDef)
}
FUNCTIONS = {
    f"{module}.{node.name}": node
    for module, stub in STUBS.items()
    for node in stub.body
    if isinstance(node, ast.FunctionDef)
}
METHODS = {
    f"{place}.{node.name}": node
    for place, cls in CLASSES.items()
    for node in cls.body
    if isinstance(node, ast.FunctionDef) and not node.decorator_list and node.name != "__class_getitem__"
}
COMPILED_ONLY = {"progress.restored", "progress.restored_tracker"}
"""What pickle needs of an extension type; a class in plain Python needs no such thing."""
WRONG_ARGUMENTS = re.compile(r"__init__\(\) (got|takes|needs|missing)")

Parameters = list[tuple[str, str, bool]]


def public(names: Iterator[str] | list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def stub_parameters(function: ast.FunctionDef) -> Parameters:
    """Name, kind and whether there is a default, without `self`."""
    takes = function.args
    positional = [*takes.posonlyargs, *takes.args]
    defaults = len(positional) - len(takes.defaults)
    found = [
        (p.arg, "POSITIONAL_ONLY" if p in takes.posonlyargs else "POSITIONAL_OR_KEYWORD", i >= defaults)
        for i, p in enumerate(positional)
    ]
    found += [(takes.vararg.arg, "VAR_POSITIONAL", False)] if takes.vararg else []
    found += [(p.arg, "KEYWORD_ONLY", d is not None) for p, d in zip(takes.kwonlyargs, takes.kw_defaults, strict=True)]
    found += [(takes.kwarg.arg, "VAR_KEYWORD", False)] if takes.kwarg else []
    return [parameter for parameter in found if parameter[0] not in ("self", "cls")]


def real_parameters(function: Callable[..., object]) -> Parameters:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind.name, p.default is not p.empty) for p in parameters if p.name not in ("self", "cls")]


def stub_names(place: str) -> set[str]:
    """The public names of a class and of its bases, as the stub says."""
    module, cls = place.split(".")[0], CLASSES[place]
    names = [node.name for node in cls.body if isinstance(node, ast.FunctionDef)]
    names += [
        node.target.id for node in cls.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    bases = [ast.unparse(base).partition("[")[0] for base in cls.bases]
    return public(names).union(*(stub_names(f"{module}.{base}") for base in bases if f"{module}.{base}" in CLASSES))


def attributes_set_in(cls: type[object]) -> Iterator[str]:
    """What the methods of a class and of its bases assign to on `self`."""
    for kind in cls.__mro__:
        if kind.__module__.startswith("typedloops."):
            source = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
            (body,) = (node for node in source.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
            yield from (
                node.attr
                for node in ast.walk(body)
                if isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) == "self"
            )


def look_up(core: str, place: str) -> object:
    module, *names = place.split(".")
    found: object = pytest.importorskip(f"typedloops._core.{core}.{module}", reason="there is no compiled core")
    for name in names:
        found = getattr(found, name)
    return found


def test_every_module_has_a_stub_and_a_reference() -> None:
    assert set(STUBS) == {path.stem for path in COMPILED.glob("*.pyx")}
    assert set(STUBS) == {path.stem for path in (COMPILED.parent / "reference").glob("[!_]*.py")}


@pytest.mark.parametrize("place", [*CLASSES, *FUNCTIONS])
def test_the_compiled_core_has_what_the_stub_has(place: str) -> None:
    assert look_up("compiled", place) is not None


@pytest.mark.parametrize("place", sorted({*CLASSES, *FUNCTIONS} - COMPILED_ONLY))
def test_the_reference_has_what_the_stub_has(place: str) -> None:
    assert look_up("reference", place) is not None


@pytest.mark.parametrize("module", STUBS)
def test_the_stub_has_what_the_compiled_module_defines(module: str) -> None:
    compiled = look_up("compiled", module)
    home = f"typedloops._core.compiled.{module}"
    defined = [name for name, value in vars(compiled).items() if getattr(value, "__module__", "") == home]
    assert public(defined) == {
        place.split(".")[1] for place in (*CLASSES, *FUNCTIONS) if place.startswith(f"{module}.")
    }


@pytest.mark.parametrize("place", CLASSES)
def test_public_names_of_the_compiled_core(place: str) -> None:
    assert public(dir(look_up("compiled", place))) == stub_names(place)


@pytest.mark.parametrize("place", CLASSES)
def test_public_names_of_the_reference(place: str) -> None:
    cls = look_up("reference", place)
    assert isinstance(cls, type)
    annotated = (name for kind in cls.__mro__[:-1] for name in vars(kind).get("__annotations__", {}))
    assert public([*dir(cls), *annotated, *attributes_set_in(cls)]) == stub_names(place)


@pytest.mark.parametrize("place", sorted({*METHODS, *FUNCTIONS} - COMPILED_ONLY))
def test_parameters_of_the_reference(place: str) -> None:
    function = look_up("reference", place)
    assert callable(function)
    assert real_parameters(function) == stub_parameters({**METHODS, **FUNCTIONS}[place])


@pytest.mark.parametrize("place", [place for place in METHODS if place.endswith(".__init__")])
def test_parameters_of_the_compiled_constructors(place: str) -> None:
    """They are only known by calling: an argument that does not fit is told from a value that does not."""
    cls = look_up("compiled", place.removesuffix(".__init__"))
    assert callable(cls)
    parameters = stub_parameters(METHODS[place])
    by_name = {name: object() for name, _, _ in parameters}
    in_order = [object() for _, kind, _ in parameters if kind == "POSITIONAL_OR_KEYWORD"]
    by_keyword = {name: object() for name, kind, _ in parameters if kind == "KEYWORD_ONLY"}
    required = {name: object() for name, _, has_default in parameters if not has_default}

    assert not WRONG_ARGUMENTS.search(complaint(cls, **by_name))
    assert not WRONG_ARGUMENTS.search(complaint(cls, **required))
    assert WRONG_ARGUMENTS.search(complaint(cls, **by_name, another=1))
    assert WRONG_ARGUMENTS.search(complaint(cls, *in_order, object(), **by_keyword))
    for name in required:
        assert WRONG_ARGUMENTS.search(complaint(cls, **{other: required[other] for other in required if other != name}))


def complaint(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
    try:
        function(*args, **kwargs)
    except Exception as error:
        return str(error)
    return ""
