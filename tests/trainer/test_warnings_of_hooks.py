"""Methods that look like hooks and are none are told of, and nothing else is."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch import nn

import typedloops
from tests.modules import Classifier, batches
from typedloops import Callback, TrainerView
from typedloops.loops.run.listeners import ARGUMENTS
from typedloops.loops.run.misnamed import FORMER

Trainer: Any = typedloops.Trainer


def with_method(base: type[object], name: str) -> object:
    return type("Mine", (base,), {name: lambda self, *args: None})()


SLIPS = {"on_train_epochs_end": "on_train_epoch_end", "on_validaton_start": "on_validation_start", **FORMER}


@pytest.mark.parametrize("base", [Callback, Classifier])
@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_told_with_what_was_meant(base: type[object], name: str) -> None:
    thing = with_method(base, name)
    callbacks, model = ([thing], Classifier()) if base is Callback else ([], thing)
    with pytest.warns(UserWarning, match=rf"^Mine\.{name}: no loop calls .* Did you mean `{SLIPS[name]}`\?"):
        Trainer(max_epochs=1, callbacks=callbacks).fit(model, batches(1))


def test_hooks_and_names_of_ones_own_are_not_told_of() -> None:
    class Mine(Callback):
        def on_fold_start(self, trainer: TrainerView, module: nn.Module) -> None: ...
        def on_good_batch(self, trainer: TrainerView, module: nn.Module) -> None: ...
        def _on_train_epochs_end(self) -> None: ...

    everything = type("Everything", (Callback,), dict.fromkeys(ARGUMENTS, lambda self, *args: None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer(max_epochs=1, callbacks=[Mine(), everything()]).fit(Classifier(), batches(1))


def test_a_prediction_has_no_hook_for_its_outputs() -> None:
    model = with_method(Classifier, "predict_epoch_end")
    with pytest.warns(UserWarning, match=r"^Mine\.predict_epoch_end: .* Did you mean `on_predict_epoch_end`\?"):
        Trainer().predict(model, batches(1))


def test_what_former_hooks_became_is_there() -> None:
    assert set(FORMER.values()) <= ARGUMENTS.keys()
