"""Going on from a saved state of the tree."""

from __future__ import annotations

import json

import pytest

from tests.modules import Classifier, batches
from typedloops import FitLoop, Loop, Trainer
from typedloops.errors import StateError


def test_a_fit_goes_on_at_the_next_epoch() -> None:
    first = Trainer(max_epochs=2)
    first.fit(Classifier(), batches(3), batches(1))
    saved = json.loads(json.dumps(first.fit_loop.state_dict()))

    trainer = Trainer(max_epochs=5)
    trainer.fit_loop.load_state_dict(saved)
    assert trainer.fit_loop.state_dict() == saved
    assert trainer.fit_loop.restarting
    result = trainer.fit(Classifier(), batches(3), batches(1))
    assert (result.epochs, result.batches, result.optimizer_steps) == (5, 15, 15)
    assert trainer.current_epoch == 4
    assert trainer.global_step == 15
    assert not any(isinstance(loop, Loop) and loop.restarting for _, loop in trainer.fit_loop.walk())

    assert trainer.fit(Classifier(), batches(3)).epochs == 5, "without a new load, a fit starts anew"
    assert trainer.fit_loop.epoch_progress.total.completed == 5


def test_an_epoch_that_was_left_in_the_middle_is_done_again() -> None:
    class Failing(Classifier):
        def training_step(self, batch, batch_idx):  # type: ignore[no-untyped-def]
            if batch_idx == 2:
                raise ZeroDivisionError
            return super().training_step(batch, batch_idx)

    first = Trainer(max_epochs=2)
    with pytest.raises(ZeroDivisionError):
        first.fit(Failing(), batches(4))
    loop = FitLoop(max_epochs=2)
    loop.load_state_dict(first.fit_loop.state_dict())
    result = Trainer(fit_loop=loop).fit(Classifier(), batches(4))
    assert result.epochs == 2
    assert loop.epoch_loop.batch_progress.current.completed == 4
    assert result.optimizer_steps == 2 + 8


def test_a_state_of_another_tree_is_refused() -> None:
    state = Trainer().validate_loop.state_dict()
    with pytest.raises(StateError, match=r"FitLoop: the state lacks the loops \['epoch_loop\.batch_loop"):
        FitLoop().load_state_dict(state)
