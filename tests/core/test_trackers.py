"""The progress trackers: what is counted, reset, saved and refused."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping

import pytest
from typing_extensions import Protocol

from tests.core.cores import Core
from typedloops.errors import ConfigurationError, MissingCounterError, StateError

TRACKERS = {
    "ReadyCompleted": ("ready", "completed"),
    "Started": ("ready", "started", "completed"),
    "Processed": ("ready", "started", "processed", "completed"),
}
PROGRESSES = ("Progress", "BatchProgress", "DataLoaderProgress", "SchedulerProgress")


class Counter(Protocol):
    """What every tracker has."""

    ready: int


class Counting(Protocol):
    """What every progress has."""

    @property
    def total(self) -> object: ...
    @property
    def current(self) -> Counter: ...
    def reset(self) -> None: ...
    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state_dict: Mapping[str, object]) -> None: ...


def tracker_class(core: Core, name: str) -> type:
    return {"ReadyCompleted": core.ReadyCompleted, "Started": core.Started, "Processed": core.Processed}[name]


def some_progress(core: Core, name: str) -> Counting:
    """A progress of each class, with every counter and flag away from its default."""
    every: dict[str, Counting] = {
        "Progress": core.Progress(core.Started(4, 3, 2), core.Started(3, 2, 1)),
        "BatchProgress": core.BatchProgress(core.Processed(9, 8, 7, 6), core.Processed(5, 4, 3, 2), is_last_batch=True),
        "DataLoaderProgress": core.DataLoaderProgress(core.ReadyCompleted(3, 2), core.ReadyCompleted(2, 1)),
        "SchedulerProgress": core.SchedulerProgress(core.ReadyCompleted(5, 4), core.ReadyCompleted(3, 2)),
    }
    return every[name]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_starts_at_zero_in_each_of_its_fields(core: Core, name: str) -> None:
    tracker = tracker_class(core, name)()
    assert tracker.fields == TRACKERS[name]
    assert tracker.state_dict() == dict.fromkeys(TRACKERS[name], 0)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_is_built_by_position_in_the_order_of_its_fields(core: Core, name: str) -> None:
    counts = range(11, 11 + len(TRACKERS[name]))
    tracker = tracker_class(core, name)(*counts)
    assert tracker.state_dict() == dict(zip(TRACKERS[name], counts, strict=True))
    assert repr(tracker) == f"{name}({', '.join(f'{k}={v}' for k, v in zip(TRACKERS[name], counts, strict=True))})"


def test_each_tracker_adds_a_counter_to_the_one_before(core: Core) -> None:
    assert issubclass(core.Processed, core.Started)
    assert issubclass(core.Started, core.ReadyCompleted)


@pytest.mark.parametrize("count", [-1, True, 1.0, "1", None, 2**63])
def test_what_is_not_a_count_is_refused_by_the_constructor(core: Core, count: int) -> None:
    with pytest.raises(StateError) as refused:
        core.Started(started=count)
    assert str(refused.value) == (f"Started.started: {count!r} is not a count. Give an int from 0 to 2**63 - 1.")


def test_the_largest_count_is_held_exactly(core: Core) -> None:
    assert core.ReadyCompleted(ready=2**63 - 1).ready == 2**63 - 1


def test_reset_sets_every_counter_to_zero(core: Core) -> None:
    tracker = core.Processed(4, 3, 2, 1)
    tracker.reset()
    assert tracker == core.Processed()


def test_reset_on_restart_goes_back_to_what_is_completed(core: Core) -> None:
    tracker = core.Processed(4, 3, 2, 1)
    tracker.reset_on_restart()
    assert tracker == core.Processed(1, 1, 1, 1)


def test_counters_can_be_counted_up_and_assigned(core: Core) -> None:
    tracker = core.Started()
    tracker.ready += 2
    tracker.started = 7
    assert tracker.state_dict() == {"ready": 2, "started": 7, "completed": 0}


@pytest.mark.parametrize("name", ["Progress", "BatchProgress"])
def test_a_progress_counts_processed_things_by_default(core: Core, name: str) -> None:
    progress = {"Progress": core.Progress, "BatchProgress": core.BatchProgress}[name]()
    assert progress.total == core.Processed()
    assert progress.current == core.Processed()


@pytest.mark.parametrize("name", ["DataLoaderProgress", "SchedulerProgress"])
def test_loaders_and_schedulers_are_only_ready_and_completed(core: Core, name: str) -> None:
    progress = {"DataLoaderProgress": core.DataLoaderProgress, "SchedulerProgress": core.SchedulerProgress}[name]()
    assert type(progress.total) is type(progress.current) is core.ReadyCompleted


def test_every_increment_counts_in_total_and_in_current(core: Core) -> None:
    progress = core.Progress(core.Processed(10, 10, 10, 10))
    progress.increment_ready()
    progress.increment_ready()
    progress.increment_started()
    progress.increment_processed()
    progress.increment_completed()
    assert progress.total == core.Processed(12, 11, 11, 11)
    assert progress.current == core.Processed(2, 1, 1, 1)


def test_total_and_current_are_two_trackers(core: Core) -> None:
    progress = core.Progress()
    progress.total.ready = 3
    assert progress.current.ready == 0


def test_the_tracker_left_out_is_a_new_one_of_the_same_class(core: Core) -> None:
    assert core.Progress(total=core.Started(2, 1, 1)).current == core.Started()
    assert core.Progress(current=core.Started(2, 1, 1)).total == core.Started()


def test_a_subclass_chooses_its_default_tracker(core: Core) -> None:
    progress = type("Downloads", (core.Progress,), {"default_tracker": core.Started})()
    assert progress.total == progress.current == core.Started()


def test_trackers_of_two_classes_are_refused(core: Core) -> None:
    with pytest.raises(ConfigurationError) as refused:
        core.Progress(core.Started(), core.ReadyCompleted())
    assert str(refused.value) == (
        "Progress: total is a Started and current a ReadyCompleted. "
        "Give two trackers of one class: ReadyCompleted, Started or Processed."
    )


def test_what_is_no_tracker_is_refused(core: Core) -> None:
    with pytest.raises(ConfigurationError, match="total is a int and current a int"):
        core.Progress(5, 6)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Progress", "BatchProgress"])
def test_one_tracker_cannot_be_both(core: Core, name: str) -> None:
    tracker = core.Processed()
    kind = {"Progress": core.Progress, "BatchProgress": core.BatchProgress}[name]
    with pytest.raises(ConfigurationError) as refused:
        kind(tracker, tracker)
    assert str(refused.value) == (
        f"{name}: `total` and `current` are one and the same tracker. Give two trackers, or one of them alone."
    )


def test_started_is_not_counted_by_trackers_without_it(core: Core) -> None:
    progress = core.DataLoaderProgress()
    with pytest.raises(MissingCounterError) as refused:
        progress.increment_started()  # type: ignore[misc]
    assert isinstance(refused.value, TypeError)
    assert str(refused.value) == (
        "DataLoaderProgress: its ReadyCompleted trackers have no `started` counter. "
        "Build it from Started or Processed trackers, or do not count `started`."
    )
    assert progress == core.DataLoaderProgress()


def test_processed_is_not_counted_by_trackers_without_it(core: Core) -> None:
    progress = core.Progress(core.Started(1, 1, 1))
    with pytest.raises(MissingCounterError) as refused:
        progress.increment_processed()  # type: ignore[misc]
    assert str(refused.value) == (
        "Progress: its Started trackers have no `processed` counter. "
        "Build it from Processed trackers, or do not count `processed`."
    )
    assert progress.total == core.Started(1, 1, 1)


def test_a_batch_progress_needs_processed_trackers(core: Core) -> None:
    with pytest.raises(MissingCounterError, match="BatchProgress: its Started trackers have no `processed` counter"):
        core.BatchProgress(core.Started(), core.Started())  # type: ignore[arg-type]


def test_a_counter_that_a_tracker_lacks_is_no_attribute_of_it(core: Core) -> None:
    assert not hasattr(core.ReadyCompleted(), "started")
    assert not hasattr(core.Started(), "processed")


def test_reset_is_a_new_beginning(core: Core) -> None:
    progress = core.BatchProgress(core.Processed(9, 9, 9, 9), core.Processed(4, 4, 4, 4), is_last_batch=True)
    progress.reset()
    assert progress == core.BatchProgress()


def test_reset_on_run_keeps_the_total(core: Core) -> None:
    progress = core.BatchProgress(core.Processed(9, 9, 9, 9), core.Processed(4, 4, 4, 4), is_last_batch=True)
    progress.reset_on_run()
    assert progress == core.BatchProgress(core.Processed(9, 9, 9, 9), core.Processed())


def test_reset_on_restart_takes_back_what_was_under_way(core: Core) -> None:
    progress = core.BatchProgress(core.Processed(9, 8, 7, 6), core.Processed(4, 3, 2, 1), is_last_batch=True)
    progress.reset_on_restart()
    assert progress == core.BatchProgress(core.Processed(9, 8, 7, 6), core.Processed(1, 1, 1, 1), is_last_batch=True)


@pytest.mark.parametrize("name", PROGRESSES)
def test_the_state_of_a_progress_is_plain_and_comes_back_equal(core: Core, name: str) -> None:
    saved = some_progress(core, name)
    state = json.loads(json.dumps(saved.state_dict()))
    loaded = copy.deepcopy(saved)
    loaded.reset()
    assert loaded != saved
    total, current = loaded.total, loaded.current
    loaded.load_state_dict(state)
    assert loaded == saved
    assert loaded.total is total
    assert loaded.current is current


def test_the_state_names_both_trackers_and_the_flag(core: Core) -> None:
    progress = core.BatchProgress(core.Processed(4, 3, 2, 1), is_last_batch=True)
    assert progress.state_dict() == {
        "total": {"ready": 4, "started": 3, "processed": 2, "completed": 1},
        "current": {"ready": 0, "started": 0, "processed": 0, "completed": 0},
        "is_last_batch": True,
    }


def test_a_state_is_a_copy(core: Core) -> None:
    progress = core.Progress()
    state = progress.state_dict()
    progress.increment_ready()
    assert state == core.Progress().state_dict()


GOOD = {"ready": 1, "completed": 1}


def exactly(*fields: str) -> str:
    return f"It has exactly {list(fields)}: was it saved by another class or version?"


BAD_STATES: dict[str, tuple[object, str]] = {
    "unknown key": (
        {"total": GOOD, "current": GOOD, "best": GOOD},
        f": the state has unknown keys ['best']. {exactly('total', 'current')}",
    ),
    "missing key": ({"total": GOOD}, f": the state lacks the keys ['current']. {exactly('total', 'current')}"),
    "no mapping": ([GOOD], f": its state is a mapping, got {[GOOD]!r}. Load what `state_dict()` returned."),
    "unknown counter": (
        {"total": GOOD, "current": {**GOOD, "started": 1}},
        f".current: the state has unknown keys ['started']. {exactly('ready', 'completed')}",
    ),
    "missing counter": (
        {"total": GOOD, "current": {"ready": 1}},
        f".current: the state lacks the keys ['completed']. {exactly('ready', 'completed')}",
    ),
    "no mapping of counters": (
        {"total": GOOD, "current": 3},
        ".current: its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
    "no count": (
        {"total": GOOD, "current": {"ready": 1, "completed": "many"}},
        ".current.completed: 'many' is not a count. Give an int from 0 to 2**63 - 1.",
    ),
    "negative count": (
        {"total": GOOD, "current": {"ready": -1, "completed": 0}},
        ".current.ready: -1 is not a count. Give an int from 0 to 2**63 - 1.",
    ),
    "too large a count": (
        {"total": GOOD, "current": {"ready": 2**63, "completed": 0}},
        f".current.ready: {2**63} is not a count. Give an int from 0 to 2**63 - 1.",
    ),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(core: Core, case: str) -> None:
    state, message = BAD_STATES[case]
    progress = core.DataLoaderProgress(core.ReadyCompleted(7, 6), core.ReadyCompleted(5, 4))
    with pytest.raises(StateError) as refused:
        progress.load_state_dict(state)  # type: ignore[arg-type]
    assert str(refused.value) == f"DataLoaderProgress{message}"
    assert progress == core.DataLoaderProgress(core.ReadyCompleted(7, 6), core.ReadyCompleted(5, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_last_batch": 1}, ".is_last_batch: 1 is not a bool. Give True or False."),
        (
            {"total": {"ready": 0}},
            ".total: the state lacks the keys ['completed', 'processed', 'started']. "
            + exactly("ready", "started", "processed", "completed"),
        ),
        ({"last": True}, f": the state has unknown keys ['last']. {exactly('total', 'current', 'is_last_batch')}"),
    ],
)
def test_a_batch_progress_refuses_what_does_not_fit(core: Core, change: Mapping[str, object], message: str) -> None:
    progress = core.BatchProgress(core.Processed(4, 3, 2, 1))
    with pytest.raises(StateError) as refused:
        progress.load_state_dict({**core.BatchProgress(is_last_batch=True).state_dict(), **change})
    assert str(refused.value) == f"BatchProgress{message}"
    assert progress == core.BatchProgress(core.Processed(4, 3, 2, 1))


def test_a_tracker_refuses_a_bad_counter_and_keeps_the_good_ones(core: Core) -> None:
    tracker = core.Started(3, 2, 1)
    with pytest.raises(StateError, match=r"Started\.completed: -4 is not a count"):
        tracker.load_state_dict({"ready": 9, "started": 9, "completed": -4})
    assert tracker == core.Started(3, 2, 1)


@pytest.mark.parametrize("name", PROGRESSES)
def test_a_progress_equals_another_of_its_class_with_its_counts(core: Core, name: str) -> None:
    one, other = some_progress(core, name), some_progress(core, name)
    assert one == other
    other.current.ready += 1
    assert one != other


def test_classes_are_compared_as_well(core: Core) -> None:
    assert core.ReadyCompleted(1, 1) != core.Started(1, 1, 1)
    assert core.DataLoaderProgress() != core.SchedulerProgress()
    assert core.Progress(core.Started()) != core.Progress(core.ReadyCompleted())
    assert core.Progress() != core.Progress().state_dict()
    assert core.ReadyCompleted() != {"ready": 0, "completed": 0}


def test_a_batch_progress_is_compared_by_its_flag_too(core: Core) -> None:
    assert core.BatchProgress(is_last_batch=True) != core.BatchProgress()


@pytest.mark.parametrize("name", [*TRACKERS, *PROGRESSES])
def test_what_counts_cannot_be_hashed(core: Core, name: str) -> None:
    counting = tracker_class(core, name)() if name in TRACKERS else some_progress(core, name)
    with pytest.raises(TypeError, match="unhashable"):
        hash(counting)


def test_a_progress_shows_its_counts(core: Core) -> None:
    assert repr(core.DataLoaderProgress(core.ReadyCompleted(2, 1))) == (
        "DataLoaderProgress(total=ReadyCompleted(ready=2, completed=1), current=ReadyCompleted(ready=0, completed=0))"
    )
    assert repr(core.BatchProgress(is_last_batch=True)).endswith("completed=0), is_last_batch=True)")


@pytest.mark.parametrize("name", [*TRACKERS, *PROGRESSES])
@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_copy_is_equal_and_independent(core: Core, name: str, way: str) -> None:
    original: Counting = tracker_class(core, name)(5, 2) if name in TRACKERS else some_progress(core, name)
    copied: Counting = copy.deepcopy(original) if way == "deepcopy" else pickle.loads(pickle.dumps(original))
    assert copied == original
    copied.reset()
    assert copied != original


class Named:
    """The part of a progress of one's own that is the same on both cores: it forgets `super().__init__`."""

    note = "none"

    def __init__(self, note: str) -> None:
        self.note = note


