"""A conformance suite for loops: put one of your own through it in one line of a test.

```
from typedloops.testing import check_loop_contract

def test_countdown_is_a_loop() -> None:
    check_loop_contract(Countdown, 5)
```
"""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from typing_extensions import ParamSpec, TypeVar

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import LoopTreeError, UnattachedLoopError
from typedloops.loops.base import Loop
from typedloops.loops.node import LoopNode
from typedloops.protocols.loop import AnyLoop, LoopProtocol
from typedloops.protocols.state import Stateful

if TYPE_CHECKING:
    from typedloops.protocols.trainer import TrainerView

__all__ = ["LoopContractError", "check_loop_contract"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class LoopContractError(AssertionError):
    """A loop that breaks a rule of the contract.

    Args:
        loop: The class of the loop; one below the loop under test, perhaps.
        rule: Which rule it breaks.
        problem: How.
        remedy: What to do about it.
    """

    def __init__(self, loop: str, rule: str, problem: str, remedy: str) -> None:
        super().__init__(loop, rule, problem, remedy)
        self.loop = loop
        self.rule = rule
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.loop} breaks the rule that {self.rule}: {self.problem}. {self.remedy}"


class Runs(Protocol[P, R_co]):
    """Anything with a `run`; whether it is a loop is the first thing that is looked at."""

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def check_loop_contract(make_loop: Callable[[], Runs[P, object]], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Raise `LoopContractError` unless the loops that `make_loop` builds keep the contract.

    A loop without a base class is held to what its shape promises; a `Loop` also to
    what is promised of trees, of state and of `advance_all`, in every loop below it.

    The loops are run about thirty times, each time with inputs as they were given:
    inputs are deep-copied, and the seeds of `random`, numpy and torch are set and put
    back.  So an input is data, not an iterator that is used up.

    Args:
        make_loop: Builds a new loop at each call: a class, if it can be built without arguments.
        args: The positional inputs of a run that ends.
        kwargs: Its keyword inputs.

    Raises:
        LoopContractError: A rule is broken.
    """
    case = _Case(cast("Callable[[], AnyLoop]", make_loop), args, kwargs)
    for rule, breaches in RULES.items():
        for breach in breaches(case):
            raise LoopContractError(type(breach.loop).__name__, rule, breach.problem, breach.remedy)


@dataclass(frozen=True)
class _Breach:
    """How a loop breaks a rule, and what to do about it."""

    loop: object
    problem: str
    remedy: str


@dataclass(frozen=True)
class _Outcome:
    """What came of a run: its result, and what became of its inputs."""

    result: object
    inputs: object


@dataclass(frozen=True)
class _Case:
    """The loops under test and the inputs to run them with."""

    make: Callable[[], AnyLoop]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def run(self, loop: AnyLoop) -> _Outcome:
        args, kwargs = copy.deepcopy((self.args, dict(self.kwargs)))
        with _fixed_seeds():
            try:
                result = loop.run(*args, **kwargs)
            except StopIteration as stop:
                problem = "its `run` let a StopIteration out"
                raise LoopContractError(type(loop).__name__, KEEPS_STOPS, problem, END_IT) from stop
        return _Outcome(_snapshot(result), _snapshot([args, kwargs]))


_Breaches: TypeAlias = Iterator[_Breach]

KEEPS_STOPS = "no StopIteration leaves a run"
END_IT = "Let `typedloops.Loop.run` drive the loop, or turn what escapes into a RuntimeError."


def _has_the_shape(case: _Case) -> _Breaches:
    loop = case.make()
    if not isinstance(loop, LoopProtocol):
        missing = [name for name in ("done", "reset", "advance", "run") if not hasattr(loop, name)]
        yield _Breach(loop, f"it lacks {', '.join(missing)}", "Define them, or subclass typedloops.Loop.")
    if case.make() is loop:
        yield _Breach(loop, "it was built only once", "Give a function or a class that builds a new loop at each call.")


def _keeps_its_children(case: _Case) -> _Breaches:
    root = case.make()
    if not isinstance(root, LoopNode):
        return
    yield from _undeclared_children(root)
    yield from _misplaced(root, "")
    trainer = cast("TrainerView", object())
    root.attach(trainer, "loop")
    yield from _misplaced(root, "loop")
    for node in _nodes(root):
        if _trainer_of(node) is not trainer:
            yield _Breach(node, "it does not have the trainer of the tree that it is in", "Leave `trainer` as it is.")
        if node is not root and not _refuses_to_attach(node, trainer):
            yield _Breach(node, "it was attached by itself although it is a child", "Leave `attach` as it is.")
    for node in _nodes(root):
        yield from _wrongly_released(node)
    yield from _misplaced(root, "loop")


def _undeclared_children(root: LoopNode) -> _Breaches:
    declared = {id(node) for _, node in root.walk()}
    for node in _nodes(root):
        for name, value in vars(node).items():
            held: list[object] = [value]
            if is_list_or_tuple(value):
                held = list(value)
            elif is_mapping(value):
                held = list(value.values())
            for child in held:
                if isinstance(child, LoopNode) and id(child) not in declared:
                    problem = f"its attribute `{name}` holds a {type(child).__name__} that is in none of its slots"
                    yield _Breach(node, problem, f"Declare `{name}` as a Slot or a SlotList in the class body.")


def _misplaced(root: LoopNode, name: str) -> _Breaches:
    remedy = "Put children into slots, and leave `root`, `path`, `adopt` and `release` as they are."
    for path, node in root.walk():
        if isinstance(node, LoopNode):
            expected = ".".join(part for part in (name, path) if part)
            if node.root is not root:
                yield _Breach(node, f"it is in the tree of a {type(root).__name__} and has another root", remedy)
            if node.path != expected:
                yield _Breach(node, f"its path is {node.path!r} where it is {expected!r} in its tree", remedy)


def _trainer_of(node: LoopNode) -> object:
    try:
        return node.trainer
    except UnattachedLoopError:
        return None


def _refuses_to_attach(node: LoopNode, trainer: TrainerView) -> bool:
    try:
        node.attach(trainer, "elsewhere")
    except LoopTreeError:
        return True
    return False


def _wrongly_released(node: LoopNode) -> _Breaches:
    for slot in node.slots().values():
        children = slot.take(node)
        for child in children:
            if isinstance(child, LoopNode) and (child.root is not child or _trainer_of(child) is not None):
                yield _Breach(
                    child, "it keeps its parent when it is taken out of its slot", "Leave `release` as it is."
                )
        slot.put(node, children)


def _done_is_pure(case: _Case) -> _Breaches:
    found: list[_Breach] = []
    root = case.make()
    found += (breach for node in _loops(root) for breach in _impurities(node))
    _watch(root, lambda node: found.extend(_impurities(node)))
    case.run(root)
    found += (breach for node in _loops(root) for breach in _impurities(node))
    yield from found


def _impurities(loop: AnyLoop) -> _Breaches:
    for name in ("done", "skip"):
        before = _traits(loop)
        first, second = _answer(loop, name), _answer(loop, name)
        if first != second:
            problem = f"read twice, `{name}` is {first} and then {second}"
            yield _Breach(loop, problem, f"Move what `{name}` changes into `advance` or `reset`.")
        changed = sorted(trait for trait, value in _traits(loop).items() if before.get(trait, _Breach) != value)
        if changed:
            problem = f"reading `{name}` changes {', '.join(changed)}"
            yield _Breach(loop, problem, f"Move what `{name}` changes into `advance` or `reset`.")


def _traits(loop: AnyLoop) -> dict[str, object]:
    """What can be seen of a loop: its plain attributes and its state."""
    plain = {name: value for name, value in vars(loop).items() if isinstance(value, (bool, int, float, str))}
    return {**plain, "its state": _state_of(loop) if isinstance(loop, Stateful) else None}


def _answer(loop: AnyLoop, name: str) -> str:
    """What reading a property gives, an error included: outside a run it may have no answer."""
    try:
        return repr(getattr(loop, name, None))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


STOPPABLE = (
    "skip",
    "on_skip",
    "reset",
    "on_run_start",
    "done",
    "on_advance_start",
    "advance",
    "on_advance_end",
    "on_run_end",
)


def _keeps_stops(case: _Case) -> _Breaches:
    for name in STOPPABLE:
        loop = case.make()
        present = getattr(type(loop), name, None)
        if present is None:
            continue
        _change_class(
            loop, {name: _stopping(isinstance(present, property)), **({"skip": True} if name == "on_skip" else {})}
        )
        try:
            case.run(loop)
        except LoopContractError:
            yield _Breach(loop, f"a StopIteration that `{name}` raises leaves `run`", END_IT)
        except Exception:
            continue


def _stopping(is_property: bool) -> object:
    def stop(self: object, *args: object, **kwargs: object) -> None:
        raise StopIteration

    return property(stop) if is_property else stop


def _runs_again(case: _Case) -> _Breaches:
    loop = case.make()
    first, second = case.run(loop).result, case.run(loop).result
    if first != second:
        problem = f"the second run gives {_shown(second)}, the first {_shown(first)}"
        yield _Breach(loop, problem, "Set what a run changes back in `reset`.")


def _fuses_faithfully(case: _Case) -> _Breaches:
    one, other = case.make(), case.make()
    if not any(loop.fused for loop in _nodes(one) if isinstance(loop, Loop)):
        return
    at_once = case.run(one)
    _watch(other, lambda node: None)
    step_by_step = case.run(other)
    remedy = "Let `advance_all` do what `done`, `on_advance_start`, `advance` and `on_advance_end` do, in one call."
    if at_once.result != step_by_step.result:
        problem = f"`advance_all` gives {_shown(at_once.result)}, step by step it is {_shown(step_by_step.result)}"
        yield _Breach(one, problem, remedy)
    if at_once.inputs != step_by_step.inputs:
        yield _Breach(one, "`advance_all` leaves the inputs otherwise than step by step", remedy)
    if _state_of(one) != _state_of(other):
        problem = f"`advance_all` leaves the state {_state_of(one)}, step by step it is {_state_of(other)}"
        yield _Breach(one, problem, remedy)


def _keeps_its_state(case: _Case) -> _Breaches:
    loop = case.make()
    if not isinstance(loop, Stateful):
        return
    states = [dict(loop.state_dict())]
    _watch(loop, lambda node: states.append(dict(loop.state_dict())))
    case.run(loop)
    states.append(dict(loop.state_dict()))
    for state in (states[0], states[len(states) // 2], states[-1]):
        yield from _state_breaches(case, state)


def _state_breaches(case: _Case, state: Mapping[str, object]) -> _Breaches:
    loop = case.make()
    declare = "Declare in `state_fields` values that JSON has, or objects with `state_dict` and `load_state_dict`."
    try:
        text = json.dumps(state)
    except (TypeError, ValueError) as error:
        yield _Breach(loop, f"its state is not plain: {error}", declare)
        return
    cast("Stateful", loop).load_state_dict(json.loads(text))
    if _state_of(loop) != _snapshot(json.loads(text)):
        problem = f"a loop that loaded {text} has the state {json.dumps(_plain_state(loop), default=repr)}"
        yield _Breach(loop, problem, "Take back in `on_load_checkpoint` what `on_save_checkpoint` gives.")
    restarted = [node for node in _nodes(loop) if isinstance(node, Loop)]
    for node in restarted:
        if not node.restarting:
            yield _Breach(node, "it is not `restarting` when its state was loaded", "Leave `load_state_dict` as it is.")
    case.run(loop)
    if isinstance(loop, Loop) and loop.restarting and not loop.skip:
        yield _Breach(loop, "it is still `restarting` when its run has ended", "Let `Loop.run` drive the loop.")


def _can_be_copied(case: _Case) -> _Breaches:
    for way, duplicate in COPIES.items():
        loop = case.make()
        case.run(loop)
        try:
            copied = duplicate(loop)
        except Exception as error:
            problem = f"{way} fails with {type(error).__name__}: {error}"
            yield _Breach(
                loop, problem, "Name what cannot be copied in `transient_fields`; pickle needs importable classes."
            )
            continue
        if _drawn(copied) != _drawn(loop) or _state_of(copied) != _state_of(loop):
            problem = f"a copy by {way} has the state {_state_of(copied)}, the original {_state_of(loop)}"
            yield _Breach(loop, problem, "Keep in `transient_fields` only what a run builds anew.")
        before = _state_of(loop)
        result = case.run(copied).result
        if _state_of(loop) != before:
            yield _Breach(loop, f"running its copy by {way} changes the original", "Share nothing that a run changes.")
        expected = case.run(loop).result
        if result != expected:
            problem = f"its copy by {way} gives {_shown(result)}, the original {_shown(expected)}"
            yield _Breach(loop, problem, "Keep in `transient_fields` only what a run builds anew.")


COPIES: dict[str, Callable[[AnyLoop], AnyLoop]] = {
    "pickle": lambda loop: cast("AnyLoop", pickle.loads(pickle.dumps(loop))),
    "copy.deepcopy": copy.deepcopy,
}

RULES: dict[str, Callable[[_Case], _Breaches]] = {
    "it has the shape of a loop": _has_the_shape,
    "the children of a loop are in its slots": _keeps_its_children,
    "reading `done` and `skip` changes nothing": _done_is_pure,
    KEEPS_STOPS: _keeps_stops,
    "a second run gives what the first did": _runs_again,
    "`advance_all` does what the iterations do": _fuses_faithfully,
    "its state can be saved and loaded": _keeps_its_state,
    "a copy is as good as the original": _can_be_copied,
}
"""What is checked, in this order."""


def _loops(root: AnyLoop) -> list[AnyLoop]:
    """The loop and the loops below it."""
    return [loop for _, loop in root.walk()] if isinstance(root, LoopNode) else [root]


def _nodes(root: object) -> list[LoopNode]:
    """The loop and the loops below it that are nodes of a tree."""
    return [loop for _, loop in root.walk() if isinstance(loop, LoopNode)] if isinstance(root, LoopNode) else []


def _drawn(loop: AnyLoop) -> str:
    return str(loop.tree()) if isinstance(loop, LoopNode) else type(loop).__name__


def _watch(root: AnyLoop, notice: Callable[[AnyLoop], object]) -> None:
    """Call `notice` before each iteration of each loop; none of them is fused any more."""
    for loop in _loops(root):
        _change_class(loop, {"advance": _noticed(type(loop), notice)})


def _noticed(cls: type[AnyLoop], notice: Callable[[AnyLoop], object]) -> object:
    def advance(self: AnyLoop, *args: object, **kwargs: object) -> None:
        notice(self)
        cls.advance(self, *args, **kwargs)

    return advance


def _change_class(loop: AnyLoop, members: Mapping[str, object]) -> None:
    """Make `loop` an instance of a subclass of its class that has these members."""
    cls = type(loop)
    # Without slots of its own, the subclass has the layout of the class: only then an instance may change over.
    body = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__, **members}
    changed = types.new_class(cls.__name__, (cls,), {}, lambda namespace: namespace.update(body))
    loop.__class__ = cast("type[AnyLoop]", changed)


def _plain_state(loop: AnyLoop) -> object:
    return dict(loop.state_dict()) if isinstance(loop, Stateful) else None


def _state_of(loop: AnyLoop) -> object:
    return _snapshot(_plain_state(loop))


def _shown(result: object) -> str:
    text = repr(result)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _snapshot(value: object, around: frozenset[int] = frozenset()) -> object:
    """What `value` is made of: to compare, and unmoved by what becomes of it.

    Args:
        value: Anything; a tensor or an array is its type and its numbers, an object its attributes.
        around: The identities of what `value` is in.
    """
    if value is None or isinstance(value, (bool, int, str, bytes, type)):
        return value
    if isinstance(value, float):
        return "nan" if value != value else value
    if id(value) in around:
        return "itself"
    around |= {id(value)}
    name = type(value).__name__
    if isinstance(value, _Array):
        return name, str(value.dtype), _snapshot(value.tolist(), around)
    if is_mapping(value):
        return name, {str(key): _snapshot(item, around) for key, item in value.items()}
    if is_list_or_tuple(value):
        return name, [_snapshot(item, around) for item in value]
    if isinstance(value, Stateful):
        return name, _snapshot(dict(value.state_dict()), around)
    attributes: object = getattr(value, "__dict__", None)
    return value if attributes is None else (name, _snapshot(dict(vars(value)), around))


class _Array(Protocol):
    """A tensor or an array."""

    @property
    def dtype(self) -> object: ...
    def tolist(self) -> object: ...


@contextmanager
def _fixed_seeds() -> Iterator[None]:
    """The same random numbers in every run, and afterwards those that there would have been."""
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        random.seed(0)
        if "numpy" in sys.modules:
            import numpy as np

            stack.callback(np.random.set_state, np.random.get_state())
            np.random.seed(0)
        if "torch" in sys.modules:
            import torch

            stack.enter_context(torch.random.fork_rng())
            torch.manual_seed(0)
        yield
