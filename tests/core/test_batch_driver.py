"""`BatchDriver`: the order around a step, counters, the last batch, and why it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest

from tests.core.cores import Core
from typedloops._core.calls import AnyCallable
from typedloops._core.status import BatchStatus
from typedloops.errors import ConfigurationError, EscapedStopIteration, LoaderError


class Source:
    """Gives batches and counts how often it is asked for one."""

    def __init__(self, items: Iterable[int | None]) -> None:
        self.items = iter(items)
        self.asked = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.asked += 1
        return next(self.items)  # type: ignore[return-value]  # None is what some tests are about


def doubled(batch: int, batch_idx: int) -> int:
    return 2 * batch


def nothing(*_: object) -> None: ...


def test_a_batch_goes_through_everything_in_order(core: Core) -> None:
    seen: list[tuple[object, ...]] = []
    outputs: list[int] = []
    progress = core.BatchProgress()

    def noted(name: str) -> AnyCallable[None]:
        return lambda *args: seen.append((name, *args, *progress.current.state_dict().values()))

    def transform(batch: int) -> int:
        noted("transform")(batch)
        return batch + 1

    def step(batch: int, batch_idx: int) -> int:
        noted("step")(batch, batch_idx)
        return 10 * batch

    driver = core.BatchDriver(
        [5],
        step,
        progress,
        core.StopFlag(),
        source="loader",
        transform=transform,
        before=[noted("before"), noted("before too")],
        gate=noted("gate"),
        outputs=outputs,
        consume=noted("consume"),
        after_step=noted("after_step"),
        after=[noted("after"), noted("after too")],
    )
    driver.run()
    assert seen == [
        # What is called, with what, and the batches ready, started, processed and completed by then.
        ("transform", 5, 0, 0, 0, 0),
        ("before", 6, 0, 1, 0, 0, 0),
        ("before too", 6, 0, 1, 0, 0, 0),
        ("gate", 6, 0, 1, 0, 0, 0),
        ("step", 6, 0, 1, 1, 0, 0),
        ("consume", 60, 6, 0, 1, 1, 1, 0),
        ("after_step", 1, 1, 1, 0),
        ("after", 60, 6, 0, 1, 1, 1, 0),
        ("after too", 60, 6, 0, 1, 1, 1, 0),
    ]
    assert outputs == [60]
    assert driver.last_output == 60
    assert progress.current == core.Processed(1, 1, 1, 1)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_all_batches_are_counted_and_numbered(core: Core, count: int) -> None:
    progress = core.BatchProgress()
    numbers: list[int] = []
    driver = core.BatchDriver(
        range(count), lambda batch, batch_idx: numbers.append(batch_idx), progress, core.StopFlag(), source="loader"
    )
    statuses = [driver.status, driver.run(), driver.status]
    assert statuses == [BatchStatus.RUNNING, BatchStatus.EXHAUSTED, BatchStatus.EXHAUSTED]
    assert numbers == list(range(count))
    assert progress.total == progress.current == core.Processed(count, count, count, count)


def test_some_batches_at_a_call(core: Core) -> None:
    outputs: list[int] = []
    driver = core.BatchDriver(
        range(5), doubled, core.BatchProgress(), core.StopFlag(), source="loader", length=5, outputs=outputs
    )
    assert driver.run(0) is BatchStatus.RUNNING
    assert outputs == []
    assert driver.run(2) is BatchStatus.RUNNING
    assert outputs == [0, 2]
    assert driver.run(1) is BatchStatus.RUNNING
    assert driver.run(9) is BatchStatus.EXHAUSTED
    assert outputs == [0, 2, 4, 6, 8]


def test_a_driver_that_has_ended_stays_so(core: Core) -> None:
    source = Source([1])
    driver = core.BatchDriver(source, doubled, core.BatchProgress(), core.StopFlag(), source="loader", length=1)
    driver.run()
    asked = source.asked
    assert driver.run() is BatchStatus.EXHAUSTED
    assert source.asked == asked


def test_it_goes_on_numbering_from_the_batches_that_were_ready(core: Core) -> None:
    progress = core.BatchProgress(core.Processed(9, 9, 9, 9), core.Processed(ready=2, started=2, processed=1))
    numbers: list[int] = []
    driver = core.BatchDriver(
        "ab", lambda batch, batch_idx: numbers.append(batch_idx), progress, core.StopFlag(), source="loader", limit=4
    )
    assert driver.run() is BatchStatus.LIMIT
    assert numbers == [2, 3]
    assert progress.total == core.Processed(11, 11, 11, 11)


LAST: dict[str, tuple[int, int | None, int | None, list[bool]]] = {
    # How many batches there are, the length the loader says it has, the limit, and which were said to be the last.
    "sized": (3, 3, None, [False, False, True]),
    "sized, one batch": (1, 1, None, [True]),
    "unsized": (3, None, None, [False, False, True]),
    "unsized, one batch": (1, None, None, [True]),
    "limited": (3, 3, 2, [False, True]),
    "limit above the length": (3, 3, 9, [False, False, True]),
    "unsized, limited": (3, None, 2, [False, True]),
    "unsized, shorter than the limit": (2, None, 9, [False, True]),
    "longer than it says": (3, 2, None, [False, True, True]),
    "much longer than it says": (4, 2, None, [False, True, False, True]),
    "longer than it says, limited": (9, 2, 4, [False, True, False, True]),
    "shorter than it says": (2, 3, None, [False, False]),
}


@pytest.mark.parametrize("case", LAST)
def test_the_last_batch_is_said_to_be_it(core: Core, case: str) -> None:
    count, length, limit, expected = LAST[case]
    progress = core.BatchProgress()
    told: list[bool] = []
    driver = core.BatchDriver(
        range(count),
        lambda batch, batch_idx: told.append(progress.is_last_batch),
        progress,
        core.StopFlag(),
        source="loader",
        length=length,
        limit=limit,
    )
    driver.run()
    assert told == expected


ASKED: dict[str, tuple[int | None, int | None, list[int]]] = {
    # The length the loader says it has, the limit, and how often it was asked by the time of each step.
    "sized": (3, None, [1, 2, 3]),
    "unsized": (None, None, [2, 3, 4]),
    "sized, limited": (3, 2, [1, 2]),
    "unsized, limited": (None, 2, [2, 2]),
    "said to be empty": (0, None, [2, 3, 4]),
}


@pytest.mark.parametrize("case", ASKED)
@pytest.mark.parametrize("count", [1, -1])
def test_only_a_loader_without_a_length_is_asked_for_one_batch_ahead(core: Core, case: str, count: int) -> None:
    length, limit, expected = ASKED[case]
    source, asked = Source([1, 2, 3]), list[int]()
    driver = core.BatchDriver(
        source,
        lambda batch, batch_idx: asked.append(source.asked),
        core.BatchProgress(),
        core.StopFlag(),
        source="loader",
        length=length,
        limit=limit,
    )
    while driver.run(count) is BatchStatus.RUNNING:
        pass
    assert asked == expected


def test_no_batch_is_fetched_beyond_the_limit(core: Core) -> None:
    source = Source([1, 2, 3])
    driver = core.BatchDriver(source, doubled, core.BatchProgress(), core.StopFlag(), source="loader", limit=2)
    assert driver.run() is BatchStatus.LIMIT
    assert source.asked == 2


def test_a_limit_of_0_asks_for_nothing(core: Core) -> None:
    source = Source([1])
    progress = core.BatchProgress()
    driver = core.BatchDriver(source, doubled, progress, core.StopFlag(), source="loader", limit=0)
    assert driver.status is BatchStatus.LIMIT
    assert driver.run() is BatchStatus.LIMIT
    assert source.asked == 0
    assert progress == core.BatchProgress()


@pytest.mark.parametrize("ready", [3, 4])
def test_a_limit_that_was_reached_or_passed_before_asks_for_nothing(core: Core, ready: int) -> None:
    source = Source([1])
    progress = core.BatchProgress(current=core.Processed(ready, ready, ready, ready))
    driver = core.BatchDriver(source, doubled, progress, core.StopFlag(), source="loader", limit=3)
    assert driver.run() is BatchStatus.LIMIT
    assert source.asked == 0


def test_the_limit_is_a_reason_before_the_end_of_the_loader(core: Core) -> None:
    driver = core.BatchDriver(
        [1, 2], doubled, core.BatchProgress(), core.StopFlag(), source="loader", length=2, limit=2
    )
    assert driver.run() is BatchStatus.LIMIT


def test_a_stop_requested_before_ends_it_without_a_batch(core: Core) -> None:
    flag, source = core.StopFlag(), Source([1])
    driver = core.BatchDriver(source, doubled, core.BatchProgress(), flag, source="loader")
    flag.requested = True
    assert driver.run() is BatchStatus.STOPPED
    assert source.asked == 0


@pytest.mark.parametrize("place", ["before", "step", "consume", "after_step", "after"])
def test_a_stop_requested_during_a_batch_ends_it_after_that_batch(core: Core, place: str) -> None:
    flag, progress = core.StopFlag(), core.BatchProgress()

    def stop(*_: object) -> None:
        flag.requested = True

    does = dict.fromkeys(["before", "step", "consume", "after_step", "after"], nothing) | {place: stop}
    driver = core.BatchDriver(
        [1, 2],
        lambda batch, batch_idx: (does["step"](), 1)[1],
        progress,
        flag,
        source="loader",
        length=2,
        before=[does["before"]],
        consume=does["consume"],
        after_step=does["after_step"],
        after=[does["after"]],
    )
    assert driver.run() is BatchStatus.STOPPED
    assert progress.current == core.Processed(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("max_steps", "batches", "status"),
    [(1, 1, BatchStatus.MAX_STEPS), (4, 4, BatchStatus.MAX_STEPS), (9, 4, BatchStatus.EXHAUSTED)],
)
def test_enough_steps_end_it(core: Core, max_steps: int, batches: int, status: BatchStatus) -> None:
    steps, progress = core.ReadyCompleted(), core.BatchProgress()

    def step(batch: int, batch_idx: int) -> None:
        steps.completed += 1

    driver = core.BatchDriver(
        range(4), step, progress, core.StopFlag(), source="loader", length=4, steps=steps, max_steps=max_steps
    )
    assert driver.run() is status
    assert progress.current.completed == batches


def test_a_stop_is_a_reason_before_the_steps_and_the_steps_before_the_limit(core: Core) -> None:
    def ending(requested: bool) -> BatchStatus:
        flag, steps = core.StopFlag(), core.ReadyCompleted(completed=5)

        def step(batch: int, batch_idx: int) -> None:
            flag.requested = requested

        return core.BatchDriver(
            [1], step, core.BatchProgress(), flag, source="loader", limit=1, steps=steps, max_steps=5
        ).run()

    assert ending(requested=True) is BatchStatus.STOPPED
    assert ending(requested=False) is BatchStatus.MAX_STEPS


def test_a_module_may_skip_the_rest_of_the_epoch(core: Core) -> None:
    progress, stepped = core.BatchProgress(), list[int]()
    driver = core.BatchDriver(
        [1, 2, 3],
        lambda batch, batch_idx: stepped.append(batch_idx),
        progress,
        core.StopFlag(),
        source="loader",
        length=3,
        gate=lambda batch, batch_idx: -1 if batch_idx == 1 else None,
    )
    assert driver.run() is BatchStatus.SKIPPED
    assert stepped == [0]
    assert progress.current == core.Processed(ready=2, started=1, processed=1, completed=1)
    assert driver.run() is BatchStatus.SKIPPED


@pytest.mark.parametrize("answer", [None, 0, 1, True, -1.0, "-1", [-1]])
def test_only_the_int_minus_one_skips(core: Core, answer: object) -> None:
    driver = core.BatchDriver(
        [1], doubled, core.BatchProgress(), core.StopFlag(), source="loader", gate=lambda *_: answer
    )
    assert driver.run() is BatchStatus.EXHAUSTED


def test_what_the_other_listeners_answer_means_nothing(core: Core) -> None:
    driver = core.BatchDriver(
        [1], doubled, core.BatchProgress(), core.StopFlag(), source="loader", before=[lambda *_: -1]
    )
    assert driver.run() is BatchStatus.EXHAUSTED


def test_an_output_of_none_is_kept_and_not_consumed(core: Core) -> None:
    outputs: list[int | None] = []
    consumed: list[int | None] = []
    driver = core.BatchDriver(
        [1, 2, 3],
        lambda batch, batch_idx: batch if batch != 2 else None,
        core.BatchProgress(),
        core.StopFlag(),
        source="loader",
        outputs=outputs,
        consume=lambda output, batch, batch_idx: consumed.append(output),
    )
    driver.run(2)
    assert driver.last_output is None
    driver.run()
    assert outputs == [1, None, 3]
    assert consumed == [1, 3]


@pytest.mark.parametrize("length", [None, 3])
def test_a_batch_of_none_is_an_error_that_names_the_loader_and_the_batch(core: Core, length: int | None) -> None:
    progress = core.BatchProgress()
    driver = core.BatchDriver(
        Source([1, None, 3]), doubled, progress, core.StopFlag(), source="the test dataloader", length=length
    )
    with pytest.raises(LoaderError) as refused:
        driver.run()
    assert str(refused.value) == (
        "the test dataloader: batch 1 is None. "
        "Yield batches only: drop the item in the dataset or in `collate_fn` instead of giving None."
    )
    assert progress.current == core.Processed(1, 1, 1, 1)


def escaping(*_: object) -> int:
    raise StopIteration


PLACES = ("transform", "before", "gate", "step", "consume", "after_step", "after")


@pytest.mark.parametrize("place", PLACES)
def test_stop_iteration_out_of_anything_but_the_loader_names_it(core: Core, place: str) -> None:
    driver = core.BatchDriver(
        [1],
        escaping if place == "step" else doubled,
        core.BatchProgress(),
        core.StopFlag(),
        source="loader",
        transform=escaping if place == "transform" else None,
        before=[nothing, escaping] if place == "before" else [nothing],
        gate=escaping if place == "gate" else None,
        consume=escaping if place == "consume" else None,
        after_step=escaping if place == "after_step" else None,
        after=[nothing, escaping] if place == "after" else [nothing],
    )
    with pytest.raises(EscapedStopIteration, match=r"^escaping: StopIteration escaped from it"):
        driver.run()
    assert driver.status is BatchStatus.RUNNING


@pytest.mark.parametrize("length", [None, 2])
def test_the_end_of_the_loader_can_be_looked_at(core: Core, length: int | None) -> None:
    stops: list[StopIteration] = []
    driver = core.BatchDriver(
        [1, 2],
        doubled,
        core.BatchProgress(),
        core.StopFlag(),
        source="loader",
        length=length,
        on_exhausted=stops.append,
    )
    assert driver.run() is BatchStatus.EXHAUSTED
    assert [type(stop) for stop in stops] == [StopIteration]


@pytest.mark.parametrize(("length", "steps"), [(None, 0), (1, 1)])
def test_whoever_looks_at_the_end_may_refuse_it(core: Core, length: int | None, steps: int) -> None:
    progress = core.BatchProgress()

    def refuse(stop: StopIteration) -> None:
        raise LoaderError("loader", "it ended in collate_fn", "Mend it.") from stop

    driver = core.BatchDriver(
        Source([1]), doubled, progress, core.StopFlag(), source="loader", length=length, on_exhausted=refuse
    )
    with pytest.raises(LoaderError, match="it ended in collate_fn"):
        driver.run()
    assert progress.current.completed == steps


@pytest.mark.parametrize("place", ["fetch", *PLACES])
def test_after_an_error_the_counters_tell_how_far_the_batch_came(core: Core, place: str) -> None:
    def failing(*_: object) -> int:
        raise KeyError(place)

    def items() -> Iterator[int]:
        yield 1
        if place == "fetch":
            raise KeyError(place)
        yield 2

    def at_second(name: str) -> AnyCallable[int]:
        calls: list[int] = []

        def act(*args: object) -> int:
            calls.append(1)
            return failing() if name == place and len(calls) == 2 else 1

        return act

    progress = core.BatchProgress()
    driver = core.BatchDriver(
        items(),
        at_second("step"),
        progress,
        core.StopFlag(),
        source="loader",
        length=2,
        transform=at_second("transform"),
        before=[at_second("before")],
        gate=at_second("gate"),
        consume=at_second("consume"),
        after_step=at_second("after_step"),
        after=[at_second("after")],
    )
    with pytest.raises(KeyError, match=place):
        driver.run()
    ready = ["before", "gate", *(started := ["step", *(processed := ["consume", "after_step", "after"])])]
    assert progress.current == core.Processed(1 + (place in ready), 1 + (place in started), 1 + (place in processed), 1)
    assert driver.status is BatchStatus.RUNNING


UNFINISHED = """
from typedloops._core.{core}.batches import BatchDriver
from typedloops._core.{core}.hooks import StopFlag
from typedloops._core.{core}.progress import BatchProgress, ReadyCompleted

