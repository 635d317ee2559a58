"""The state of a tree of loops: what each loop declares, under its path."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import ClassVar, TypeAlias, TypeGuard, cast

from typing_extensions import Protocol, runtime_checkable

from typedloops._core import Iterations
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import StateError
from typedloops.protocols.loop import AnyLoop
from typedloops.protocols.state import Stateful

VERSION = 1
ROOT = "."

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"


@runtime_checkable
class SavableLoop(Protocol):
    """What is asked of a loop with declared state; any other loop has none, or its own `state_dict`."""

    state_fields: ClassVar[tuple[str, ...]]
    restarting: bool
    _iterations: object

    @property
    def completed_iterations(self) -> int: ...
    @property
    def unfinished(self) -> bool: ...

    def walk(self) -> Iterator[tuple[str, AnyLoop]]: ...
    def on_save_checkpoint(self) -> dict[str, object]: ...
    def on_load_checkpoint(self, state: Mapping[str, object]) -> None: ...


def collect_state(root: SavableLoop) -> dict[str, object]:
    return {"version": VERSION, "loops": {path: _state_of(path, loop) for path, loop in _nodes(root)}}


def load_state(root: SavableLoop, state: Mapping[str, object]) -> None:
    states = _states_by_path(root, state)
    with ExitStack() as undo:
        for path, loop in _nodes(root):
            undo.callback(_undoing(path, loop))
            _load(path, loop, states[path])
        undo.pop_all()
    for path, loop in _nodes(root):
        if isinstance(loop, SavableLoop):
            # What was not in the middle of a run begins anew when its parent comes to it.
            loop.restarting = path == ROOT or loop.unfinished


def _undoing(path: str, loop: AnyLoop) -> Callable[[], None]:
    """What gives `loop` back what it has now: the very values of its fields."""
    state = _state_now(path, loop)
    fields = fields_of(type(loop)) if isinstance(loop, SavableLoop) else ()
    plain = {name: getattr(loop, name) for name in fields if not isinstance(getattr(loop, name), Stateful)}

    def undo() -> None:
        # The error that is on its way is the one to tell, not that of a loop that cannot go back.
        with suppress(Exception):
            if state is not None:
                _load(path, loop, state)
        for name, value in plain.items():
            setattr(loop, name, value)

    return undo


def _state_now(path: str, loop: AnyLoop) -> dict[str, object] | None:
    """The state of a loop, or None where it has none yet: its `on_save_checkpoint` may want a run to have begun."""
    try:
        return _state_of(path, loop)
    except Exception:
        return None


def _nodes(root: SavableLoop) -> Iterator[tuple[str, AnyLoop]]:
    return ((path or ROOT, loop) for path, loop in root.walk())


def _state_of(path: str, loop: AnyLoop) -> dict[str, object]:
    if isinstance(loop, SavableLoop):
        fields = {name: _saved_value(path, loop, name) for name in fields_of(type(loop))}
        custom = copy.deepcopy(loop.on_save_checkpoint())
        iterations = {"completed": loop.completed_iterations, "unfinished": loop.unfinished}
        return {"iterations": iterations, "fields": fields, "custom": custom}
    return {"own": copy.deepcopy(dict(loop.state_dict()))} if isinstance(loop, Stateful) else {}


def fields_of(cls: type[SavableLoop]) -> tuple[str, ...]:
    """The fields of the class and of its bases, each once."""
    declared = (name for kind in reversed(cls.__mro__) for name in vars(kind).get("state_fields", ()))
    return tuple(dict.fromkeys(declared))


def _saved_value(path: str, loop: SavableLoop, name: str) -> object:
    where = f"{type(loop).__name__}.{name} at {path!r}"
    if not hasattr(loop, name):
        raise StateError(
            where, "it is declared in `state_fields` but the loop has no such attribute", "Set it in `__init__`."
        )
    value: object = getattr(loop, name)
    return copy.deepcopy(dict(value.state_dict())) if isinstance(value, Stateful) else _plain(where, value)


def _plain(where: str, value: object) -> Plain:
    """A copy of `value` made of what JSON has: a tuple becomes a list."""
    # Not their subclasses: an enumeration's member would come back as something else.
    if value is None or type(value) in (bool, int, float, str):
        return cast("Plain", value)
    if is_list_or_tuple(value):
        return [_plain(f"{where}[{i}]", item) for i, item in enumerate(value)]
    if _has_string_keys(value):
        return {key: _plain(f"{where}[{key!r}]", item) for key, item in value.items()}
    raise StateError(
        where,
        f"a {type(value).__name__} cannot be saved",
        "Give it `state_dict` and `load_state_dict`, or save what it stands for in `on_save_checkpoint`.",
    )


def _has_string_keys(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict) and all(isinstance(key, str) for key in cast("dict[object, object]", value))


def _states_by_path(root: SavableLoop, state: object) -> dict[str, Mapping[str, object]]:
    """The states of `state`, once its version, its paths and its fields are known to fit the tree."""
    where = type(root).__name__
    if not is_mapping(state) or set(state) != {"version", "loops"}:
        raise StateError(where, "this is not the state of a tree of loops", "Load what `state_dict()` returned.")
    if state["version"] != VERSION:
        raise StateError(
            where,
            f"the state has version {state['version']!r}, this release reads version {VERSION}",
            "Load it with the release that saved it.",
        )
    loops = _mapping(where, state["loops"])
    nodes = dict(_nodes(root))
    _same_keys(where, "loops", loops.keys(), nodes.keys())
    states = {path: _mapping(f"{where} at {path!r}", loops[path]) for path in nodes}
    for path, loop in nodes.items():
        _check_parts(path, loop, states[path])
    return states


def _check_parts(path: str, loop: AnyLoop, state: Mapping[str, object]) -> None:
    where = f"{type(loop).__name__} at {path!r}"
    if isinstance(loop, SavableLoop):
        _same_keys(where, "parts", state.keys(), {"iterations", "fields", "custom"})
        iterations_of(where, state)
        fields = _mapping(where, state["fields"])
        _same_keys(where, "fields", fields.keys(), set(fields_of(type(loop))))
        _mapping(where, state["custom"])
    else:
        _same_keys(where, "parts", state.keys(), {"own"} if isinstance(loop, Stateful) else set())


def _load(path: str, loop: AnyLoop, state: Mapping[str, object]) -> None:
    if isinstance(loop, SavableLoop):
        for name, value in _mapping(path, state["fields"]).items():
            _load_field(loop, name, value)
        _load_iterations(loop, iterations_of(path, state))
        loop.on_load_checkpoint(copy.deepcopy(_mapping(path, state["custom"])))
    elif isinstance(loop, Stateful):
        loop.load_state_dict(copy.deepcopy(_mapping(path, state["own"])))


def iterations_of(where: str, state: Mapping[str, object]) -> Iterations:
    """How far a loop had come when its state was taken.

    Raises:
        StateError: It is not said in the way of `state_dict`.
    """
    told = _mapping(where, state["iterations"])
    completed, unfinished = told.get("completed"), told.get("unfinished")
    if type(completed) is not int or completed < 0 or type(unfinished) is not bool:
        raise StateError(where, f"its iterations are {dict(told)}", "Load what `state_dict()` returned.")
    return Iterations(completed, unfinished)


def _load_iterations(loop: SavableLoop, loaded: Iterations) -> None:
    held = loop._iterations  # pyright: ignore[reportPrivateUsage]
    if isinstance(held, Iterations) and held.running:  # the driver goes on counting with the one that it has
        held.completed = loaded.completed
    else:
        loop._iterations = loaded  # pyright: ignore[reportPrivateUsage]


def _load_field(loop: SavableLoop, name: str, value: object) -> None:
    present: object = getattr(loop, name, None)
    if isinstance(present, Stateful):
        present.load_state_dict(copy.deepcopy(_mapping(f"{type(loop).__name__}.{name}", value)))
    else:
        setattr(loop, name, _plain(f"{type(loop).__name__}.{name}", value))


def _mapping(where: str, value: object) -> Mapping[str, object]:
    if not is_mapping(value):
        raise StateError(where, f"its state is a mapping, got {value!r}", "Load what `state_dict()` returned.")
    return value


def _same_keys(where: str, what: str, given: Iterable[str], expected: Iterable[str]) -> None:
    given, expected = sorted(map(str, given)), sorted(expected)
    unknown = [name for name in given if name not in expected]
    missing = [name for name in expected if name not in given]
    if unknown:
        raise StateError(
            where, f"the state has unknown {what} {unknown}", f"Here are {expected}: build the tree that was saved."
        )
    if missing:
        raise StateError(
            where, f"the state lacks the {what} {missing}", f"It has {given}: build the tree that was saved."
        )
