"""The public conformance suite: it passes loops that keep the contract, and finds each way to break it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from typedloops import Loop, LoopProtocol, Progress, ReadyCompleted, Slot, SlotList, TrainerView
from typedloops.protocols.loop import AnyLoop
from typedloops.testing import LoopContractError, check_loop_contract


class Good(Loop[[int], int]):
    """Counts down from its input, fused, and saves how far it came."""

    state_fields: ClassVar[tuple[str, ...]] = ("left", "progress")

    def __init__(self) -> None:
        self.left = 0
        self.progress: Progress[ReadyCompleted] = Progress(ReadyCompleted())

    @property
    def done(self) -> bool:
        return self.left <= 0

    def reset(self) -> None:
        self.progress.reset_on_run()

    def on_run_start(self, start: int) -> None:
        self.left = start

    def advance(self, start: int) -> None:
        self.progress.increment_ready()
        self.left -= 1
        self.progress.increment_completed()

    def advance_all(self, start: int) -> None:
        while self.left > 0:
            self.advance(start)

    def on_run_end(self) -> int:
        return self.progress.current.completed


class Parent(Loop[[int], int]):
    """Runs its children."""

    first: Slot[LoopProtocol[[int], int]] = Slot()
    others: SlotList[LoopProtocol[[int], int]] = SlotList()
    done = False

    def __init__(self, *children: LoopProtocol[[int], int]) -> None:
        self.first, *self.others = children or (Good(), Good())

    def reset(self) -> None:
        self.done = False
        self.total = 0

    def advance(self, start: int) -> None:
        self.total = sum(loop.run(start) for loop in (self.first, *self.others))
        self.done = True

    def on_run_end(self) -> int:
        return self.total


class GoodForeign:
    """Keeps the contract without a base class."""

    done = False

    def reset(self) -> None:
        self.done = False

    def advance(self, start: int) -> None:
        self.done = True

    def run(self, start: int) -> int:
        try:
            self.reset()
            while not self.done:
                self.advance(start)
        except StopIteration as stop:
            raise RuntimeError("a StopIteration escaped") from stop
        return start


class Shuffling(Good):
    """Its result is random, by a global generator."""

    def on_run_end(self) -> int:
        return random.getrandbits(64)


class EndsItself(Good):
    """Ends with `StopIteration`."""

    def advance(self, start: int) -> None:
        super().advance(start)
        raise StopIteration


class Consuming(Loop[[list[int]], list[int]]):
    """Takes its input apart."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    @property
    def done(self) -> bool:
        return bool(self.taken)

    def reset(self) -> None:
        self.taken = []

    def advance(self, items: list[int]) -> None:
        self.taken = [items.pop() for _ in range(len(items))]

    def on_run_end(self) -> list[int]:
        return self.taken


class Skipped(Good):
    """Is never run."""

    @property
    def skip(self) -> bool:
        return True

    def on_skip(self) -> int:
        return -1


