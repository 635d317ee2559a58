"""Counts with their unit wherever a count is taken."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import typedloops
from tests.modules import Classifier, batches
from typedloops import Duration, OptimizerLoop, PredictionLoop, StopReason, TrainingEpochLoop, Unit, ValidationLoop
from typedloops.errors import ConfigurationError

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer
FitLoop: Any = typedloops.FitLoop

UNIT_OF = {
    "max_epochs": Unit.EPOCHS,
    "min_epochs": Unit.EPOCHS,
    "check_val_every_n_epoch": Unit.EPOCHS,
    "max_steps": Unit.STEPS,
    "min_steps": Unit.STEPS,
    "limit_train_batches": Unit.BATCHES,
    "limit_val_batches": Unit.BATCHES,
    "limit_test_batches": Unit.BATCHES,
    "limit_predict_batches": Unit.BATCHES,
    "accumulate_grad_batches": Unit.BATCHES,
    "overfit_batches": Unit.BATCHES,
}


@pytest.mark.parametrize("setting", UNIT_OF)
@pytest.mark.parametrize("unit", Unit)
def test_a_setting_takes_the_unit_that_it_counts(setting: str, unit: Unit) -> None:
    for value in (f"3{unit}", Duration(3, unit)):
        if unit is UNIT_OF[setting]:
            assert getattr(Trainer(**{setting: value}).config, setting) == 3
            continue
        with pytest.raises(ConfigurationError) as refused:
            Trainer(**{setting: value})
        assert str(refused.value) == (
            f"{setting}: 3{unit} counts {unit.things}, and {setting} {UNIT_OF[setting].things}. "
            f"Give an int, or a string as in '10{UNIT_OF[setting]}'."
        )


@pytest.mark.parametrize("setting", UNIT_OF)
@pytest.mark.parametrize("time", ["01:00:00:00", timedelta(days=1)])
def test_a_count_is_no_time(setting: str, time: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Trainer(**{setting: time})
    things = UNIT_OF[setting].things
    assert str(refused.value).startswith(f"{setting}: {time} is a time, and {setting} counts {things}. Give an int, or")


@pytest.mark.parametrize("setting", UNIT_OF)
@pytest.mark.parametrize("text", ["3", "3 ep", "ep", "-3ep", "3.5ep", ""])
def test_a_string_that_is_no_duration(setting: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Trainer(**{setting: text})
    assert str(refused.value).startswith(f"{setting}: {text!r} is no number of {UNIT_OF[setting].things}. Give an int")


@pytest.mark.parametrize("count", ["3ep", Duration.epochs(3)])
def test_a_time_is_no_count(count: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Trainer(max_time=count)
    assert str(refused.value).startswith("max_time: 3ep counts epochs, and max_time is a time. Give a timedelta, or")


def test_loops_take_them_as_well() -> None:
    fit_loop = FitLoop(max_epochs="3ep", max_steps=Duration.steps(5))
    assert (fit_loop.max_epochs, fit_loop.max_steps) == (3, 5)
    result = fit_loop.run(Classifier(), batches(2))
    assert (result.stop_reason, result.batches) == (StopReason.MAX_STEPS, 5)
    assert FitLoop("2ep").run(Classifier(), batches(2)).batches == 4
    assert ValidationLoop("1ba").run(Classifier(), batches(3)).batches == 1
    assert len(PredictionLoop(Duration.batches(2)).run(Classifier(), batches(3))) == 2
    loop = TrainingEpochLoop[Any, Any, Any](
        fit_loop.epoch_loop.batch_loop.__class__(OptimizerLoop()), limit_batches="1ba"
    )
    assert FitLoop(2, epoch_loop=loop).run(Classifier(), batches(3)).batches == 2
    assert OptimizerLoop(accumulate_grad_batches="4ba").accumulate_grad_batches == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FitLoop("3st"), "FitLoop.max_epochs: 3st counts optimizer steps, and FitLoop.max_epochs epochs."),
        (lambda: FitLoop(max_steps="x"), "FitLoop.max_steps: 'x' is no number of optimizer steps."),
        (lambda: ValidationLoop("1ep"), "ValidationLoop.limit_batches: 1ep counts epochs, and ValidationLoop.limit_ba"),
        (lambda: OptimizerLoop(accumulate_grad_batches="2ep"), "OptimizerLoop.accumulate_grad_batches: 2ep counts ep"),
        (lambda: Duration(-1, Unit.EPOCHS), "Duration: -1 is no count. Give an int from 0."),
        (lambda: Duration(True, Unit.EPOCHS), "Duration: True is no count. Give an int from 0."),
        (lambda: Trainer(max_epochs="0ep", min_epochs="1ep"), "min_epochs: 1 is more than max_epochs, 0."),
        (lambda: Trainer(accumulate_grad_batches="0ba"), "accumulate_grad_batches: 0 is no number of batches."),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert str(refused.value).startswith(message)


@given(count=st.integers(0, 10**12), unit=st.sampled_from(Unit))
def test_a_duration_reads_as_it_writes(count: int, unit: Unit) -> None:
    duration = Duration(count, unit)
    assert Duration.parse(str(duration)) == duration
    assert hash(duration) == hash(Duration(count, unit))
    assert {"ep": Duration.epochs, "ba": Duration.batches, "st": Duration.steps}[unit](count) == duration