def named(core: Core) -> type:
    return type("NamedProgress", (Named, core.Progress), {"__module__": __name__})


def test_a_progress_that_forgets_its_base_still_counts(core: Core) -> None:
    progress = named(core)("mine")
    progress.increment_processed()
    assert progress.total == progress.current == core.Processed(processed=1)
    assert progress.note == "mine"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_forgets_its_base_starts_at_zero(core: Core, name: str) -> None:
    tracker = type("NamedTracker", (Named, tracker_class(core, name)), {})("mine")
    assert tracker.state_dict() == dict.fromkeys(TRACKERS[name], 0)


def test_a_batch_progress_that_forgets_its_base_has_no_last_batch(core: Core) -> None:
    progress = type("NamedBatches", (Named, core.BatchProgress), {})("mine")
    assert progress.state_dict() == core.BatchProgress().state_dict()


def test_a_progress_of_ones_own_is_deep_copied_with_what_it_holds(core: Core) -> None:
    progress = named(core)("mine")
    progress.increment_ready()
    copied = copy.deepcopy(progress)
    assert copied == progress
    assert copied.note == "mine"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_of_ones_own_is_deep_copied_with_what_it_holds(core: Core, name: str) -> None:
    tracker = type("NamedTracker", (Named, tracker_class(core, name)), {})("mine")
    tracker.ready = 3
    copied = copy.deepcopy(tracker)
    assert copied == tracker
    assert copied.note == "mine"


def test_trackers_of_two_classes_with_the_same_counters_are_not_equal(core: Core) -> None:
    retries = type("Retries", (core.ReadyCompleted,), {})
    assert core.Progress(core.ReadyCompleted(1, 1)) != core.Progress(retries(1, 1))


def test_the_type_parameter_can_be_written(core: Core) -> None:
    assert core.Progress[core.Started].__origin__ is core.Progress