class KeepsTensors(Good):
    """Saves weights, which a checkpoint can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.zeros(2, 2)
        self.steps = torch.tensor([0])

    def reset(self) -> None:
        super().reset()
        self.weights, self.steps = torch.zeros(2, 2), torch.tensor([0])

    def advance(self, start: int) -> None:
        super().advance(start)
        self.weights, self.steps = self.weights + 0.1, self.steps + 1

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"weights": self.weights, "steps": [self.steps]}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        (self.steps,) = cast("list[Tensor]", state["steps"])
        self.weights = cast("Tensor", state["weights"])


GOOD: dict[str, Callable[[], LoopProtocol[[int], int]]] = {
    "fused": Good,
    "a tree": Parent,
    "a tree with a foreign loop": lambda: Parent(Good(), GoodForeign()),
    "foreign": GoodForeign,
    "random": Shuffling,
    "tensors in its state": KeepsTensors,
    "ended by StopIteration": EndsItself,
    "skipped": Skipped,
}


@pytest.mark.parametrize("case", GOOD)
def test_loops_that_keep_the_contract_pass(case: str) -> None:
    check_loop_contract(GOOD[case], 3)


def test_inputs_are_given_anew_to_each_run_and_left_alone() -> None:
    items = [1, 2]
    check_loop_contract(Consuming, items)
    check_loop_contract(Consuming, items=items)
    assert items == [1, 2]


def test_the_random_numbers_outside_go_on_as_they_would_have() -> None:
    random.seed(5)
    expected = [random.random(), random.random()]
    random.seed(5)
    first = random.random()
    check_loop_contract(Shuffling, 1)
    assert [first, random.random()] == expected


def test_an_error_of_the_loop_itself_comes_through() -> None:
    class Failing(Good):
        def on_run_start(self, start: int) -> None:
            raise KeyError("no such start")

    with pytest.raises(KeyError, match="no such start"):
        check_loop_contract(Failing, 3)


class NoAdvance:
    """Lacks a part of the shape."""

    done = True

    def reset(self) -> None: ...

    def run(self, start: int) -> int:
        return start


class ImpureDone(Good):
    """Counts how often it was asked, and saves that."""

    state_fields: ClassVar[tuple[str, ...]] = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    @property
    def done(self) -> bool:
        self.asked += 1
        return super().done


class AlternatingDone(Good):
    """Goes on when it is asked twice."""

    def on_run_start(self, start: int) -> None:
        super().on_run_start(start)
        self.answers = iter([False] * 2 + [True, False] * 50)

    @property
    def done(self) -> bool:
        return next(self.answers) if "answers" in vars(self) else True


class ImpureTrackerInDone(Good):
    """Counts in a tracker when it is asked."""

    @property
    def done(self) -> bool:
        self.progress.increment_ready()
        return super().done


class ImpureSkip(Good):
    """Moves on when it is asked whether to skip."""

    @property
    def skip(self) -> bool:
        self.left += 1
        return False


class LeaksStops(Good):
    """Looks for the first of nothing after its run."""

    def run(self, start: int) -> int:
        super().run(start)
        return next(number for number in [1] if number > start)


class PassesStopsOn(Good):
    """Drives itself, and lets through what its methods raise."""

    def run(self, start: int) -> int:
        self.reset()
        self.on_run_start(start)
        while not self.done:
            self.advance(start)
        return self.on_run_end()


class ForeignThatLeaks(GoodForeign):
    """A foreign loop that lets through what its methods raise."""

    def run(self, start: int) -> int:
        self.reset()
        while not self.done:
            self.advance(start)
        return start


class Accumulating(Good):
    """Never forgets."""

    results: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def advance_all(self, start: int) -> None:
        super().advance_all(start)
        self.seen.append(start)

    def on_run_end(self) -> int:
        return len(self.seen)


class AccumulatingInPlace(Loop[[int], list[int]]):
    """Gives out the very list that it never clears."""

    done = False

    def __init__(self) -> None:
        self.seen: list[int] = []

    def reset(self) -> None:
        self.done = False

    def advance(self, start: int) -> None:
        self.seen.append(start)
        self.done = True

    def on_run_end(self) -> list[int]:
        return self.seen


class FusedOtherResult(Good):
    """Fuses to another result."""

    def advance_all(self, start: int) -> None:
        self.left = 0


class FusedOtherState(Good):
    """Fuses to the same result and another state."""

    def advance_all(self, start: int) -> None:
        super().advance_all(start)
        self.left = -1


class FusedOtherInputs(Consuming):
    """Fuses and leaves its input alone."""

    def advance_all(self, items: list[int]) -> None:
        self.taken = items[::-1]


class LosesTensors(KeepsTensors):
    """Takes something else back."""

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        super().on_load_checkpoint(state)
        self.weights = self.weights + 1


class UnplainState(Good):
    """Saves what JSON has not."""

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"keys": {1, 2}}


class LosesState(Good):
    """Does not take back what it saves."""

    def __init__(self) -> None:
        super().__init__()
        self.by_hand = 0

    def advance(self, start: int) -> None:
        super().advance(start)
        self.by_hand += 1

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"by_hand": self.by_hand}


class LosesStateOnTheWay(Good):
    """Saves something that it cannot load, but only while it runs."""

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"on the way": True} if self.left else {}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        if state:
            raise ValueError("not now")


class FieldMissing(Good):
    """Declares what it only has after a run."""

    state_fields: ClassVar[tuple[str, ...]] = ("best",)

    def on_run_end(self) -> int:
        self.best = 1
        return super().on_run_end()


class NotRestarting(Good):
    """Forgets that it was loaded."""

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        super().load_state_dict(state_dict)
        self.restarting = False


class AlwaysRestarting(Good):
    """Never gets over it."""

    def on_run_end(self) -> int:
        self.restarting = True
        return super().on_run_end()


class Unpicklable(Good):
    """Holds something that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = (line for line in "x")


class LosesInCopies(Good):
    """Leaves behind what its runs do not build anew."""

    transient_fields: ClassVar[tuple[str, ...]] = ("factor",)
    factor = 1

    def __init__(self) -> None:
        super().__init__()
        self.factor = 2

    def on_run_end(self) -> int:
        return self.factor * super().on_run_end()


class LosesStateInCopies(Good):
    """Leaves behind its state."""

    transient_fields: ClassVar[tuple[str, ...]] = ("ran",)
    state_fields: ClassVar[tuple[str, ...]] = ("ran",)
    ran = 0

    def on_run_end(self) -> int:
        self.ran = 1
        return super().on_run_end()


