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
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from typing_extensions import ParamSpec, Protocol, TypeVar, runtime_checkable

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import LoopTreeError, UnattachedLoopError
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
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
        loop: The class of the loop, which may be one below the loop under test.
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
    """Anything with a `run`: whether it is a loop is the first thing that is looked at."""

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def check_loop_contract(make_loop: Callable[[], Runs[P, object]], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Raise `LoopContractError` unless the loops that `make_loop` builds keep the contract.

    A loop without a base class is held to what its shape promises; a `Loop` also to
    what is promised of trees, of state and of `advance_all`, in every loop below it.
    `RULES` lists what is checked.

    The loops are run some thirty times, each time with the inputs as they were given:
    these are deep-copied, and the seeds of `random`, numpy and torch are set for the run
    and put back.  So an input is data, not an iterator that is used up.

    Args:
        make_loop: Builds a new loop at each call: a class that can be built without arguments, or a function.
        args: The positional inputs of a run that ends.
        kwargs: Its keyword inputs.

    Raises:
        LoopContractError: A rule is broken.
    """
    case = Case(cast("Callable[[], AnyLoop]", make_loop), args, kwargs)
    for rule, breaches in RULES.items():
        for breach in breaches(case):
            raise LoopContractError(type(breach.loop).__name__, rule, breach.problem, breach.remedy)


@dataclass(frozen=True)
class Breach:
    """How a loop breaks a rule, and what to do about it."""

    loop: object
    problem: str
    remedy: str


Breaches: TypeAlias = Iterator[Breach]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its result, and what became of its inputs."""

    result: object
    inputs: object


@dataclass(frozen=True)
class Case:
    """The loops under test, and the inputs to run them with."""

    make: Callable[[], AnyLoop]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def run(self, loop: AnyLoop) -> Outcome:
        args, kwargs = copy.deepcopy((self.args, dict(self.kwargs)))
        with fixed_seeds():
            try:
                result = loop.run(*args, **kwargs)
            except StopIteration as stop:
                problem = "its `run` let a StopIteration out"
                raise LoopContractError(type(loop).__name__, KEEPS_STOPS, problem, END_IT) from stop
        return Outcome(snapshot(result), snapshot([args, kwargs]))


def has_the_shape(case: Case) -> Breaches:
    loop: object = case.make()
    if not isinstance(loop, LoopProtocol):
        missing = [name for name in ("done", "reset", "advance", "run") if not hasattr(loop, name)]
        yield Breach(loop, f"it lacks {', '.join(missing)}", "Define that, or subclass typedloops.Loop.")
    if case.make() is loop:
        yield Breach(
            loop, "the same loop was given twice", "Give a class or a function that builds a new one each time."
        )


def keeps_its_children(case: Case) -> Breaches:
    root = case.make()
    if not isinstance(root, LoopNode):
        return
    if vars(root).get("_trainer") is not None:
        yield Breach(root, "it is attached to a trainer already", "Give what builds the loop alone, without a trainer.")
    yield from undeclared_children(root)
    yield from misplaced(root, "")
    trainer = cast("TrainerView", object())
    root.attach(trainer, "loop")
    yield from misplaced(root, "loop")
    for node in nodes_of(root):
        if trainer_of(node) is not trainer:
            yield Breach(node, "it has not the trainer of its tree", "Leave `trainer` as it is.")
        if node is not root and not refuses_to_attach(node, trainer):
            yield Breach(node, "it can be attached although it is a child", "Leave `attach` as it is.")
    for node in nodes_of(root):
        yield from wrongly_released(node)
    yield from misplaced(root, "loop")


def undeclared_children(root: LoopNode) -> Breaches:
    declared = {id(node) for _, node in root.walk()}
    for node in nodes_of(root):
        for name, value in vars(node).items():
            for child in held_in(value):
                if isinstance(child, LoopNode) and id(child) not in declared:
                    problem = f"its attribute `{name}` holds a {type(child).__name__} that is in no slot"
                    yield Breach(node, problem, f"Declare `{name}` as a Slot or a SlotList in the class body.")


def held_in(value: object) -> list[object]:
    if is_list_or_tuple(value):
        return list(value)
    return list(value.values()) if is_mapping(value) else [value]


def misplaced(root: LoopNode, name: str) -> Breaches:
    remedy = "Leave `root`, `path`, `adopt` and `release` as they are."
    for path, node in root.walk():
        expected = ".".join(part for part in (name, path) if part)
        if isinstance(node, LoopNode) and (node.root is not root or node.path != expected):
            told = f"{node.path!r} of a {type(node.root).__name__}"
            yield Breach(node, f"it is {expected!r} of a {type(root).__name__}, and says {told}", remedy)


def trainer_of(node: LoopNode) -> object:
    try:
        return node.trainer
    except UnattachedLoopError:
        return None


def refuses_to_attach(node: LoopNode, trainer: TrainerView) -> bool:
    try:
        node.attach(trainer, "elsewhere")
    except LoopTreeError:
        return True
    return False


def wrongly_released(node: LoopNode) -> Breaches:
    for slot in node.slots().values():
        children = slot.take(node)
        for child in children:
            if isinstance(child, LoopNode) and (child.root is not child or trainer_of(child) is not None):
                yield Breach(node, f"`{slot.name}` keeps the child that is taken out", "Leave `release` as it is.")
        slot.put(node, children)


def done_is_pure(case: Case) -> Breaches:
    root, found = case.make(), list[Breach]()

    def look(loop: AnyLoop) -> None:
        found.extend(impurities(loop))
        if found:
            # A loop that is changed by being looked at may never end.
            raise Found

    for loop in loops_of(root):
        yield from impurities(loop)
    watch(root, look)
    with suppress(Found):
        case.run(root)
    yield from found
    for loop in loops_of(root):
        yield from impurities(loop)


class Found(Exception):
    """Leaves a run in which a breach was found."""


def impurities(loop: AnyLoop) -> Breaches:
    for name in ("done", "skip"):
        remedy = f"Move what `{name}` changes into `advance` or `reset`."
        before = traits_of(loop)
        first, second = answer_of(loop, name), answer_of(loop, name)
        if first != second:
            yield Breach(loop, f"read twice, `{name}` is {first} and then {second}", remedy)
        after = traits_of(loop)
        if changed := sorted(trait for trait in before.keys() | after.keys() if before.get(trait) != after.get(trait)):
            yield Breach(loop, f"reading `{name}` changes {', '.join(changed)}", remedy)


def traits_of(loop: AnyLoop) -> dict[str, object]:
    """What can be seen of a loop: its plain attributes and its state."""
    attributes: dict[str, object] = getattr(loop, "__dict__", {})
    plain = {f"`{name}`": value for name, value in attributes.items() if isinstance(value, (bool, int, float, str))}
    return {**plain, "its state": state_of(loop)}


def answer_of(loop: AnyLoop, name: str) -> str:
    """What a property says, an error included: outside a run it may have no answer."""
    try:
        return repr(getattr(loop, name, None))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def keeps_stops(case: Case) -> Breaches:
    for name in STOPPING:
        loop = case.make()
        if not hasattr(type(loop), name):
            continue
        change_class(loop, {"on_skip": {"skip": True}}.get(name, {}) | {name: STOPPING[name]})
        try:
            case.run(loop)
        except LoopContractError:
            yield Breach(loop, f"a StopIteration that `{name}` raises leaves `run`", END_IT)
        except Exception:
            continue


def stop(self: object, *args: object, **kwargs: object) -> None:
    raise StopIteration


STOPPING: dict[str, object] = {
    **dict.fromkeys(("done", "skip"), property(stop)),
    **dict.fromkeys(("on_skip", "reset", "on_run_start", "on_advance_start", "advance", "on_advance_end"), stop),
    **dict.fromkeys(("advance_all", "on_run_end"), stop),
}


def runs_again(case: Case) -> Breaches:
    loop = case.make()
    first, second = case.run(loop).result, case.run(loop).result
    if first != second:
        yield Breach(
            loop, f"it gave {shown(first)}, and then {shown(second)}", "Set back in `reset` what a run changes."
        )


def fuses_faithfully(case: Case) -> Breaches:
    fused, stepwise = case.make(), case.make()
    if not any(loop.fused for loop in loops_of(fused) if isinstance(loop, Loop)):
        return
    watch(stepwise, lambda loop: None)
    at_once, by_and_by = case.run(fused), case.run(stepwise)
    for what, one, other in (
        ("result", at_once.result, by_and_by.result),
        ("state", state_of(fused), state_of(stepwise)),
        ("inputs afterwards", at_once.inputs, by_and_by.inputs),
    ):
        if one != other:
            problem = f"with it, the {what} is {shown(one)}, step by step {shown(other)}"
            yield Breach(fused, problem, "Let `advance_all` do what `done`, `advance` and the methods around it do.")


def keeps_its_state(case: Case) -> Breaches:
    loop = case.make()
    if not isinstance(loop, Stateful):
        return
    states: list[str] = []
    try:
        states.append(saved_state_of(loop))
        watch(loop, lambda _: states.append(saved_state_of(loop)))
        case.run(loop)
        states.append(saved_state_of(loop))
    except UnsavedError as error:
        yield Breach(loop, str(error), PLAINLY)
        return
    for state in (states[0], states[len(states) // 2], states[-1]):
        yield from state_breaches(case, state)


def state_breaches(case: Case, saved: str) -> Breaches:
    loop = case.make()
    try:
        cast("Stateful", loop).load_state_dict(json.loads(saved, object_hook=from_plain))
        loaded = saved_state_of(cast("Stateful", loop))
    except Exception as error:
        yield Breach(loop, f"loading {shown(saved)} fails with {type(error).__name__}: {error}", PLAINLY)
        return
    if loaded != saved:
        problem = f"{shown(saved)} was loaded, and then it is {shown(loaded)}"
        yield Breach(loop, problem, "Take in `on_load_checkpoint` what `on_save_checkpoint` gives.")
    for node in loops_of(loop):
        if isinstance(node, Loop) and not node.restarting and (node is loop or node.unfinished):
            yield Breach(node, "it is not `restarting` when it is loaded", "Leave `load_state_dict` as it is.")
    with warnings.catch_warnings(action="ignore"):  # a run that was saved when it was over has nothing left to do
        case.run(loop)
    if isinstance(loop, Loop) and loop.restarting and not loop.skip:
        yield Breach(loop, "it is still `restarting` after a run", "Let `typedloops.Loop.run` drive the loop.")


PLAINLY = "Declare plain values that are there from the beginning, or objects with `state_dict` and `load_state_dict`."


class UnsavedError(Exception):
    """The state of a loop cannot be saved."""


def saved_state_of(loop: Stateful) -> str:
    """The state of a loop as JSON, in which a tensor is its type and its values.

    Raises:
        UnsavedError: It has none, or one that is not plain.
    """
    try:
        return json.dumps(loop.state_dict(), sort_keys=True, default=as_plain)
    except Exception as error:
        raise UnsavedError(f"saving it as JSON fails with {type(error).__name__}: {error}") from error


TENSOR = "torch.Tensor"
"""The key of a tensor among what is JSON."""


def as_plain(value: object) -> object:
    """A tensor made of what JSON has; a checkpoint keeps it as it is.

    Raises:
        TypeError: It is something else.
    """
    torch = sys.modules.get("torch")  # a loop of one's own may need none
    if torch is None or not isinstance(value, torch.Tensor):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return {TENSOR: [str(value.dtype).removeprefix("torch."), value.tolist()]}


def from_plain(value: dict[str, object]) -> object:
    """What `as_plain` was given."""
    if value.keys() != {TENSOR}:
        return value
    torch = sys.modules["torch"]
    name, values = cast("tuple[str, list[object]]", value[TENSOR])
    return torch.tensor(values, dtype=getattr(torch, name))


def can_be_copied(case: Case) -> Breaches:
    for way, copied in COPIES.items():
        loop = case.make()
        case.run(loop)
        try:
            twin = copied(loop)
        except Exception as error:
            remedy = "Name what cannot be copied in `transient_fields`; pickle asks for classes that can be imported."
            yield Breach(loop, f"{way} fails with {type(error).__name__}: {error}", remedy)
            continue
        remedy = "Name in `transient_fields` only what every run builds anew, and share nothing between copies."
        if (looks_of(twin), state_of(twin)) != (looks_of(loop), state_of(loop)):
            yield Breach(loop, f"a copy by {way} has another tree or state", remedy)
        before = state_of(loop)
        result = case.run(twin).result
        if state_of(loop) != before:
            yield Breach(loop, f"running its copy by {way} changes the original", remedy)
        if result != case.run(loop).result:
            yield Breach(loop, f"its copy by {way} gives another result, {shown(result)}", remedy)


def unpickled(loop: AnyLoop) -> AnyLoop:
    return cast("AnyLoop", pickle.loads(pickle.dumps(loop)))


COPIES: dict[str, Callable[[AnyLoop], AnyLoop]] = {"pickle": unpickled, "copy.deepcopy": copy.deepcopy}
KEEPS_STOPS = "no StopIteration leaves a run"
END_IT = "Let `typedloops.Loop.run` drive the loop, or turn what would leave it into a RuntimeError."

RULES: dict[str, Callable[[Case], Breaches]] = {
    "it has the shape of a loop": has_the_shape,
    "every child is in a slot and knows its place": keeps_its_children,
    "reading `done` and `skip` changes nothing": done_is_pure,
    KEEPS_STOPS: keeps_stops,
    "a second run gives the same result": runs_again,
    "`advance_all` does what the iterations do": fuses_faithfully,
    "its state can be saved and loaded": keeps_its_state,
    "a copy is as good as the original": can_be_copied,
}
"""What is checked, in this order."""


def loops_of(root: AnyLoop) -> list[AnyLoop]:
    """The loop and the loops below it."""
    return [loop for _, loop in root.walk()] if isinstance(root, LoopNode) else [root]


def nodes_of(root: LoopNode) -> list[LoopNode]:
    """The loop and the loops below it, except for those that are loops only by their shape."""
    return [loop for _, loop in root.walk() if isinstance(loop, LoopNode)]


def looks_of(loop: AnyLoop) -> str:
    return str(loop.tree()) if isinstance(loop, LoopNode) else type(loop).__name__


def state_of(loop: AnyLoop) -> object:
    """The state of a loop, or why there is none."""
    try:
        return snapshot(loop.state_dict()) if isinstance(loop, Stateful) else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def watch(root: AnyLoop, notice: Callable[[AnyLoop], object]) -> None:
    """Call `notice` before each iteration of every loop below `root`; none of them is fused any more."""
    for loop in loops_of(root):
        change_class(loop, {"advance": noticed(type(loop), notice)})


def noticed(cls: type[AnyLoop], notice: Callable[[AnyLoop], object]) -> object:
    def advance(self: AnyLoop, *args: object, **kwargs: object) -> None:
        notice(self)
        cls.advance(self, *args, **kwargs)

    return advance


def change_class(loop: AnyLoop, members: Mapping[str, object]) -> None:
    """Make `loop` an instance of a subclass of its class that has these members."""
    cls = type(loop)
    # Only a subclass without slots of its own has the same layout, which an instance must have to change over.
    body = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__, **members}
    subclass = types.new_class(cls.__name__, (cls,), {}, lambda namespace: namespace.update(body))
    loop.__class__ = cast("type[AnyLoop]", subclass)


@runtime_checkable
class Array(Protocol):
    """A tensor or an array."""

    @property
    def dtype(self) -> object: ...
    def tolist(self) -> object: ...


def snapshot(value: object, around: frozenset[int] = frozenset()) -> object:
    """What `value` is made of: it can be compared, and does not change with `value`.

    Args:
        value: A tensor or an array is its type and its numbers, an object its state or its attributes.
        around: The identities of what `value` is in.
    """
    if value is None or isinstance(value, (bool, int, str, bytes, type)):
        return value
    if isinstance(value, float):
        return "nan" if value != value else value
    if id(value) in around:
        return "what it is in"
    around |= {id(value)}
    parts = parts_of(value)
    if parts is None:
        return value
    if is_mapping(parts):
        inside: object = {str(key): snapshot(part, around) for key, part in parts.items()}
    else:
        inside = [snapshot(part, around) for part in parts]
    return inside if type(value) in (dict, list) else (type(value).__name__, inside)


def parts_of(value: object) -> Mapping[str, object] | Sequence[object] | None:
    """What to look into `value` for, or None for a value that is its own only part."""
    if isinstance(value, Array):
        return [str(value.dtype), value.tolist()]
    if is_mapping(value) or is_list_or_tuple(value):
        return value
    if isinstance(value, Stateful):
        return value.state_dict()
    return vars(value) if hasattr(value, "__dict__") else None


@contextmanager
def fixed_seeds() -> Generator[None]:
    """The same random numbers in every run; afterwards those go on that there would have been."""
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        random.seed(0)
        if "numpy" in sys.modules:
            import numpy as np

            stack.callback(np.random.set_state, np.random.get_state())
            np.random.seed(0)
        if "torch" in sys.modules:
            import torch

            stack.callback(torch.set_rng_state, torch.get_rng_state())
            if torch.cuda.is_available():
                stack.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
            torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
        yield
