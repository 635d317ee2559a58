"""The trackers of an optimizer's work: composed of two progresses, and a position."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable

import pytest

from typedloops import OptimizationProgress, OptimizerProgress, Progress, ReadyCompleted, Started
from typedloops.errors import MissingCounterError, StateError


def after_steps(steps: int) -> OptimizerProgress:
    progress = OptimizerProgress()
    for _ in range(steps):
        progress.zero_grad.increment_ready()
        progress.zero_grad.increment_started()
        progress.zero_grad.increment_completed()
        progress.step.increment_ready()
        progress.step.increment_completed()
    return progress


def in_a_step(steps: int) -> OptimizerProgress:
    progress = after_steps(steps)
    progress.zero_grad.increment_ready()
    progress.step.increment_ready()
    return progress


def test_a_step_is_ready_and_completed_and_a_zero_grad_also_started() -> None:
    progress = OptimizerProgress()
    assert progress.step == Progress(ReadyCompleted())
    assert progress.zero_grad == Progress(Started())
    with pytest.raises(MissingCounterError, match="no `started` counter"):
        progress.step.increment_started()  # type: ignore[misc]


def test_two_optimizers_do_not_share_their_trackers() -> None:
    one, other = OptimizerProgress(), OptimizerProgress()
    one.step.increment_ready()
    assert other == OptimizerProgress()


def test_the_steps_of_the_optimizer_are_those_completed_in_all() -> None:
    progress = OptimizationProgress(in_a_step(3))
    progress.reset_on_run()
    assert progress.optimizer_steps == 3


RESETS: dict[str, tuple[Callable[[OptimizationProgress], None], tuple[int, int], tuple[int, int, int], int]] = {
    # What is left: `step` and `zero_grad` of this run, counter by counter, and the position.
    "reset": (OptimizationProgress.reset, (0, 0), (0, 0, 0), 0),
    "reset_on_run": (OptimizationProgress.reset_on_run, (0, 0), (0, 0, 0), 0),
    "reset_on_restart": (OptimizationProgress.reset_on_restart, (2, 2), (2, 2, 2), 1),
}


@pytest.mark.parametrize("way", RESETS)
def test_every_reset_reaches_both_trackers(way: str) -> None:
    reset, step, zero_grad, position = RESETS[way]
    progress = OptimizationProgress(in_a_step(2), optimizer_position=1)
    reset(progress)
    assert progress.optimizer.step.current == ReadyCompleted(*step)
    assert progress.optimizer.zero_grad.current == Started(*zero_grad)
    assert progress.optimizer_position == position
    assert progress.optimizer_steps == (0 if way == "reset" else 2)


def test_the_state_is_plain_and_comes_back_equal() -> None:
    saved = OptimizationProgress(in_a_step(2), optimizer_position=1)
    loaded = OptimizationProgress()
    loaded.load_state_dict(json.loads(json.dumps(saved.state_dict())))
    assert loaded == saved


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_copy_is_equal_and_independent(way: str) -> None:
    original = OptimizationProgress(in_a_step(2), optimizer_position=1)
    copied = copy.deepcopy(original) if way == "deepcopy" else pickle.loads(pickle.dumps(original))
    assert copied == original
    copied.optimizer.step.increment_ready()
    assert copied != original


def optimization_state(**changes: object) -> dict[str, object]:
    return {**OptimizationProgress().state_dict(), **changes}


EXACTLY = "It has exactly ['optimizer', 'optimizer_position', 'each']: was it saved by another class or version?"
BAD_STATES: dict[str, tuple[dict[str, object], str]] = {
    "unknown key": (
        optimization_state(loss=1.0),
        f"OptimizationProgress: the state has unknown keys ['loss']. {EXACTLY}",
    ),
    "missing key": (
        {"optimizer_position": 0, "each": {"trackers": []}},
        f"OptimizationProgress: the state lacks the keys ['optimizer']. {EXACTLY}",
    ),
    "negative position": (
        optimization_state(optimizer_position=-1),
        "OptimizationProgress.optimizer_position: -1 is not a position. Give an int from 0.",
    ),
    "boolean position": (
        optimization_state(optimizer_position=True),
        "OptimizationProgress.optimizer_position: True is not a position. Give an int from 0.",
    ),
    "no mapping": (
        optimization_state(optimizer=3),
        "optimizer: its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
    "each that is no mapping": (
        optimization_state(each=[]),
        "each: its state is a mapping, got []. Load what `state_dict()` returned.",
    ),
    "trackers that are no list": (
        optimization_state(each={"trackers": 3}),
        "trackers: a list of states is wanted, got 3. Load what `state_dict()` returned.",
    ),
    "a tracker that is no mapping": (
        optimization_state(each={"trackers": [OptimizerProgress().state_dict(), 3]}),
        "trackers[1]: its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
    "part that is no mapping": (
        optimization_state(optimizer={"step": 3, "zero_grad": 3}),
        "step: its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(case: str) -> None:
    state, message = BAD_STATES[case]
    progress = OptimizationProgress(in_a_step(2), optimizer_position=1)
    with pytest.raises(StateError) as refused:
        progress.load_state_dict(state)
    assert str(refused.value) == message
    assert progress == OptimizationProgress(in_a_step(2), optimizer_position=1)


def test_nothing_changes_when_only_the_second_tracker_does_not_fit() -> None:
    progress = in_a_step(2)
    with pytest.raises(StateError):
        progress.load_state_dict({**OptimizerProgress().state_dict(), "zero_grad": 3})
    assert progress == in_a_step(2)


def test_whoever_counts_goes_on_counting_after_a_state_is_loaded() -> None:
    progress = OptimizationProgress()
    step, zero_grad = progress.optimizer.step, progress.optimizer.zero_grad.total
    progress.load_state_dict(OptimizationProgress(in_a_step(3)).state_dict())
    step.increment_completed()
    zero_grad.completed += 1
    assert progress.optimizer_steps == 4
    assert progress.optimizer.zero_grad.total.completed == 4


def of_two(first: int, second: int) -> OptimizationProgress:
    progress = OptimizationProgress(optimizer_position=1)
    for tracker, steps in zip(progress.of(2), (first, second), strict=True):
        tracker.load_state_dict(in_a_step(steps).state_dict())
    return progress


def test_the_progress_of_several_is_their_sum() -> None:
    progress = of_two(2, 3)
    assert progress.optimizer.step.total == ReadyCompleted(7, 5)
    assert progress.optimizer.zero_grad.current == Started(7, 5, 5)
    assert [each.step.total.completed for each in progress.each] == [2, 3]
    assert [each.step.total.completed for each in OptimizationProgress(in_a_step(3)).each] == [3]
    progress.each[0].step.increment_completed()
    assert progress.optimizer_steps == 6


@pytest.mark.parametrize("way", RESETS)
def test_every_reset_reaches_each_of_several(way: str) -> None:
    reset, step, _, position = RESETS[way]
    progress = of_two(1, 1)
    reset(progress)
    assert progress.optimizer.step.current == ReadyCompleted(*step)
    assert (progress.optimizer_position, progress.optimizer_steps) == (position, 0 if way == "reset" else 2)


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "state"])
def test_the_progress_of_several_can_be_copied_and_saved(way: str) -> None:
    original = of_two(2, 3)
    copied = copy.deepcopy(original) if way == "deepcopy" else pickle.loads(pickle.dumps(original))
    if way == "state":
        copied = OptimizationProgress()
        copied.load_state_dict(json.loads(json.dumps(original.state_dict())))
    assert copied == original
    assert repr(copied) == repr(original)
    copied.of(2)[1].step.increment_completed()
    assert (copied.optimizer_steps, original.optimizer_steps) == (6, 5)
    assert copied != original


def test_who_counts_for_several_goes_on_counting_after_a_state_is_loaded() -> None:
    progress = OptimizationProgress()
    first, _ = progress.of(2)
    progress.load_state_dict(of_two(2, 3).state_dict())
    first.step.increment_completed()
    assert progress.optimizer_steps == 6