class LosesFieldInCopies(Good):
    """Leaves behind what it saves."""

    transient_fields: ClassVar[tuple[str, ...]] = ("progress",)

    def reset(self) -> None:
        self.progress: Progress[ReadyCompleted] = Progress(ReadyCompleted())


class SharesWithCopies(Good):
    """Copies share what they count with."""

    def __deepcopy__(self, memo: dict[int, object]) -> SharesWithCopies:
        twin = type(self)()
        vars(twin).update(vars(self))
        return twin


class HoldsChild(Good):
    """Holds a loop in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Good()


class HoldsChildren(Good):
    """Holds loops in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.folds = {"a": Good()}


class OwnPath(Good):
    """Has its own idea of its place."""

    path = "elsewhere"


class OwnTrainer(Good):
    """Has its own idea of its trainer."""

    trainer = cast("TrainerView", object())


class AttachesAnyway(Good):
    """Lets itself be attached as a child."""

    def attach(self, trainer: TrainerView, name: str) -> None: ...


class KeepsChildren(Parent):
    """Does not let go of its children."""

    def release(self, loop: AnyLoop) -> None: ...


SHAPE = "it has the shape of a loop"
CHILDREN = "every child is in a slot and knows its place"
PURE = "reading `done` and `skip` changes nothing"
STOPS = "no StopIteration leaves a run"
AGAIN = "a second run gives the same result"
FUSED = "`advance_all` does what the iterations do"
STATE = "its state can be saved and loaded"
COPIES = "a copy is as good as the original"

