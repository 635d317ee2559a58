"""Whatever is done to a progress, both cores answer alike."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import Protocol, TypeAlias

from tests.core.cores import Core

COUNTS = st.integers(0, 2**40)
NOT_COUNTS = st.sampled_from([-1, True, None, "3", 1.5, 2**63])
FIELDS = ("ready", "started", "processed", "completed")
TRACKER_FIELDS = {"ReadyCompleted": 2, "Started": 3, "Processed": 4}
PROGRESSES = ("BatchProgress", "Progress", "DataLoaderProgress", "SchedulerProgress")


class AnyProgress(Protocol):
    """What the operations below ask of a progress; some counters may be missing."""

    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state_dict: Mapping[str, object]) -> None: ...


Operation: TypeAlias = "tuple[str, object]"


@dataclass(frozen=True)
class Plan:
    """A progress to build, and what to do to it."""

    progress: str
    trackers: tuple[str, str]
    counts: tuple[int, ...]
    operations: tuple[Operation, ...]


def states() -> st.SearchStrategy[object]:
    """States of a progress, about half of which fit one."""
    count = st.one_of(COUNTS, NOT_COUNTS)
    trackers = st.one_of(
        *(
            st.fixed_dictionaries(dict.fromkeys(fields, COUNTS))
            for fields in (("ready", "completed"), ("ready", "started", "completed"), FIELDS)
        ),
        st.dictionaries(st.sampled_from([*FIELDS, "best"]), count),
        st.sampled_from([None, 3, []]),
    )
    return st.one_of(
        st.fixed_dictionaries({"total": trackers, "current": trackers}),
        st.fixed_dictionaries({"total": trackers, "current": trackers, "is_last_batch": st.booleans()}),
        st.dictionaries(st.sampled_from(["total", "current", "is_last_batch", "best"]), trackers),
        st.sampled_from([None, 3, []]),
    )


def operations() -> st.SearchStrategy[Operation]:
    plain = (
        *(f"increment_{name}" for name in FIELDS),
        *("reset", "reset_on_run", "reset_on_restart", "repr", "copy", "pickle", "reload"),
    )
    return st.one_of(
        st.tuples(st.sampled_from(plain), st.none()),
        st.tuples(st.sampled_from(plain), st.none()),
        st.tuples(st.just("load"), states()),
        st.tuples(st.sampled_from([f"total.{name}" for name in FIELDS]), COUNTS),
        st.tuples(st.sampled_from([f"current.{name}" for name in FIELDS]), COUNTS),
        st.tuples(st.just("is_last_batch"), st.booleans()),
    )


def plans() -> st.SearchStrategy[Plan]:
    tracker = st.sampled_from(sorted(TRACKER_FIELDS))
    fitting = st.one_of(
        st.tuples(st.just("BatchProgress"), st.just(("Processed", "Processed"))),
        st.tuples(st.sampled_from(PROGRESSES[1:]), tracker.map(lambda name: (name, name))),
    )
    anyhow = st.tuples(st.sampled_from(PROGRESSES), st.tuples(tracker, tracker))
    return st.builds(
        lambda parts, counts, operations: Plan(parts[0], parts[1], tuple(counts), tuple(operations)),
        parts=st.one_of(fitting, fitting, anyhow),
        counts=st.lists(COUNTS, min_size=4, max_size=4),
        operations=st.lists(operations(), max_size=12),
    )


def told(action: Callable[[], object]) -> str:
    """What came of it, in a form that is the same for both cores."""
    try:
        return repr(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def build(core: Core, plan: Plan) -> AnyProgress:
    total, current = (getattr(core, name)(*plan.counts[: TRACKER_FIELDS[name]]) for name in plan.trackers)
    progress: AnyProgress = getattr(core, plan.progress)(total, current)
    return progress


def perform(progress: AnyProgress, operation: Operation) -> AnyProgress:
    """The progress to go on with."""
    name, value = operation
    if name == "copy":
        return copy.deepcopy(progress)
    if name == "pickle":
        unpickled: AnyProgress = pickle.loads(pickle.dumps(progress))
        return unpickled
    if name == "load":
        progress.load_state_dict(value)  # type: ignore[arg-type]  # some states are not even mappings
    elif name == "reload":
        progress.load_state_dict(progress.state_dict())
    elif name == "is_last_batch" or "." in name:
        assign(progress, name, value)
    elif name != "repr":
        getattr(progress, name)()
    return progress


def assign(progress: AnyProgress, name: str, value: object) -> None:
    tracker, _, field = name.rpartition(".")
    owner = getattr(progress, tracker) if tracker else progress
    if hasattr(owner, field):
        setattr(owner, field, value)


def history(core: Core, plan: Plan) -> list[str]:
    seen = [told(lambda: build(core, plan))]
    if "Error" in seen[0]:
        return seen
    progress, twin = build(core, plan), build(core, plan)
    for operation in plan.operations:
        try:
            progress = perform(progress, operation)
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
        seen += [repr(progress), repr(progress.state_dict()), repr(progress == twin), repr(progress != twin)]
    return seen


@settings(deadline=None, max_examples=300)
@given(plan=plans())
def test_both_cores_have_the_same_history(cores: tuple[Core, Core], plan: Plan) -> None:
    compiled, reference = cores
    assert history(compiled, plan) == history(reference, plan)


@settings(deadline=None, max_examples=100)
@given(plan=plans(), later=st.lists(operations(), max_size=6))
def test_a_copy_goes_on_as_the_original_would(core: Core, plan: Plan, later: list[Operation]) -> None:
    if "Error" in told(lambda: build(core, plan)):
        return
    plan = Plan(plan.progress, plan.trackers, plan.counts, tuple(later))
    continued = history(core, plan)
    for way in ("copy", "pickle", "reload"):
        copied_first = Plan(plan.progress, plan.trackers, plan.counts, ((way, None), *later))
        assert history(core, copied_first)[5:] == continued[1:]
