"""Whether a module fits the loops that are to run it: the run-time half of the typed contract."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias, get_origin

from typing_extensions import get_protocol_members

from typedloops.errors import ModuleError
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.asked import check_call
from typedloops.loops.run.listeners import defining_class, is_placeholder

Gives: TypeAlias = Mapping[str, Collection[str]]
"""By method, the parameters that a loop fills in for those that have them."""


def check_tree(module: object, root: object, unused: Collection[str] = ()) -> None:
    """Raise `ModuleError` unless `module` has what every loop below `root` requires.

    Args:
        module: What is to be run.
        root: The loop that is to run it.
        unused: Paths, relative to `root`, of loops that will not be run.
    """
    for path, loop in _used_loops(module, root, ""):
        required: object = getattr(type(loop), "requires", None)
        if isinstance(required, type) and not any(path == name or path.startswith(f"{name}.") for name in unused):
            check_module(module, required, type(loop).__name__, getattr(type(loop), "gives", {}))


def _used_loops(module: object, loop: object, path: str, *, in_run: bool = False) -> Iterator[tuple[str, object]]:
    """`loop` and what is below it, without the branches that this module has no use for."""
    yield path, loop
    if isinstance(loop, LoopNode):
        idle, in_run = loop.idle_children(module), in_run or getattr(loop, "opens_run", True)
        for name, child in loop.children():
            # What is run by a loop of one's own may be of another module: it looks for itself when it begins.
            if name not in idle and (in_run or not getattr(child, "opens_run", False)):
                yield from _used_loops(module, child, f"{path}.{name}" if path else name, in_run=in_run)


def check_module(module: object, protocol: type[object], needed_by: str, gives: Gives | None = None) -> None:
    """Raise `ModuleError` unless `module` can be called as `protocol` says.

    Looks at what a type checker cannot see: a method that is only a framework's
    placeholder, the number of parameters, a generator where a result is expected.

    Args:
        module: What is to be run.
        protocol: What it is to be.
        needed_by: The loop that runs it.
        gives: What that loop gives to methods that ask for it.
    """
    why = f"{needed_by} needs a {protocol.__name__}"
    if isinstance(module, type):
        raise ModuleError(module.__name__, f"it is a class, and {why}", f"Give an instance: {module.__name__}(...).")
    for name in sorted(get_protocol_members(protocol)):
        if inspect.isfunction(getattr(protocol, name, None)):
            _check_method(module, protocol, name, why, (gives or {}).get(name, ()))
        else:
            _check_attribute(module, name, why)


def _check_attribute(module: object, name: str, why: str) -> None:
    if not hasattr(module, name):
        raise ModuleError(
            f"{type(module).__name__}.{name}", f"there is no such attribute, and {why}", "Set it in `__init__`."
        )


def _check_method(module: object, protocol: type[object], name: str, why: str, gives: Collection[str]) -> None:
    kind = type(module)
    where = f"{kind.__name__}.{name}"
    wanted = inspect.signature(getattr(protocol, name))
    parameters = [parameter.name for parameter in wanted.parameters.values()][1:]
    remedy = f"Define `def {name}(self{''.join(f', {parameter}' for parameter in parameters)})`."
    owner = defining_class(kind, name)
    method: object = getattr(module, name, None)
    if not callable(method):
        raise ModuleError(where, f"there is no such method, and {why}", remedy)
    if owner is not None and name not in vars(module) and is_placeholder(owner):
        raise ModuleError(where, f"it is only inherited from {owner.__name__}, which does nothing, and {why}", remedy)
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # written in C: it cannot be asked
        return
    try:
        check_call(name, signature, parameters, gives)
    except TypeError as mismatch:
        raise ModuleError(
            where,
            f"it takes {signature}, but is called with ({', '.join(parameters)}): {mismatch}; {why}",
            remedy,
        ) from None
    named = [name for name in signature.parameters if name in parameters]
    if sorted(named, key=parameters.index) != named:
        raise ModuleError(
            where, f"it takes {signature}, but is called with ({', '.join(parameters)}) in this order; {why}", remedy
        )
    generates = inspect.isgeneratorfunction(method)
    if not _may_generate(wanted.return_annotation, generates):
        raise ModuleError(
            where,
            f"it is {'' if generates else 'not '}a generator function, and {why}",
            "Return the result instead of yielding it, or connect a loop that takes a generator."
            if generates
            else "Yield the losses, or connect a loop that takes a plain step.",
        )


def _may_generate(annotation: object, generates: bool) -> bool:
    """Whether what is annotated to return this may be a generator function, or may be none.

    A generator is an iterator: where that is wanted, as of `nn.Module.parameters`, either will do.
    """
    name = annotation if isinstance(annotation, str) else getattr(get_origin(annotation), "__name__", "")
    return name.startswith(("Iterator", "Iterable")) or generates is name.startswith("Generator")