BROKEN: dict[type, tuple[str, str]] = {
    NoAdvance: (SHAPE, "it lacks advance. Define that, or subclass typedloops.Loop."),
    HoldsChild: (CHILDREN, "its attribute `inner` holds a Good that is in no slot. Declare `inner` as a Slot"),
    HoldsChildren: (CHILDREN, "its attribute `folds` holds a Good that is in no slot. Declare `folds` as a Slot"),
    OwnPath: (CHILDREN, "it is '' of a OwnPath, and says 'elsewhere' of a OwnPath. Leave `root`, `path`"),
    OwnTrainer: (CHILDREN, "it has not the trainer of its tree. Leave `trainer` as it is."),
    KeepsChildren: (CHILDREN, "`first` keeps the child that is taken out. Leave `release` as it is."),
    ImpureDone: (PURE, "reading `done` changes `asked`, its state. Move what `done` changes into `advance`"),
    AlternatingDone: (PURE, "read twice, `done` is False and then True. Move what `done` changes into `advance`"),
    ImpureTrackerInDone: (PURE, "reading `done` changes its state. Move what `done` changes into `advance`"),
    ImpureSkip: (PURE, "reading `skip` changes `left`, its state. Move what `skip` changes into `advance`"),
    LeaksStops: (STOPS, "its `run` let a StopIteration out. Let `typedloops.Loop.run` drive the loop"),
    PassesStopsOn: (STOPS, "a StopIteration that `done` raises leaves `run`. Let `typedloops.Loop.run` drive"),
    ForeignThatLeaks: (STOPS, "a StopIteration that `reset` raises leaves `run`. Let `typedloops.Loop.run` drive"),
    Accumulating: (AGAIN, "it gave 1, and then 2. Set back in `reset` what a run changes."),
    AccumulatingInPlace: (AGAIN, "it gave [3], and then [3, 3]. Set back in `reset`"),
    FusedOtherResult: (FUSED, "with it, the result is 0, step by step 3. Let `advance_all` do what `done`"),
    FusedOtherState: (FUSED, "with it, the state is"),
    UnplainState: (STATE, "saving it as JSON fails with TypeError: Object of type set is not JSON serializable. "),
    FieldMissing: (STATE, "saving it as JSON fails with StateError: FieldMissing.best at '.': it is declared in"),
    LosesTensors: (STATE, "Take in `on_load_checkpoint` what `on_save_checkpoint` gives."),
    LosesState: (STATE, "Take in `on_load_checkpoint` what `on_save_checkpoint` gives."),
    LosesStateOnTheWay: (STATE, "fails with ValueError: not now. Declare plain values that are there"),
    NotRestarting: (STATE, "it is not `restarting` when it is loaded. Leave `load_state_dict` as it is."),
    AlwaysRestarting: (STATE, "it is still `restarting` after a run. Let `typedloops.Loop.run` drive the loop."),
    Unpicklable: (COPIES, "pickle fails with TypeError: cannot pickle 'generator' object. Name what cannot be copied"),
    LosesInCopies: (COPIES, "its copy by pickle gives another result, 3. Name in `transient_fields` only"),
    LosesStateInCopies: (COPIES, "a copy by pickle has another tree or state. Name in `transient_fields` only"),
    LosesFieldInCopies: (COPIES, "a copy by pickle has another tree or state. Name in `transient_fields` only"),
    SharesWithCopies: (COPIES, "running its copy by copy.deepcopy changes the original. Name in"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_loop_that_breaks_a_rule_is_told_which_how_and_what_to_do(broken: type) -> None:
    rule, told = BROKEN[broken]
    with pytest.raises(LoopContractError) as breach:
        check_loop_contract(broken, 3)
    assert breach.value.loop == broken.__name__
    assert breach.value.rule == rule
    assert told in str(breach.value)
    assert str(breach.value).startswith(f"{broken.__name__} breaks the rule that {rule}: ")
    assert isinstance(breach.value, AssertionError)


def test_a_child_that_breaks_a_rule_is_named_itself() -> None:
    with pytest.raises(LoopContractError) as breach:
        check_loop_contract(lambda: Parent(Good(), ImpureDone()), 3)
    assert breach.value.loop == "ImpureDone"


def test_a_loop_that_is_attached_to_a_trainer_is_to_be_built_alone() -> None:
    def attached() -> Good:
        loop = Good()
        loop.attach(cast("TrainerView", object()), "fit_loop")
        return loop

    with pytest.raises(
        LoopContractError, match=r"it is attached to a trainer already\. Give what builds the loop alone"
    ):
        check_loop_contract(attached, 3)


def test_a_child_that_can_be_attached_by_itself_is_found() -> None:
    with pytest.raises(LoopContractError, match=r"^AttachesAnyway .* it can be attached although it is a child"):
        check_loop_contract(lambda: Parent(AttachesAnyway()), 3)


def test_a_fused_loop_that_leaves_its_inputs_otherwise_is_found() -> None:
    with pytest.raises(LoopContractError, match="with it, the inputs afterwards is"):
        check_loop_contract(FusedOtherInputs, [1, 2])


class Knot:
    """Contains itself."""

    def __init__(self, number: float) -> None:
        self.number = number
        self.own = [self]


class Returning(Loop[[], object]):
    """Returns something else in the second run than in the first, or not."""

    runs = 0
    done = True

    def __init__(self, results: Callable[[int], object]) -> None:
        self.results = results

    def advance(self) -> None: ...

    def on_run_end(self) -> object:
        self.runs += 1
        return self.results(self.runs)


RESULTS: dict[str, Callable[[int], object]] = {
    "tensor": lambda run: torch.tensor([1.0, run]),
    "tensor with a gradient": lambda run: torch.ones(2, requires_grad=True) * run,
    "array": lambda run: np.array([run]),
    "object": lambda run: Knot(run),
    "nested": lambda run: {"a": [(1, {2: Knot(run)})]},
    "set": lambda run: {run},
    "module": lambda run: with_weight(torch.nn.Linear(1, 1), run),
}


def with_weight(module: torch.nn.Linear, weight: float) -> torch.nn.Linear:
    torch.nn.init.constant_(module.weight, weight)
    torch.nn.init.zeros_(module.bias)
    return module


@pytest.mark.parametrize("kind", RESULTS)
def test_results_of_every_kind_are_told_apart(kind: str) -> None:
    with pytest.raises(LoopContractError, match="a second run gives the same result"):
        check_loop_contract(lambda: Returning(lambda run: RESULTS[kind](min(run, 2))))


@pytest.mark.parametrize("kind", RESULTS)
def test_results_of_every_kind_are_known_to_be_equal(kind: str) -> None:
    with pytest.raises(LoopContractError, match="pickle fails"):
        check_loop_contract(lambda: Returning(lambda run: RESULTS[kind](1)))


def test_not_a_number_is_the_same_as_itself() -> None:
    with pytest.raises(LoopContractError, match="pickle fails"):
        check_loop_contract(lambda: Returning(lambda run: [float("nan"), torch.tensor(float("nan"))]))


def test_one_loop_for_all_runs_is_refused() -> None:
    loop = Good()
    with pytest.raises(LoopContractError, match="the same loop was given twice"):
        check_loop_contract(lambda: loop, 3)


def test_a_loop_whose_class_cannot_be_imported_is_refused() -> None:
    class Local(Good):
        pass

    with pytest.raises(LoopContractError, match=r"pickle fails with .*pickle asks for classes that can be imported"):
        check_loop_contract(Local, 3)


def test_a_contract_error_can_be_copied() -> None:
    error = LoopContractError("Good", SHAPE, "it is bad", "Mend it.")
    assert str(copy.copy(error)) == "Good breaks the rule that it has the shape of a loop: it is bad. Mend it."