class Unfinished(BatchProgress):
    default_tracker = ReadyCompleted
    def __init__(self): ...

progress = Unfinished()
try:
    BatchDriver([1], lambda batch, batch_idx: None, progress, StopFlag(), source="loader").run()
except TypeError:
    print("refused")
"""


def test_a_progress_that_cannot_count_batches_is_refused(core: Core) -> None:
    # In a process of its own, which the bug may crash.
    told = subprocess.run(
        [sys.executable, "-c", UNFINISHED.format(core=core.name)], capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["refused"], told.stderr


def test_counters_that_are_loaded_between_two_batches_go_on(core: Core) -> None:
    progress = core.BatchProgress()
    driver = core.BatchDriver([1, 2], doubled, progress, core.StopFlag(), source="loader")
    driver.run(1)
    progress.load_state_dict(core.BatchProgress(core.Processed(8, 8, 8, 8)).state_dict())
    driver.run(1)
    assert progress.total == core.Processed(9, 9, 9, 9)


def test_counters_that_are_loaded_during_a_batch_go_on(core: Core) -> None:
    progress = core.BatchProgress()
    saved = core.BatchProgress(core.Processed(8, 8, 8, 8), core.Processed(1, 1, 1, 1)).state_dict()
    driver = core.BatchDriver(
        [1],
        lambda batch, batch_idx: progress.load_state_dict(saved),
        progress,
        core.StopFlag(),
        source="loader",
    )
    driver.run()
    assert progress.total.completed == 9


@pytest.mark.parametrize("name", ["length", "limit", "max_steps"])
def test_a_count_below_zero_is_refused(core: Core, name: str) -> None:
    counts = {name: -1}
    with pytest.raises(ConfigurationError, match=f"^the loader: {name}: -1 is negative. Give a count, or None for no"):
        core.BatchDriver(
            [1],
            lambda batch, batch_idx: None,
            core.BatchProgress(),
            core.StopFlag(),
            source="the loader",
            length=counts.get("length"),
            limit=counts.get("limit"),
            max_steps=counts.get("max_steps"),
        )


@pytest.mark.parametrize("end", ["exhausted", "limit", "stopped", "running"])
def test_the_iterator_of_the_loader_is_let_go_at_the_end_of_the_epoch(core: Core, end: str) -> None:
    open_files: list[str] = []

    def loader() -> Iterator[int]:
        open_files.append("file")
        try:
            yield from range(3)
        finally:
            open_files.remove("file")

    flag = core.StopFlag()

    def step(batch: int, batch_idx: int) -> None:
        flag.requested = end == "stopped"

    driver = core.BatchDriver(
        loader(), step, core.BatchProgress(), flag, source="loader", limit=2 if end == "limit" else None
    )
    driver.run(1 if end == "running" else -1)
    assert open_files == (["file"] if end == "running" else [])
    assert driver.run(0) is driver.status
