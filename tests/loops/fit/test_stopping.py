"""When a fit ends: minimums, time, requests, and the one policy behind them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import Callback, FitLoop, TrainerView
from typedloops.errors import ConfigurationError
from typedloops.loops.fit.stopping import FitLimits, FitPosition, StopReason, stop_reason
from typedloops.loops.run import stop_request
from typedloops.loops.run.settings.durations import seconds_of

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class AskAt(Callback[Classifier, Batch]):
    """Asks for a stop after a number of batches, and counts the validations."""

    def __init__(self, after: int, *, take_back_after: int | None = None) -> None:
        self.after = after
        self.take_back_after = take_back_after
        self.batches = 0
        self.validations = 0

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self.batches += 1
        if self.batches == self.after:
            trainer.should_stop = True
            assert trainer.should_stop
        if self.batches == self.take_back_after:
            trainer.should_stop = False

    def on_validation_start(self, trainer: TrainerView, module: Classifier) -> None:
        self.validations += 1


@pytest.mark.parametrize(
    ("settings", "after", "epochs", "ran"),
    [
        ({}, 6, 2, 6),
        ({"min_epochs": 1}, 2, 1, 4),
        ({"min_epochs": 3}, 2, 3, 12),
        ({"min_epochs": 1}, 6, 2, 6),
        ({"min_steps": 7}, 2, 2, 7),
        ({"min_steps": 8}, 2, 2, 8),
        ({"min_steps": 3}, 6, 2, 6),
        ({"min_steps": 2, "min_epochs": 3}, 1, 3, 12),
        ({"min_steps": 14, "min_epochs": 3}, 1, 4, 14),
        ({"min_steps": 2, "accumulate_grad_batches": 2}, 1, 1, 4),
    ],
)
def test_a_request_waits_for_the_minimums(settings: dict[str, int], after: int, epochs: int, ran: int) -> None:
    asking = AskAt(after)
    result = Trainer(max_epochs=5, callbacks=[asking], **settings).fit(Classifier(), batches(4), batches(1))
    assert (result.stop_reason, result.epochs, result.batches) == (StopReason.REQUESTED, epochs, ran)
    assert asking.validations == epochs


def test_a_request_can_be_taken_back() -> None:
    result = Trainer(max_epochs=2, min_epochs=2, callbacks=[AskAt(1, take_back_after=3)]).fit(Classifier(), batches(4))
    assert result.stop_reason is StopReason.MAX_EPOCHS
    assert result.batches == 8


def test_a_waiting_request_does_not_reach_the_next_fit() -> None:
    trainer = Trainer(max_epochs=2, min_epochs=2, callbacks=[AskAt(1)])
    assert trainer.fit(Classifier(), batches(2)).stop_reason is StopReason.REQUESTED
    assert not trainer.should_stop
    assert trainer.fit(Classifier(), batches(2)).stop_reason is StopReason.MAX_EPOCHS


class Clock:
    """Ten seconds more at each batch."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Ticking(Callback[Classifier, Batch]):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_start(self, trainer: TrainerView, module: Classifier, batch: Batch, batch_idx: int) -> None:
        self.clock.seconds += 10


@pytest.mark.parametrize("max_time", [timedelta(seconds=55), "00:00:00:55"])
def test_a_fit_ends_after_the_batch_in_which_its_time_is_up(
    max_time: timedelta | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(stop_request, "monotonic", clock)
    trainer = Trainer(max_time=max_time, callbacks=[Ticking(clock)])
    for _ in range(2):
        result = trainer.fit(Classifier(), Loader(batches(4)))
        assert (result.stop_reason, result.epochs, result.batches) == (StopReason.MAX_TIME, 2, 6)


def test_durations() -> None:
    assert seconds_of("01:02:03:04") == 86400 + 2 * 3600 + 3 * 60 + 4
    assert seconds_of(timedelta(minutes=1.5)) == 90
    assert seconds_of(None) is None


BAD: dict[str, tuple[dict[str, object], str]] = {
    "negative epochs": ({"min_epochs": -1}, "min_epochs: -1 is negative. Give 0 or more."),
    "negative steps": ({"min_steps": -5}, "min_steps: -5 is negative. Give 0 or more."),
    "half an epoch": ({"min_epochs": 0.5}, "min_epochs: 0.5 is not a number of things. Give an int."),
    "more than the most": (
        {"min_epochs": 3, "max_epochs": 2},
        "min_epochs: 3 is more than max_epochs, 2. Lower it, or raise max_epochs.",
    ),
    "more steps than the most": (
        {"min_steps": 3, "max_steps": 2},
        "min_steps: 3 is more than max_steps, 2. Lower it, or raise max_steps.",
    ),
    "no duration": ({"max_time": "soon"}, "max_time: 'soon' is no duration. Give a timedelta, or a string as in"),
    "a number": ({"max_time": 5}, "max_time: 5 is no duration."),
    "no time": ({"max_time": timedelta(0)}, "max_time: 0:00:00 is no time at all."),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_never_work(case: str) -> None:
    settings, message = BAD[case]
    with pytest.raises(ConfigurationError) as refused:
        Trainer(**settings)
    assert str(refused.value).startswith(message)


def test_a_minimum_above_the_limit_of_the_loop() -> None:
    for name, loop in (("epochs", FitLoop(max_epochs=2)), ("steps", FitLoop(max_steps=2))):
        with pytest.raises(
            ConfigurationError, match=rf"^min_{name}: 3 is more than max_{name}, 2\. Lower it, or raise"
        ):
            Trainer(fit_loop=loop, **{f"min_{name}": 3}).fit(Classifier(), batches(1))


def test_limits_come_from_the_loop_and_the_trainer() -> None:
    trainer = Trainer(max_time="00:01:00:00", min_steps=4)
    assert trainer.fit_loop.limits == FitLimits(max_epochs=None, max_steps=None, min_steps=4)
    trainer.fit_loop = FitLoop(max_epochs=3)
    assert trainer.fit_loop.limits.max_epochs == 3


counts = st.integers(0, 5)
maybe = st.none() | counts


@given(
    limits=st.builds(
        FitLimits, max_epochs=maybe, max_steps=maybe, train_batches=maybe, min_epochs=counts, min_steps=counts
    ),
    position=st.builds(
        FitPosition,
        epochs=counts,
        steps=counts,
        stop_requested=st.booleans(),
        time_is_up=st.booleans(),
        interrupted=st.booleans(),
    ),
)
def test_the_policy(limits: FitLimits, position: FitPosition) -> None:
    reason = stop_reason(position, limits)
    minimums_met = position.epochs >= limits.min_epochs and position.steps >= limits.min_steps
    holds = {
        StopReason.INTERRUPTED: position.interrupted,
        StopReason.REQUESTED: position.stop_requested and minimums_met,
        StopReason.MAX_TIME: position.time_is_up,
        StopReason.NO_BATCHES: limits.train_batches == 0,
        StopReason.MAX_STEPS: limits.max_steps is not None and position.steps >= limits.max_steps,
        StopReason.MAX_EPOCHS: limits.max_epochs is not None and position.epochs >= limits.max_epochs,
    }
    assert reason == next((each for each, true in holds.items() if true), None)
